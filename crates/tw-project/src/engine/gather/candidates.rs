//! Who can be asked for partitions, and who is.

use super::{Wanted, merged};
use crate::ReadFrom;
use crate::engine::Engine;
use crate::gather::choice::Choice;
use crate::gather::gathering::Gathering;
use crate::gather::{Candidate, Place};
use std::collections::BTreeMap;
use std::sync::Arc;
use tw_types::StreamPartition;

/// Partitions that one is asked for.
pub(super) struct Group {
    pub(super) asked: Candidate,
    pub(super) wanted: Wanted,
    pub(super) choice: Choice,
}

impl Engine {
    /// Everybody who can be asked for a partition: its owner first.
    pub(super) fn candidates(&self, at: StreamPartition) -> Vec<Candidate> {
        let owner = self.0.peers.place(at);
        let mut candidates = Vec::with_capacity(2);
        if owner != Place::Nowhere {
            candidates.push(Candidate { place: owner.clone(), owns: true });
        }
        if self.options().read_from == ReadFrom::Standbys {
            let standbys = self.0.peers.standbys(at).into_iter().filter(|place| *place != owner);
            candidates.extend(standbys.map(|place| Candidate { place, owns: false }));
        }
        candidates
    }

    /// Those who were not tried yet. Once somebody was, the owner comes last.
    fn untried(&self, at: StreamPartition, tried: &[Candidate]) -> Vec<Candidate> {
        let mut open = self.candidates(at);
        open.retain(|one| !tried.contains(one));
        if !tried.is_empty() && open.iter().any(|one| !one.owns) {
            open.retain(|one| !one.owns);
        }
        open
    }

    /// Whether others can be asked for all that is wanted.
    pub(super) fn has_others(&self, views: &[Arc<Gathering>], wanted: &Wanted, tried: &[Candidate]) -> bool {
        all(views, wanted).all(|at| !self.untried(at, tried).is_empty())
    }

    /// Chooses who is asked for what, the same one for all views of a partition; and gives the partitions for which nobody is left.
    pub(super) fn choose(
        &self,
        views: &[Arc<Gathering>],
        wanted: &Wanted,
        about: Option<&str>,
        tried: &[Candidate],
    ) -> (Vec<Group>, Wanted) {
        let peers = &self.0.peers;
        let choose = |at| {
            let mut open = self.untried(at, tried);
            let number = if open.is_empty() { return None } else { peers.choose(&open, about) };
            Some(open.swap_remove(number.min(open.len() - 1)))
        };
        let mut chosen: BTreeMap<StreamPartition, Option<Candidate>> = BTreeMap::new();
        let mut groups: BTreeMap<Option<Candidate>, Wanted> = BTreeMap::new();
        for (number, partitions) in wanted {
            let Some(view) = views.get(*number) else { continue };
            for &partition in partitions {
                let at = view.at(partition);
                let candidate = chosen.entry(at).or_insert_with(|| choose(at)).clone();
                groups.entry(candidate).or_default().push((*number, vec![partition]));
            }
        }
        let left = groups.remove(&None).map(merged).unwrap_or_default();
        let group = |(asked, wanted): (Option<Candidate>, Wanted)| {
            let asked = asked?;
            let partitions = chosen.values().filter(|one| one.as_ref() == Some(&asked)).count();
            let choice = Choice::new(peers.clone(), asked.clone(), partitions);
            Some(Group { asked, wanted: merged(wanted), choice })
        };
        (groups.into_iter().filter_map(group).collect(), left)
    }

    /// From where the views of a planned statement are read, for EXPLAIN.
    pub(in crate::engine) fn gathers(&self, views: &[Arc<Gathering>]) -> Vec<String> {
        let mut lines = Vec::new();
        for view in views.iter().filter(|view| view.joined) {
            let mut places: BTreeMap<Vec<Candidate>, Vec<String>> = BTreeMap::new();
            for partition in view.needs() {
                places.entry(self.candidates(view.at(partition))).or_default().push(partition.to_string());
            }
            lines.extend(places.into_iter().map(|(candidates, partitions)| {
                format!("gather {} {}: partitions {}", view.table, told(&candidates), partitions.join(", "))
            }));
        }
        lines
    }
}

/// All partitions that are wanted; some may come more than once.
pub(super) fn all<'a>(
    views: &'a [Arc<Gathering>],
    wanted: &'a Wanted,
) -> impl Iterator<Item = StreamPartition> + 'a {
    wanted.iter().flat_map(|(number, partitions)| {
        let view = views.get(*number);
        partitions.iter().filter_map(move |partition| Some(view?.at(*partition)))
    })
}

/// Who can be asked, for a person.
fn told(candidates: &[Candidate]) -> String {
    let told = |one: &Candidate| match &one.place {
        Place::Here => "here".to_owned(),
        Place::Node(node) => format!("from `{node}`"),
        Place::Nowhere => "from nobody".to_owned(),
    };
    let (owner, standbys): (Vec<_>, Vec<_>) = candidates.iter().partition(|one| one.owns);
    let owner = match owner.first() {
        Some(owner) => told(owner),
        None => "from nobody, because they have no owner".to_owned(),
    };
    let standbys: Vec<String> = standbys.into_iter().map(told).collect();
    if standbys.is_empty() { owner } else { format!("{owner}, or a standby {}", standbys.join(", ")) }
}
