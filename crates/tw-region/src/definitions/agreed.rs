//! Everything that was said in `$definitions`, and what it comes to.

use super::fold::{Fold, Said, Step};
use super::{DEFINITIONS_STREAM, Definition};
use std::collections::BTreeMap;
use tw_log::Streams;
use tw_log::store::{EventStore, Filter};
use tw_merge::Stamp;
use tw_types::{Offset, PartitionId, RegionId, StreamPartition};

/// How much is read at a time.
const READ_EVENTS: usize = 1_000;
const READ_BYTES: usize = 1 << 20;

/// See the module's text.
#[derive(Debug, Clone, Default)]
pub struct Agreed {
    next: Offset,
    streams: BTreeMap<String, Said>,
    /// What was said last of a projection.
    projections: BTreeMap<String, (Stamp, Option<String>)>,
}

impl Agreed {
    /// Learns what was said since. Whether there was anything.
    ///
    /// # Errors
    /// [`tw_log::Error::NoStream`] where there are no regions; whatever stops a read.
    pub async fn follow(&mut self, events: &EventStore) -> Result<bool, tw_log::store::Error> {
        let log = events.log();
        let at = StreamPartition::new(log.streams().get(DEFINITIONS_STREAM)?.id, PartitionId(0));
        let before = self.next;
        while self.next < log.bounds(at)?.end {
            let page = events.read(at, self.next, &Filter::default(), READ_EVENTS, READ_BYTES).await?;
            for stored in &page.events {
                let stamp = Stamp { hlc: stored.hlc, origin: stored.origin };
                match Definition::read(&stored.event.as_ref()) {
                    Some(definition) => self.learn(stamp, definition),
                    None => {
                        tracing::warn!(position = %stored.position, "an event of `$definitions` is not understood: passed over");
                    }
                }
            }
            self.next = page.next;
        }
        Ok(self.next != before)
    }

    /// Takes note of what was said when.
    pub fn learn(&mut self, stamp: Stamp, definition: Definition) {
        let (name, query) = match definition {
            Definition::StreamCreated(ref new) | Definition::StreamAltered(ref new) => {
                self.streams.entry(new.name.to_string()).or_default().insert(stamp, definition);
                return;
            }
            Definition::StreamDropped { ref name, .. } => {
                self.streams.entry(name.to_string()).or_default().insert(stamp, definition);
                return;
            }
            Definition::Projection { name, query } => (name, Some(query)),
            Definition::ProjectionDropped { name } => (name, None),
        };
        let last = self.projections.entry(name).or_insert((stamp, query.clone()));
        if last.0 <= stamp {
            *last = (stamp, query);
        }
    }

    /// What a new stream of this name replaces, see [`tw_types::StreamOptions::replaces`].
    pub fn replaces(&self, name: &str) -> Option<u64> {
        self.streams.get(name).and_then(|said| Fold::of(said).replaces())
    }

    /// What is to be done so that the streams here are as all regions have them.
    pub fn steps(&self, here: &Streams) -> Vec<Step> {
        let steps = self.streams.iter().filter_map(|(name, said)| {
            let def = here.get(name).ok();
            Fold::of(said).step(def.map(AsRef::as_ref))
        });
        steps.collect()
    }

    /// What this region has of streams that was not said yet: it was defined before there was `$definitions`, or what had been said of it was lost.
    pub fn untold(&self, here: &Streams) -> Vec<Definition> {
        let fold = |name: &str| self.streams.get(name).map(Fold::of).unwrap_or_default();
        here.iter().filter_map(|def| fold(def.name.as_str()).untold(def)).collect()
    }

    /// Whether something was said of a projection.
    pub fn knows_projection(&self, name: &str) -> bool {
        self.projections.contains_key(name)
    }

    /// The projections of which something was said: which region was the last to say something, and the SELECT, or None if it is to be no more.
    pub fn projections(&self) -> impl Iterator<Item = (&str, RegionId, Option<&str>)> {
        self.projections
            .iter()
            .map(|(name, (stamp, query))| (name.as_str(), stamp.region(), query.as_deref()))
    }
}
