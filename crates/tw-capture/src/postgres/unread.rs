//! Rows of a table that are to be read once more, by their keys.
//!
//! Every note has a number, and whoever reads rows says with which number the reading began: a row that was noted again
//! meanwhile is not forgotten with it, because what was read may be older than the note. Pure, and bounded in bytes.

use std::collections::BTreeMap;

/// How much the keys of a table may take, as they stand in the table's cursor, in bytes: that is one event, of which
/// they are a part.
const BYTES_MAX: usize = 256 << 10;

/// See the module's text.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    /// The number of the latest note of each key.
    keys: BTreeMap<Vec<String>, u64>,
    bytes: usize,
    /// The number of the latest note of all.
    last: u64,
}

impl Unread {
    /// As a cursor remembers it.
    pub(crate) fn new(keys: Vec<Vec<String>>) -> Self {
        let mut unread = Self::default();
        keys.into_iter().for_each(|key| unread.add(key));
        unread
    }

    /// Whether there is room for these keys too; for one there always is if there is no other.
    pub(crate) fn has_room_for(&self, keys: &[Vec<String>]) -> bool {
        let news = keys.iter().filter(|key| !self.keys.contains_key(*key));
        let alone = self.keys.is_empty() && keys.len() <= 1;
        alone || self.bytes + news.map(|key| size(key)).sum::<usize>() <= BYTES_MAX
    }

    /// The row with this key is to be read once more.
    pub(crate) fn add(&mut self, key: Vec<String>) {
        self.last += 1;
        let bytes = size(&key);
        if self.keys.insert(key, self.last).is_none() {
            self.bytes += bytes;
        }
    }

    /// These rows have been read; `since` was the number of the latest note when that began.
    pub(crate) fn forget(&mut self, keys: &[Vec<String>], since: u64) {
        for key in keys {
            if self.keys.get(key).is_some_and(|number| *number <= since) {
                self.keys.remove(key);
                self.bytes -= size(key);
            }
        }
    }

    /// Forgets all of them.
    pub(crate) fn clear(&mut self) {
        self.keys.clear();
        self.bytes = 0;
    }

    /// The number of the latest note.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// The keys, in their order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Vec<String>> {
        self.keys.keys()
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// How much a key takes in a cursor: its JSON and a comma.
fn size(key: &[String]) -> usize {
    // Texts always have a JSON form.
    serde_json::to_string(key).map_or(0, |json| json.len()) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Vec<String> {
        vec![text.to_owned()]
    }

    #[test]
    fn cap_2_a_key_that_was_noted_again_while_it_was_read_is_kept() {
        let mut unread = Unread::new(vec![key("a"), key("b")]);
        let since = unread.last();
        unread.add(key("a"));
        unread.add(key("c"));
        unread.forget(&[key("a"), key("b"), key("c")], since);
        assert_eq!(unread.keys().collect::<Vec<_>>(), [&key("a"), &key("c")]);
        unread.forget(&[key("a"), key("c")], unread.last());
        assert!(unread.is_empty());
    }

    #[test]
    fn keys_are_bounded_by_what_they_take_in_the_cursor() {
        let mut unread = Unread::default();
        // What needs more than a byte in JSON counts as such.
        let large = |n: u32| vec!["\u{1}".repeat(10_000) + &n.to_string()];
        assert!(!unread.has_room_for(&(0..5).map(large).collect::<Vec<_>>()));
        let mut n = 0;
        while unread.has_room_for(&[large(n)]) {
            unread.add(large(n));
            n += 1;
        }
        let keys: Vec<_> = unread.keys().collect();
        let json = serde_json::to_string(&keys).unwrap();
        assert!((BYTES_MAX - 70_000..=BYTES_MAX).contains(&json.len()), "{}", json.len());
        // What is there already takes nothing.
        assert!(unread.has_room_for(&[large(0), large(1)]));
        unread.add(large(0));
        unread.forget(&[large(0)], unread.last());
        assert!(unread.has_room_for(&[large(n)]));
        unread.clear();
        assert!(unread.has_room_for(&[vec!["x".repeat(BYTES_MAX)]]), "one alone has room");
    }
}
