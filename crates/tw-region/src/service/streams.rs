//! What is replicated: every stream that is not of one region alone.

use super::Shared;
use super::receiver::Event;
use crate::link::handshake::{Local, LocalStream};
use std::sync::Arc;
use tokio::sync::mpsc;
use tw_types::{Hlc, PartitionId, StreamDef, StreamKind, StreamMode, StreamOptions, StreamPartition};

/// This side of a handshake, as it is now.
pub(crate) fn local(shared: &Shared) -> Local {
    let log = shared.events.log();
    Local {
        region: log.region(),
        name: shared.credentials.current().name().to_owned(),
        installation: shared.installation,
        epoch: log.epoch(),
        streams: replicated(shared),
        evicted: shared.evictions.evicted(),
        out: shared.evictions.to_tell(),
    }
}

/// The streams that are replicated now, in the order of their names.
pub(crate) fn replicated(shared: &Shared) -> Vec<LocalStream> {
    let streams = shared.events.log().streams();
    streams.iter().filter(|def| def.options.mode != StreamMode::Local).map(|def| stream(def)).collect()
}

/// All partitions of streams.
pub(crate) fn partitions(streams: &[LocalStream]) -> Vec<StreamPartition> {
    let of = |stream: &LocalStream| {
        let id = stream.id;
        (0..stream.partitions).map(move |number| StreamPartition::new(id, PartitionId(number)))
    };
    streams.iter().flat_map(of).collect()
}

fn stream(def: &StreamDef) -> LocalStream {
    LocalStream {
        id: def.id,
        name: def.name.to_string(),
        partitions: def.partitions,
        kind: match def.kind {
            StreamKind::Events => "events",
            StreamKind::Table => "table",
        }
        .to_owned(),
        mode: mode(&def.options),
        schema_hash: def.schema.as_ref().map_or(0, schema_hash),
    }
}

/// How a stream is replicated. Two that differ in this are different streams.
fn mode(options: &StreamOptions) -> String {
    let mut mode = options.mode.as_str().to_owned();
    if let Some(home) = options.home {
        // Two regions that both took themselves for the first home would both take writes.
        mode += &format!(" of region {home}");
    }
    if let Some(drop) = options.replaces {
        // Sequences begin anew in a stream that was dropped and created again.
        mode += &format!(", created after the drop at {}", Hlc::from_u64(drop));
    }
    mode
}

/// A hash of what a schema says of columns and keys, the same in every build: FNV-1a, 64 bits (Fowler, Noll, Vo; RFC 9923), of its JSON. Columns that
/// two regions have added at the same time are in another order in each, and how sensitive one is changes nothing of what is exchanged.
fn schema_hash(schema: &tw_types::Schema) -> u64 {
    let mut columns: Vec<_> = schema
        .columns
        .iter()
        .map(|column| (&column.name, &column.ty, column.nullable, &column.merge))
        .collect();
    columns.sort_by_key(|(name, ..)| *name);
    // Columns and keys are texts, which always have a JSON form.
    let json = serde_json::to_vec(&(columns, &schema.key)).unwrap_or_default();
    let hash = json.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash.max(1)
}

/// Tells of changes of what is replicated, as long as the links run. `known` is what was replicated before the receiver looked.
pub(crate) async fn watch(shared: Arc<Shared>, mut known: Vec<LocalStream>, queue: mpsc::Sender<Event>) {
    let definitions = shared.events.log().definitions();
    loop {
        // Before what is looked at: a change in between is not missed.
        let seen = definitions.get();
        let now = replicated(&shared);
        if now != known {
            known = now;
            if queue.send(Event::Streams).await.is_err() {
                return;
            }
        }
        definitions.over(seen).await;
    }
}
