//! What is at risk: own events that a new home did not know when it became one. They are in this log, come to all other regions like any others, and
//! are listed in `$at_risk`, which is in every region.
//!
//! ```json
//! {"type": "tradewind.event.at_risk", "subject": "orders/0/1.1.58",
//!  "data": {"v": 1, "stream": "orders", "partition": 0, "origin": "1.1.58", "term": 3, "home": 2, "subject": "order-7", "id": "a1", "type": "order.paid"}}
//! {"type": "tradewind.home.tail", "subject": "orders/3/2/1", "data": {"v": 1, "stream": "orders", "term": 3, "home": 2, "region": 1, "events": 1}}
//! ```
//!
//! The second kind ends the list of one region for one taking, and is there even if the list is empty: before it has come, what is at risk is not known.
//! Each is appended once, however often this is done: its subject is its identity.

use super::Homes;
use crate::home::Tail;
use crate::service::{Error, own};
use tw_types::{Data, Event, Hlc, PartitionId, StoredRef, StreamDef, StreamPartition};

/// The name of the stream of events at risk. It has one partition, and is in every region.
pub const AT_RISK_STREAM: &str = "$at_risk";
const EVENT: &str = "tradewind.event.at_risk";
const TAIL: &str = "tradewind.home.tail";
/// How many are appended at a time.
const EVENTS_MAX: usize = 1_000;

impl Homes {
    /// Shuts what this region is not the home of any more behind the last write, and lists what is at risk by what was said since.
    pub(super) async fn tell_risks(&self) -> Result<(), Error> {
        loop {
            let next = {
                let state = self.state.lock();
                let untold = state.streams.iter().find(|(_, known)| known.told < known.course.len());
                untold.map(|(name, known)| {
                    (name.clone(), known.course.len(), known.course.tails(self.me, known.told))
                })
            };
            let Some((name, told, tails)) = next else { return Ok(()) };
            if !tails.is_empty() {
                // Nobody enters any more, because another region is the home.
                self.shut(&name).await;
            }
            let streams = self.events.log().streams();
            if let Ok(def) = streams.get(&name) {
                for tail in tails {
                    self.tell(def, &tail).await?;
                }
            }
            if let Some(known) = self.state.lock().streams.get_mut(&name) {
                known.told = told;
            }
        }
    }

    async fn tell(&self, def: &StreamDef, tail: &Tail) -> Result<(), Error> {
        let mut count = 0;
        for number in 0..def.partitions {
            let at = StreamPartition::new(def.id, PartitionId(number));
            count += self.tell_partition(def, at, tail).await?;
        }
        let claim = &tail.claim;
        if count > 0 {
            tracing::warn!(stream = %def.name, term = claim.term, home = %claim.home, events = count,
                "the new home of a stream did not know of events that were accepted here: they are listed in `$at_risk`");
        }
        if !claim.is_planned || count > 0 {
            let data = serde_json::json!({
                "v": 1, "stream": def.name.as_str(), "term": claim.term, "home": claim.home.0,
                "region": self.me.0, "events": count,
            });
            let identity = format!("{}/{}/{}/{}", def.name, claim.term, claim.home, self.me);
            self.append_once(&[event(TAIL, identity, &data)]).await?;
        }
        Ok(())
    }

    /// Lists the own events of a partition that are at risk; how many there are.
    async fn tell_partition(&self, def: &StreamDef, at: StreamPartition, tail: &Tail) -> Result<u64, Error> {
        let log = self.events.log().clone();
        // Whatever is before the last event that the new home knew of, that knew, too: also what was accepted in earlier epochs.
        let mut last = tail.claim.has.latest(at.partition, self.me, log.epoch());
        let (mut from, _) = own::search(log.as_ref(), at, self.me, last.0, last.1).await?;
        let mut count = 0;
        loop {
            let is_after = |block: &tw_wire::Block| own::reaches(block) > last;
            let block = own::next(log.as_ref(), at, self.me, from, is_after).await?;
            let Some(block) = block else { return Ok(count) };
            let records = block.records().map_err(tw_log::Error::from)?;
            let mut found = Vec::new();
            let mut is_over = false;
            for record in records.iter().map_err(tw_log::Error::from)? {
                let record = record.map_err(tw_log::Error::from)?;
                is_over |= tail.until.is_some_and(|until: Hlc| record.hlc >= until);
                if (record.origin.epoch, record.origin.sequence) > last && !is_over {
                    found.push(at_risk(def, at, &record, tail));
                }
            }
            count += found.len() as u64;
            for events in found.chunks(EVENTS_MAX) {
                self.append_once(events).await?;
            }
            if is_over {
                return Ok(count);
            }
            last = own::reaches(&block);
            from = block.header().end_offset();
        }
    }

    /// Appends what is not there yet.
    async fn append_once(&self, events: &[Event]) -> Result<(), Error> {
        let streams = self.events.log().streams();
        let def = streams.get(AT_RISK_STREAM)?;
        let mut write = self.events.write();
        for event in events {
            write.push(def, &event.as_ref())?;
        }
        self.events.append(write).await?;
        Ok(())
    }
}

fn at_risk(def: &StreamDef, at: StreamPartition, record: &StoredRef<'_>, tail: &Tail) -> Event {
    let data = serde_json::json!({
        "v": 1, "stream": def.name.as_str(), "partition": at.partition.0, "origin": record.origin.to_string(),
        "term": tail.claim.term, "home": tail.claim.home.0,
        "subject": record.event.subject, "id": record.event.id, "type": record.event.ty,
    });
    event(EVENT, format!("{}/{}/{}", def.name, at.partition, record.origin), &data)
}

/// An event that is there once: it has its subject for itself.
fn event(ty: &str, identity: String, data: &serde_json::Value) -> Event {
    Event {
        id: identity.clone(),
        source: "tradewind:region".into(),
        ty: ty.into(),
        subject: Some(identity),
        data: Data::Json(data.to_string().into_bytes()),
        ..Event::default()
    }
}
