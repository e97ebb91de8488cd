//! What was said of one stream, put together; and what is to be done so that it is so here.

use super::Definition;
use std::collections::BTreeMap;
use tw_log::NewStream;
use tw_merge::Stamp;
use tw_types::{RegionId, Schema, StreamDef, StreamMode, StreamName, StreamOptions};

/// What is to be done so that streams are as all regions have them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Create it.
    Create(NewStream),
    /// Alter it.
    Alter(NewStream),
    /// Drop it; if it was created anew, that is what is to be done next.
    Drop(StreamName),
    /// Nothing can be done: what is here is another stream of that name.
    Differs {
        /// The name.
        name: StreamName,
        /// Why, with the remedy.
        why: String,
    },
}

/// What was said of one name, by when.
pub(super) type Said = BTreeMap<Stamp, Definition>;

/// What all of that comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fold {
    /// The stream, and which region has defined it; None if there is none, or none any more.
    pub(super) stream: Option<(NewStream, RegionId)>,
    /// How many streams of this name were dropped.
    dropped: usize,
    /// Which of them each drop has dropped: several regions may have dropped the same one.
    drops: BTreeMap<u64, usize>,
}

impl Fold {
    pub(super) fn of(said: &Said) -> Self {
        let mut fold = Self::default();
        for (stamp, definition) in said {
            match definition {
                Definition::StreamCreated(new) => match &fold.stream {
                    Some(_) => fold.join(new),
                    None => {
                        let options = StreamOptions { replaces: fold.replaces(), ..new.options.clone() };
                        fold.stream = Some((NewStream { options, ..new.clone() }, stamp.region()));
                    }
                },
                // One that was dropped meanwhile is not altered.
                Definition::StreamAltered(new) if fold.is_current(new.options.replaces) => fold.join(new),
                Definition::StreamDropped { replaces, .. } => {
                    let which = fold.which(*replaces).unwrap_or(fold.dropped);
                    if which == fold.dropped {
                        fold.dropped += 1;
                        fold.stream = None;
                    }
                    fold.drops.insert(stamp.hlc.as_u64(), which + 1);
                }
                _ => {}
            }
        }
        fold
    }

    /// Another definition of the stream. Of two that do not fit together the first counts.
    fn join(&mut self, new: &NewStream) {
        let replaces = self.replaces();
        if let Some((known, _)) = &mut self.stream
            && difference(known, new).is_none()
        {
            known.schema = joined(known.schema.as_ref(), new.schema.as_ref());
            known.options = StreamOptions { replaces, ..new.options.clone() };
        }
    }

    /// What a stream of now replaces.
    pub(super) fn replaces(&self) -> Option<u64> {
        self.drops.iter().find(|(_, which)| **which == self.dropped).map(|(drop, _)| *drop)
    }

    /// Which of the streams of this name it is, by what it replaces; None for one of which nothing is known.
    fn which(&self, replaces: Option<u64>) -> Option<usize> {
        replaces.map_or(Some(0), |drop| self.drops.get(&drop).copied())
    }

    fn is_current(&self, replaces: Option<u64>) -> bool {
        self.which(replaces) == Some(self.dropped)
    }

    /// What is to be done about a stream that is here like this.
    pub(super) fn step(&self, here: Option<&StreamDef>) -> Option<Step> {
        let is_older =
            |def: &StreamDef| self.which(def.options.replaces).is_some_and(|which| which < self.dropped);
        match (&self.stream, here) {
            (None, None) => None,
            (None, Some(def)) => (is_shared(def) && is_older(def)).then(|| Step::Drop(def.name.clone())),
            (Some((wanted, _)), None) => Some(Step::Create(wanted.clone())),
            (Some((wanted, by)), Some(def)) if !is_shared(def) => {
                let (name, mode) = (def.name.clone(), wanted.options.mode.as_str());
                let why = format!(
                    "region {by} has defined the stream `{name}`, which is {mode}, and here is one of this name that is of this region alone: \
                     drop it, or make it {mode}, too"
                );
                Some(Step::Differs { name, why })
            }
            (Some(_), Some(def)) if is_older(def) => Some(Step::Drop(def.name.clone())),
            (Some((wanted, by)), Some(def)) => {
                let known = new_stream(def);
                if let Some(what) = difference(wanted, &known) {
                    let name = def.name.clone();
                    let why = format!(
                        "the stream `{name}` is not the one that region {by} has defined: {what} differ; drop it here, then it is created as it is there"
                    );
                    return Some(Step::Differs { name, why });
                }
                let schema = joined(known.schema.as_ref(), wanted.schema.as_ref());
                let changed = NewStream { schema, options: wanted.options.clone(), ..known.clone() };
                (changed != known).then_some(Step::Alter(changed))
            }
        }
    }

    /// What this region has and nobody was told: the stream, or columns of it.
    pub(super) fn untold(&self, here: &StreamDef) -> Option<Definition> {
        if !is_shared(here) || !self.is_current(here.options.replaces) {
            return None;
        }
        let known = new_stream(here);
        let Some((wanted, _)) = &self.stream else { return Some(Definition::StreamCreated(known)) };
        let told = |name: &str| wanted.schema.as_ref().is_none_or(|schema| schema.column(name).is_some());
        let mut columns = known.schema.iter().flat_map(|schema| &schema.columns);
        let has_more = columns.any(|column| !told(&column.name));
        (has_more && difference(wanted, &known).is_none()).then_some(Definition::StreamAltered(known))
    }
}

/// Whether a stream is one that regions agree on.
pub(super) fn is_shared(def: &StreamDef) -> bool {
    def.options.mode != StreamMode::Local && !def.name.is_system()
}

fn new_stream(def: &StreamDef) -> NewStream {
    NewStream {
        name: def.name.clone(),
        kind: def.kind,
        partitions: def.partitions,
        schema: def.schema.clone(),
        options: def.options.clone(),
    }
}

/// In what two streams of one name differ that cannot be put together; None if they can.
fn difference(one: &NewStream, other: &NewStream) -> Option<String> {
    let place = |new: &NewStream| (new.options.mode, new.options.home);
    let key = |new: &NewStream| new.schema.as_ref().map(|schema| schema.key.clone());
    if one.kind != other.kind {
        return Some("their kinds".to_owned());
    }
    if one.partitions != other.partitions {
        return Some("their numbers of partitions".to_owned());
    }
    if place(one) != place(other) {
        return Some("their modes or homes".to_owned());
    }
    if key(one) != key(other) {
        return Some("their keys, or whether they have columns,".to_owned());
    }
    let columns = one.schema.iter().flat_map(|schema| &schema.columns);
    let mut differs = columns.filter_map(|column| {
        let same = other.schema.as_ref()?.column(&column.name)?;
        let of = |column: &tw_types::Column| (column.ty.clone(), column.nullable, column.merge.clone());
        (of(column) != of(same)).then(|| format!("their columns `{}`", column.name))
    });
    differs.next()
}

/// The columns of both, in the order of the first; how sensitive one is says the second.
fn joined(first: Option<&Schema>, second: Option<&Schema>) -> Option<Schema> {
    let (Some(first), Some(second)) = (first, second) else { return first.cloned() };
    let mut schema = first.clone();
    for column in &second.columns {
        match schema.columns.iter_mut().find(|known| known.name == column.name) {
            Some(known) => known.class = column.class,
            None => schema.columns.push(column.clone()),
        }
    }
    if schema.columns != first.columns {
        schema.version = first.version.saturating_add(1);
    }
    Some(schema)
}
