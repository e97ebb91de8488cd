//! Runs: where the events of a subject are, for versions that follow one another.
//!
//! ```text
//! run = first count offset delta* id*
//! first   the version of the first event                    LEB128
//! count   how many events there are, at least one           LEB128
//! offset  the offset of the first event                     LEB128
//! delta   offset − offset of the event before, at least 1   LEB128, count − 1 of them
//! id      the hash of an event's id                         32 bits little-endian, count of them
//! ```

use crate::IdHash;
use tw_types::varint::{put, take};
use tw_types::{Offset, Version};

/// Where an event of a subject is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Posting {
    /// Its place in its subject's history.
    pub version: Version,
    /// Its place in its partition.
    pub offset: Offset,
    /// The hash of its id.
    pub id: IdHash,
}

/// A run that grows, for subjects that are written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) first: Version,
    pub(crate) offsets: Vec<Offset>,
    pub(crate) ids: Vec<IdHash>,
}

impl Run {
    pub(crate) fn one(posting: Posting) -> Self {
        Self { first: posting.version, offsets: vec![posting.offset], ids: vec![posting.id] }
    }

    /// The version that the next event would have.
    pub(crate) fn next(&self) -> Version {
        Version(self.first.0 + self.offsets.len() as u64)
    }

    pub(crate) fn offset_of(&self, version: Version) -> Option<Offset> {
        let index = version.0.checked_sub(self.first.0)?;
        self.offsets.get(index as usize).copied()
    }

    pub(crate) fn push(&mut self, offset: Offset, id: IdHash) {
        self.offsets.push(offset);
        self.ids.push(id);
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = Posting> + '_ {
        self.offsets.iter().zip(&self.ids).enumerate().map(|(index, (offset, id))| Posting {
            version: Version(self.first.0 + index as u64),
            offset: *offset,
            id: *id,
        })
    }

    /// Removes the events at `from` and after it.
    pub(crate) fn truncate(&mut self, from: Offset) {
        let keep = self.offsets.partition_point(|offset| *offset < from);
        self.offsets.truncate(keep);
        self.ids.truncate(keep);
    }
}

/// Bytes that are not a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an entry of the subject index does not read")]
pub struct InvalidRun;

/// A run in its stored form; see the module's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedRun(Box<[u8]>);

impl PackedRun {
    /// The stored form of `postings`, whose versions follow one another and whose offsets increase.
    ///
    /// # Errors
    /// [`InvalidRun`] when there are none, or when they do not.
    pub fn pack(postings: &[Posting]) -> Result<Self, InvalidRun> {
        let mut out = Vec::with_capacity(12 + postings.len() * 6);
        Self::pack_into(postings, &mut out)?;
        Ok(Self(out.into_boxed_slice()))
    }

    /// Appends the stored form of `postings` to `out`.
    ///
    /// # Errors
    /// As [`PackedRun::pack`].
    pub fn pack_into(postings: &[Posting], out: &mut Vec<u8>) -> Result<(), InvalidRun> {
        let first = postings.first().ok_or(InvalidRun)?;
        put(out, first.version.0);
        put(out, postings.len() as u64);
        put(out, first.offset.0);
        let mut last = *first;
        for posting in postings.iter().skip(1) {
            if posting.version != last.version.next() || posting.offset <= last.offset {
                return Err(InvalidRun);
            }
            put(out, posting.offset.0 - last.offset.0);
            last = *posting;
        }
        for posting in postings {
            out.extend_from_slice(&posting.id.0.to_le_bytes());
        }
        Ok(())
    }

    /// Takes stored bytes, all of which are checked.
    ///
    /// # Errors
    /// [`InvalidRun`].
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidRun> {
        let Parts { first, count, mut offset, mut deltas, ids } = split(bytes)?;
        for _ in 1..count {
            let delta = take(&mut deltas).filter(|delta| *delta > 0).ok_or(InvalidRun)?;
            offset = offset.checked_add(delta).ok_or(InvalidRun)?;
        }
        let versions_fit = first.checked_add(count - 1).is_some();
        if !deltas.is_empty() || ids.len() as u64 != count || first == 0 || !versions_fit {
            return Err(InvalidRun);
        }
        Ok(Self(bytes.into()))
    }

    /// The stored form.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The version of the first event.
    pub fn first(&self) -> Version {
        Version(split(&self.0).map_or(0, |parts| parts.first))
    }

    /// The version of the last event.
    pub fn last(&self) -> Version {
        Version(split(&self.0).map_or(0, |parts| parts.first + parts.count - 1))
    }

