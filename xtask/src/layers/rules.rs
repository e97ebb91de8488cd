//! The rules, as `layers.toml` states them.

use anyhow::{Context as _, Result};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Names of crates.
pub(super) type Names = BTreeSet<String>;

/// `layers.toml`.
#[derive(Debug, Deserialize)]
pub(super) struct Rules {
    /// The table `[rules]`.
    #[serde(rename = "rules")]
    pub(super) general: General,
    /// The other tables: group → crate → workspace crates that it may use.
    #[serde(flatten)]
    pub(super) groups: BTreeMap<String, BTreeMap<String, Names>>,
}

/// What holds beyond single arrows.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct General {
    /// Group → groups that its crates may use.
    pub(super) may_use: BTreeMap<String, Names>,
    /// Crates that nothing but a dev-dependency or a tool may use.
    pub(super) for_tests_only: Names,
    /// What keeps decisions pure.
    pub(super) pure: Pure,
}

/// Which crates are pure, and what they never touch.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pure {
    /// Groups whose crates are pure.
    pub(super) groups: Names,
    /// Single crates that reach no package of `never` either.
    pub(super) crates: Names,
    /// Packages that a pure crate never reaches.
    pub(super) never: Names,
    /// Paths that the `clippy.toml` of every crate of `groups` disallows.
    pub(super) disallow: Names,
}

impl Rules {
    pub(super) fn load(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        Self::parse(&text).with_context(|| format!("`{}` is not as it should be", path.display()))
    }

    pub(super) fn parse(text: &str) -> Result<Self> {
        Ok(toml::from_str(text)?)
    }

    /// The group of a crate.
    pub(super) fn group(&self, name: &str) -> Option<&str> {
        self.groups.iter().find(|(_, crates)| crates.contains_key(name)).map(|(group, _)| group.as_str())
    }

    /// Every line of the file: group, crate, and what that crate may use.
    pub(super) fn lines(&self) -> impl Iterator<Item = (&str, &str, &Names)> {
        self.groups.iter().flat_map(|(group, crates)| {
            crates.iter().map(|(name, uses)| (group.as_str(), name.as_str(), uses))
        })
    }

    /// Whether a crate of group `from` may use one of group `to`.
    pub(super) fn may_use(&self, from: &str, to: &str) -> bool {
        self.general.may_use.get(from).is_some_and(|groups| groups.contains(to))
    }
}
