//! Exceptions, each with its reason.

use super::Finding;
use anyhow::{Context as _, Result};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// `xtask/house.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Allowed {
    #[serde(default)]
    allow: Vec<Exception>,
}

/// A file that may break a rule.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    path: PathBuf,
    rule: String,
    /// Words of the message, to name one function of a file, say; all breaches of the rule if absent.
    containing: Option<String>,
    /// Why it is better that way, for whoever reads the list.
    reason: String,
}

impl Exception {
    fn covers(&self, finding: &Finding) -> bool {
        self.path == finding.path
            && self.rule == finding.rule
            && self.containing.as_ref().is_none_or(|words| finding.message.contains(words.as_str()))
    }
}

impl Allowed {
    pub(super) fn load(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        Self::parse(&text).with_context(|| format!("`{}` is not as it should be", path.display()))
    }

    pub(super) fn parse(text: &str) -> Result<Self> {
        Ok(toml::from_str(text)?)
    }

    /// Removes what is allowed, and adds exceptions that allow nothing or do not say why.
    pub(super) fn sift(&self, findings: Vec<Finding>) -> Vec<Finding> {
        let complain = |exception: &Exception, message| Finding {
            path: "xtask/house.toml".into(),
            line: 1,
            rule: "allow",
            message: format!(
                "the exception `{}` for {}: {message}",
                exception.rule,
                exception.path.display()
            ),
        };
        let unused = self.allow.iter().filter(|exception| !findings.iter().any(|it| exception.covers(it)));
        let silent = self.allow.iter().filter(|exception| exception.reason.trim().is_empty());
        let mut rest: Vec<Finding> = unused
            .map(|exception| complain(exception, "nothing needs it any more, remove it"))
            .chain(silent.map(|exception| complain(exception, "say why in `reason`")))
            .collect();
        rest.extend(
            findings.into_iter().filter(|it| !self.allow.iter().any(|exception| exception.covers(it))),
        );
        rest
    }
}