    /// Where the last event is.
    pub fn last_offset(&self) -> Offset {
        self.iter().last().map_or(Offset::ZERO, |posting| posting.offset)
    }

    /// The events in order.
    pub fn iter(&self) -> impl Iterator<Item = Posting> + '_ {
        let parts = split(&self.0).ok();
        parts.into_iter().flat_map(|Parts { first, mut offset, mut deltas, ids, .. }| {
            ids.iter().enumerate().map(move |(index, id)| {
                if index > 0 {
                    offset += take(&mut deltas).unwrap_or_default();
                }
                Posting {
                    version: Version(first + index as u64),
                    offset: Offset(offset),
                    id: IdHash(u32::from_le_bytes(*id)),
                }
            })
        })
    }

    /// Whether an event whose id has this hash may be among them.
    pub(crate) fn contains(&self, id: IdHash) -> bool {
        split(&self.0).is_ok_and(|parts| parts.ids.contains(&id.0.to_le_bytes()))
    }
}

/// A stored run, taken apart.
struct Parts<'a> {
    first: u64,
    count: u64,
    offset: u64,
    deltas: &'a [u8],
    ids: &'a [[u8; 4]],
}

fn split(bytes: &[u8]) -> Result<Parts<'_>, InvalidRun> {
    let mut rest = bytes;
    let mut number = || take(&mut rest).ok_or(InvalidRun);
    let (first, count, offset) = (number()?, number()?, number()?);
    let ids = usize::try_from(count).ok().and_then(|count| count.checked_mul(4)).ok_or(InvalidRun)?;
    let deltas = rest.len().checked_sub(ids).filter(|_| count > 0).ok_or(InvalidRun)?;
    let (deltas, ids) = rest.split_at(deltas);
    Ok(Parts { first, count, offset, deltas, ids: ids.as_chunks().0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::contains;
    use expect_test::expect;
    use proptest::prelude::*;

    fn postings(first: u64, offsets: &[u64]) -> Vec<Posting> {
        let numbered = offsets.iter().zip(first..);
        numbered
            .map(|(offset, version)| Posting {
                version: Version(version),
                offset: Offset(*offset),
                id: IdHash((offset * 7) as u32),
            })
            .collect()
    }

    #[test]
    fn stored_form_is_fixed() {
        let run = PackedRun::pack(&postings(300, &[5, 6, 1000])).unwrap();
        expect!["[ac, 2, 3, 5, 1, e2, 7, 23, 0, 0, 0, 2a, 0, 0, 0, 58, 1b, 0, 0]"]
            .assert_eq(&format!("{:x?}", run.as_bytes()));
    }

    #[test]
    fn what_is_not_a_run_is_refused() {
        assert!(PackedRun::pack(&[]).is_err());
        assert!(PackedRun::pack(&postings(1, &[5, 5])).is_err());
        for bytes in [
            &[][..],
            &[1, 0, 0],
            &[1, 1, 5, 0, 0, 0],
            &[0, 1, 5, 0, 0, 0, 0],
            &[1, 2, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ] {
            assert!(PackedRun::parse(bytes).is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn runs_read_back(first in 1u64..1 << 50, deltas in proptest::collection::vec(1u64..1 << 40, 1..600)) {
            let offsets: Vec<u64> = deltas.iter().scan(0, |at, delta| { *at += delta; Some(*at) }).collect();
            let postings = postings(first, &offsets);
            let run = PackedRun::pack(&postings).unwrap();
            prop_assert_eq!(PackedRun::parse(run.as_bytes()).unwrap(), run.clone());
            prop_assert_eq!(run.iter().collect::<Vec<_>>(), postings.clone());
            prop_assert_eq!(run.first().0, first);
            prop_assert_eq!(run.last(), postings.last().unwrap().version);
            prop_assert!(postings.iter().all(|posting| run.contains(posting.id)));
            let ids: Vec<_> = postings.iter().map(|posting| posting.id).collect();
            prop_assert!(ids.iter().all(|id| contains(&ids, *id)));
            prop_assert!(!contains(&ids, IdHash(3)) || ids.contains(&IdHash(3)));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(run) = PackedRun::parse(&bytes) {
                prop_assert_eq!(run.iter().count() as u64, run.last().0 - run.first().0 + 1);
            }
        }

        #[test]
        fn mutated_runs_are_read_or_refused(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = PackedRun::pack(&postings(9, &[1, 4, 900, 100_000])).unwrap().0;
            *at.get_mut(&mut bytes) = byte;
            if let Ok(run) = PackedRun::parse(&bytes) {
                prop_assert!(run.iter().zip(run.iter().skip(1)).all(|(a, b)| a.offset < b.offset));
            }
        }
    }
}
