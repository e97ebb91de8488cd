//! What the objects of snapshots are called.

use std::fmt;
use tw_types::{Offset, PartitionId, StreamId};
use xxhash_rust::xxh3::xxh3_128;

/// One storing of one snapshot. Those of later positions are greater, and so are their texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Run {
    /// The first offset that is not in it.
    pub(crate) position: Offset,
    /// Tells it from others.
    pub(crate) random: u64,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:020}-{:016x}", self.position.0, self.random)
    }
}

impl Run {
    fn read(text: &str) -> Option<Self> {
        let (position, random) = text.split_once('-')?;
        let run =
            Self { position: Offset(position.parse().ok()?), random: u64::from_str_radix(random, 16).ok()? };
        (run.to_string() == text).then_some(run)
    }
}

/// The folder of a view.
pub(super) fn of_view(view: &str) -> String {
    format!("views/{:032x}", xxh3_128(view.as_bytes()))
}

/// The folder of a partition of a view, with the snapshots of all its definitions.
pub(super) fn of_partition(view: &str, partition: PartitionId) -> String {
    format!("{}/{}", of_view(view), partition.0)
}

/// What the folder of a definition of a view is called that reads a stream.
pub(super) fn of_definition(definition: u64, stream: StreamId) -> String {
    format!("{definition:016x}-{}", stream.0)
}

/// Where the snapshots of a partition of a view are that fit one definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    folder: String,
}

/// What an object of a place is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Object {
    /// It makes a snapshot whole.
    Manifest(Run),
    /// A part of one.
    Chunk(Run),
}

impl Place {
    pub(super) fn new(view: &str, partition: PartitionId, definition: u64, stream: StreamId) -> Self {
        let folder = format!("{}/{}", of_partition(view, partition), of_definition(definition, stream));
        Self { folder }
    }

    /// The folder of the manifests.
    pub(super) fn manifests(&self) -> String {
        format!("{}/manifests", self.folder)
    }

    pub(super) fn manifest(&self, run: Run) -> String {
        format!("{}/manifests/{run}", self.folder)
    }

    pub(super) fn chunk(&self, run: Run, number: usize) -> String {
        format!("{}/chunks/{run}/{number}", self.folder)
    }

    /// Whether an object is in this place.
    pub(super) fn holds(&self, name: &str) -> bool {
        name.strip_prefix(&self.folder).is_some_and(|rest| rest.starts_with('/'))
    }

    /// What an object of this place is; None if it is nothing that this version stores.
    pub(super) fn read(&self, name: &str) -> Option<Object> {
        let rest = name.strip_prefix(&self.folder)?;
        if let Some(run) = rest.strip_prefix("/manifests/") {
            return Run::read(run).map(Object::Manifest);
        }
        let (run, number) = rest.strip_prefix("/chunks/")?.split_once('/')?;
        let _number: u32 = number.parse().ok()?;
        Run::read(run).map(Object::Chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_earlier_versions_stored() {
        let place = Place::new("projection/revenue", PartitionId(7), 0xab, StreamId(3));
        let run = Run { position: Offset(258), random: 0x1f };
        let folder = "views/PLACE/7/00000000000000ab-3"
            .replace("PLACE", &format!("{:032x}", xxh3_128(b"projection/revenue")));
        assert_eq!(place.manifest(run), format!("{folder}/manifests/00000000000000000258-000000000000001f"));
        assert_eq!(place.chunk(run, 12), format!("{folder}/chunks/00000000000000000258-000000000000001f/12"));
        tw_depot::check_name(&place.chunk(run, 12)).unwrap();
        assert_eq!(place.read(&place.manifest(run)), Some(Object::Manifest(run)));
        assert_eq!(place.read(&place.chunk(run, 12)), Some(Object::Chunk(run)));
        assert!(place.holds(&place.chunk(run, 12)) && !place.holds(&format!("{folder}0/manifests/x")));
        for other in
            ["manifests/258-1f", "manifests/x", "chunks/00000000000000000258-000000000000001f/x", "x"]
        {
            assert_eq!(place.read(&format!("{folder}/{other}")), None, "{other}");
        }
    }

    #[test]
    fn runs_sort_as_their_texts_do() {
        let runs = [(9, 5), (10, 1), (10, 2), (u64::MAX, 0)];
        let runs = runs.map(|(position, random)| Run { position: Offset(position), random });
        assert!(runs.is_sorted() && runs.map(|run| run.to_string()).is_sorted());
    }
}
