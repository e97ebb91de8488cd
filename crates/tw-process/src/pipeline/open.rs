//! Opening a partition from what was committed.

use super::commit::Work;
use super::input::Reader;
use super::{Fault, Open, Pipeline};
use crate::keys::{self, Kind};
use crate::record::{Cursor, decode_lane};
use tw_order::gate::{Gate, Lane, LaneKey};
use tw_state::Range;

impl Pipeline {
    /// Whether it would begin with what was said of the events of an earlier view of its name, such as that they were dropped,
    /// or without what its state, which another node has stored, knows of `$parked`.
    pub(super) fn is_too_early(&self) -> Result<bool, Fault> {
        let stored = self.deps.store.get(self.keyspace, &keys::cursor(self.at.partition))?;
        Ok(match stored.and_then(|bytes| Cursor::decode(&bytes)) {
            Some(cursor) => cursor.decided > self.deps.index.folded().0,
            None => self.deps.index.is_ending(self.view_key),
        })
    }

    pub(super) fn open(&self) -> Result<Open, Fault> {
        let deps = &self.deps;
        let partition = self.at.partition;
        let stored = deps.store.get(self.keyspace, &keys::cursor(partition))?;
        let stored = stored.map(|bytes| Cursor::decode(&bytes).ok_or(Fault::LaterVersion)).transpose()?;
        let start = deps.log.bounds(self.at)?.start;
        let decided = deps.index.folded().0;
        let cursor = stored.unwrap_or(Cursor { position: start, start, decided, ..Cursor::default() });
        let gate = Gate::load(deps.options.get().retry.clone(), cursor.counts, cursor.cleared, self.lanes()?);
        let stream = deps.log.streams().by_id(self.at.stream)?.name.clone();
        let view = self.view.name().to_owned();
        let progress = self.progress.clone();
        let mut work = Work::new(deps.clone(), progress, view, stream, self.at, self.keyspace, gate, cursor);
        work.find_next_drop(cursor.position)?;
        if stored.is_none() {
            // That it has begun is worth a commit.
            work.touch();
        } else {
            deps.outboxes.add(self.keyspace, self.at);
            self.progress.opened(&cursor, work.gate.is_walled());
        }
        let processor = self.view.open(partition, self.keyspace, &deps.store)?;
        let reader = Reader::new(deps.log.clone(), self.at, deps.options.get().read_bytes_max)?;
        Ok(Open { processor, work, reader, spare: Vec::new(), spare_window: Vec::new() })
    }

    /// The stored lanes that the gate wants: all that are retried, a wall, and parked ones up to the limit.
    fn lanes(&self) -> Result<Vec<(LaneKey, Lane)>, Fault> {
        let partition = self.at.partition;
        let snapshot = self.deps.store.snapshot();
        let wall = keys::lane(Kind::Parked, partition, LaneKey::WALL);
        let wall = snapshot.get(self.keyspace, &wall)?.map(|value| (LaneKey::WALL, value));
        let mut lanes = Vec::new();
        let mut take = |key: Option<LaneKey>, value: &[u8]| {
            let lane = key.zip(decode_lane(value)).ok_or(Fault::LaterVersion)?;
            lanes.push(lane);
            Ok::<_, Fault>(())
        };
        if let Some((key, value)) = wall {
            take(Some(key), &value)?;
        }
        for (kind, limit) in
            [(Kind::Retrying, usize::MAX), (Kind::Parked, self.deps.options.get().retry.lanes_max)]
        {
            let range = Range::prefix(&keys::prefix(kind, partition));
            for entry in snapshot.range(self.keyspace, range).take(limit) {
                let (key, value) = entry?;
                let key = keys::lane_of(&key).filter(|key| kind == Kind::Retrying || *key != LaneKey::WALL);
                if key.is_some() || kind == Kind::Retrying {
                    take(key, &value)?;
                }
            }
        }
        Ok(lanes)
    }
}
