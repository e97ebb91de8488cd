//! The window of a subject: the ids of its latest events, which the ids of new ones are compared with.
//!
//! ```text
//! ids      a ring of hashes, that of version v at v modulo its length      4 bytes an id, 4 KiB when full
//! filter   16 lines of 512 bits, three bits of one line for each id        1 KiB, once the ring is long
//! ```
//!
//! Most ids are new, and the filter says so after a look at one line of the processor's cache, where the ring has 64 of
//! them. Bits are not taken back when an id leaves: the filter is made anew after every 256 of them, so that it is wrong
//! about one new id in twenty or less, for which the ring is then searched.
//!
//! Equal hashes are only a suspicion: the window says versions, and whoever asks reads the events.

use crate::{DEDUP_VERSIONS, IdHash, Posting};
use tw_types::{Offset, Version};

/// How long the ring gets.
const IDS_MAX: usize = DEDUP_VERSIONS as usize;
/// How long it is at first.
const IDS_MIN: usize = 4;
/// From this length on it has a filter; a shorter one is searched as quickly.
const FILTERED: usize = 256;
/// So many ids leave before the filter is made anew.
const STALE_MAX: u32 = 256;

/// The hashes of the ids of a subject's latest [`DEDUP_VERSIONS`] events. Grows with them; see the module's text.
#[derive(Debug, Clone, Default)]
pub struct IdWindow {
    /// Its length is 0 or a power of two.
    ids: Vec<IdHash>,
    filter: Option<Box<Filter>>,
    head: Version,
    /// How many versions it has, up to `head`.
    count: u32,
    /// How many ids the filter has that have left.
    stale: u32,
    last: Offset,
}

impl IdWindow {
    /// Adds an event of a version over [`IdWindow::head`]; of others nothing changes. Versions in between count as events
    /// whose ids nobody has: the log has lost them to compaction.
    pub fn push(&mut self, posting: Posting) {
        self.add(posting.version, posting.id);
        self.last = self.last.max(posting.offset);
    }

    /// Adds what `later` has over [`IdWindow::head`].
    pub fn extend(&mut self, later: &Self) {
        for version in later.versions() {
            self.add(version, later.id(version));
        }
        self.last = self.last.max(later.last);
    }

    /// The latest version; [`Version::NONE`] when it is empty.
    pub fn head(&self) -> Version {
        self.head
    }

    /// Where the latest event is.
    pub fn last_offset(&self) -> Offset {
        self.last
    }

    /// Whether it is all that ids are compared with: nothing older is missing.
    pub fn is_complete(&self) -> bool {
        u64::from(self.count) == self.head.0.min(DEDUP_VERSIONS)
    }

    /// Whether an event whose id has this hash may be among them; false is certain.
    pub fn may_have(&self, id: IdHash) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.may_have(id)) && contains(&self.ids, id)
    }

    /// The versions whose ids have this hash, in order.
    pub fn with_id(&self, id: IdHash) -> impl Iterator<Item = Version> + '_ {
        let found = self.may_have(id).then(|| self.versions().filter(move |version| self.id(*version) == id));
        found.into_iter().flatten()
    }

    /// How much memory it takes, in bytes, without itself.
    pub fn heap_bytes(&self) -> usize {
        self.ids.capacity() * size_of::<IdHash>() + self.filter.as_ref().map_or(0, |_| size_of::<Filter>())
    }

    fn versions(&self) -> impl Iterator<Item = Version> + use<> {
        (self.head.0 + 1 - u64::from(self.count)..=self.head.0).map(Version)
    }

    fn place(&self, version: Version) -> usize {
        version.0 as usize & (self.ids.len().wrapping_sub(1))
    }

    fn id(&self, version: Version) -> IdHash {
        self.ids.get(self.place(version)).copied().unwrap_or_default()
    }

    fn add(&mut self, version: Version, id: IdHash) {
        if version <= self.head {
            return;
        }
        if self.count > 0 {
            if version.0 - self.head.0 > DEDUP_VERSIONS {
                // Nothing of what it has is among the latest any more.
                *self =
                    Self { head: Version(version.0 - DEDUP_VERSIONS), last: self.last, ..Self::default() };
            }
            for missing in self.head.0 + 1..version.0 {
                self.add_next(Version(missing), IdHash::default());
            }
        }
        self.add_next(version, id);
    }

    fn add_next(&mut self, version: Version, id: IdHash) {
        if self.count as usize == self.ids.len() {
            if self.ids.len() < IDS_MAX {
                self.grow();
            } else {
                (self.count, self.stale) = (self.count - 1, self.stale + 1);
            }
        }
        let place = self.place(version);
        if let Some(slot) = self.ids.get_mut(place) {
            *slot = id;
        }
        (self.head, self.count) = (version, self.count + 1);
        if let Some(filter) = &mut self.filter {
            if self.stale < STALE_MAX {
                filter.add(id);
            } else {
                **filter = Filter::of(&self.ids);
                self.stale = 0;
            }
        }
    }

    fn grow(&mut self) {
        let mut longer =
            Self { ids: vec![IdHash::default(); (2 * self.ids.len()).max(IDS_MIN)], ..Self::default() };
        for version in self.versions() {
            let place = longer.place(version);
            if let Some(slot) = longer.ids.get_mut(place) {
                *slot = self.id(version);
            }
        }
        self.ids = longer.ids;
        if self.ids.len() >= FILTERED {
            self.filter = Some(Box::new(Filter::of(&self.ids)));
        }
    }
}

/// Whether `id` is among `ids`. Looks at all of them, many at a time.
pub(crate) fn contains(ids: &[IdHash], id: IdHash) -> bool {
    let (blocks, rest) = ids.as_chunks::<64>();
    blocks.iter().any(|block| block.iter().fold(false, |found, other| found | (*other == id)))
        || rest.contains(&id)
}

/// A Bloom filter in blocks (Putze, Sanders, Singler: Cache-, Hash- and Space-Efficient Bloom Filters, 2007): all bits of
/// an id are in one line of the cache.
#[derive(Debug, Clone)]
#[repr(align(64))]
struct Filter([[u64; 8]; 16]);

impl Filter {
    fn of(ids: &[IdHash]) -> Self {
        let mut filter = Self([[0; 8]; 16]);
        ids.iter().for_each(|id| filter.add(*id));
        filter
    }

    /// The words of a line with the id's bits. Ids are hashes already: 4 bits say which line, three times 9 which bits.
    fn bits(id: IdHash) -> [(usize, u64); 3] {
        [4, 13, 22].map(|shift| {
            let bit = id.0 >> shift;
            ((bit >> 6 & 7) as usize, 1 << (bit & 63))
        })
    }

    fn add(&mut self, id: IdHash) {
        let line = &mut self.0[(id.0 & 15) as usize];
        for (word, bit) in Self::bits(id) {
            line[word] |= bit;
        }
    }

    fn may_have(&self, id: IdHash) -> bool {
        let line = &self.0[(id.0 & 15) as usize];
        Self::bits(id).iter().all(|(word, bit)| line[*word] & bit != 0)
    }
}

#[cfg(test)]
mod tests;
