//! How sources are, in the words of the interface.

use crate::core::Core;
use futures_util::future::join_all;
use std::collections::BTreeMap;
use tw_api::parts::{Build, Source, SourceSlot, SourceTable, Trouble};
use tw_capture::{CapturedName, SlotStatus, SnapshotPhase, SourcePhase, TableStatus};
use tw_project::{SourceDef, SourceStanding};

/// All sources, in the order of their names; other nodes are asked for those that they run.
pub(crate) async fn sources(core: &Core) -> Vec<Source> {
    let catalog = core.engine.catalog();
    let looks = catalog.sources().map(|defined| async move {
        match core.cluster.remote_source(&defined.def.name).filter(|_| !defined.paused) {
            None => source(core, defined).await,
            Some(remote) => {
                let look = remote.look().await;
                look.unwrap_or_else(|reason| idle(&defined.def, "failed", Some(reason)))
            }
        }
    });
    let mut sources = join_all(looks).await;
    sources.sort_by(|a, b| a.name.cmp(&b.name));
    sources
}

/// The sources that no other node runs. Nobody is asked.
pub(crate) async fn sources_here(core: &Core) -> Vec<Source> {
    let catalog = core.engine.catalog();
    let here = catalog.sources().filter(|defined| core.cluster.remote_source(&defined.def.name).is_none());
    join_all(here.map(|defined| source(core, defined))).await
}

/// A source, as this node sees it.
pub(crate) async fn source(core: &Core, defined: &tw_project::Source) -> Source {
    if defined.paused {
        return idle(&defined.def, "paused", None);
    }
    match core.sources.status(&defined.def.name).await {
        Ok(status) => running(&defined.def, status),
        Err(reason) => idle(&defined.def, "failed", Some(reason)),
    }
}

/// The same as SHOW SOURCES tells it.
pub(crate) async fn standings(core: &Core) -> BTreeMap<String, SourceStanding> {
    let standing = |source: Source| {
        let Source { state, lag_ms, lag_bytes, retained_bytes, error, .. } = source;
        (source.name, SourceStanding { state, lag_ms, lag_bytes, retained_bytes, error })
    };
    sources(core).await.into_iter().map(standing).collect()
}

/// What a person should look at.
pub(super) fn problems(source: &Source) -> Vec<Trouble> {
    let name = source.name.as_str();
    let mut problems = Vec::new();
    let error = source.error.as_deref().unwrap_or("it does not run");
    let show =
        format!("`tradewind source show {name}` says more; it goes on by itself once the cause is gone");
    match source.state.as_str() {
        "failed" => problems.push(Trouble::new("source_failed", "source", name, error, show)),
        "retrying" => problems.push(Trouble::new("source_retrying", "source", name, error, show)),
        _ => {}
    }
    if let Some(slot) = source.slot.as_ref().filter(|slot| !is_well(slot)) {
        let detail = format!(
            "its replication slot `{}` is {}: its database has removed WAL, or is about to",
            slot.name, slot.wal_status
        );
        let remedy = "raise `max_slot_wal_keep_size` in the database";
        problems.push(Trouble::new("source_slot_lost", "source", name, detail, remedy));
    }
    for table in source.tables.iter().filter(|table| table.state == "failed") {
        let error = table.error.as_deref().unwrap_or("it is not captured");
        let remedy = format!("put the table right, then `tradewind source resnapshot {name}`");
        problems.push(Trouble::new(
            "table_failed",
            "table",
            &format!("{name}/{}", table.name),
            error,
            remedy,
        ));
    }
    problems
}

/// Whether changes stream: they do also while rows are read that were there before.
pub(crate) fn streams(source: &Source) -> bool {
    matches!(source.state.as_str(), "streaming" | "snapshotting")
}

/// Whether the server keeps what the slot needs.
pub(crate) fn is_well(slot: &SourceSlot) -> bool {
    matches!(slot.wal_status.as_str(), "reserved" | "extended")
}

/// A source that does not run: what is defined is all that is known.
fn idle(def: &SourceDef, state: &str, error: Option<String>) -> Source {
    let of_table = if state == "paused" { "paused" } else { "waiting" };
    let table = |text: &String| {
        let named = CapturedName::new(&def.name, text).ok();
        SourceTable {
            name: named.as_ref().map_or_else(|| text.clone(), CapturedName::table),
            stream: named.map_or_else(String::new, |named| named.stream().to_string()),
            state: of_table.to_owned(),
            ..SourceTable::default()
        }
    };
    Source {
        name: def.name.clone(),
        kind: def.kind.clone(),
        state: state.to_owned(),
        error,
        tables: def.tables.iter().map(table).collect(),
        ..Source::default()
    }
}

fn running(def: &SourceDef, status: tw_capture::Status) -> Source {
    // What a heartbeat has told holds as long as there are heartbeats.
    let beats =
        status.heartbeats > 0 && matches!(status.phase, SourcePhase::Snapshot | SourcePhase::Streaming);
    let slot_now = status.slot.filter(|_| beats);
    let waits = status.waits_for.map(|what| format!("it waits for {what}"));
    Source {
        name: def.name.clone(),
        kind: def.kind.clone(),
        state: match status.phase {
            SourcePhase::Starting => "starting",
            SourcePhase::Snapshot => "snapshotting",
            SourcePhase::Streaming => "streaming",
            SourcePhase::Retrying => "retrying",
            SourcePhase::Stopped | SourcePhase::Failed => "failed",
        }
        .to_owned(),
        error: status.last_error.map(|failure| failure.message).or(waits),
        lag_ms: beats.then_some(status.lag_ms),
        lag_bytes: beats.then_some(status.lag_bytes),
        retained_bytes: slot_now.as_ref().map(|slot| slot.retained_bytes),
        slot: slot_now.map(slot),
        position: Some(status.confirmed.to_string()),
        tables: status.tables.into_iter().map(table).collect(),
    }
}

fn slot(slot: SlotStatus) -> SourceSlot {
    SourceSlot { name: slot.name, wal_status: slot.wal_status, safe_bytes: slot.safe_bytes }
}

fn table(table: TableStatus) -> SourceTable {
    let state = match (&table.problem, table.snapshot) {
        (Some(_), _) => "failed",
        (None, SnapshotPhase::Pending) => "waiting",
        (None, SnapshotPhase::Running) => "snapshotting",
        (None, SnapshotPhase::Done) => "streaming",
    };
    let snapshot = (table.snapshot == SnapshotPhase::Running).then(|| Build {
        done: table.snapshot_rows,
        total: table.rows_estimate.unwrap_or_default().max(table.snapshot_rows),
        ready: false,
    });
    SourceTable {
        name: table.table,
        stream: table.stream,
        state: state.to_owned(),
        error: table.problem,
        snapshot,
    }
}
