//! What happens to nodes, as events of `$cluster`.
//!
//! | type | says |
//! |---|---|
//! | `tradewind.node.registered` | a node is registered, in this incarnation |
//! | `tradewind.node.left` | that registration has ended: the node has left, or its lease was lost or ended by others |
//! | `tradewind.invariant.broken` | a node has found that a promise is broken, for a partition or a source ([`super::audit`]) |
//!
//! A node says that it is registered before it takes its first unit, in its own name: a node that was shut out of the log
//! while it was away learns it by this, and not from a client's append. That it has left says whoever leads: what the stream has as
//! registered, and coordination has not, is gone. Both have an id that says which registration they are about, so that what two
//! nodes say at once is there once.

use super::Identity;
use crate::core::Core;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tw_cluster::{Broken, Members, Owners};
use tw_log::store::Filter;
use tw_log::{Error, NewStream};
use tw_types::chain;
use tw_types::{Data, Event, Offset, PartitionId, StreamDef, StreamName, StreamPartition};

const STREAM: &str = "$cluster";
const REGISTERED: &str = "tradewind.node.registered";
const LEFT: &str = "tradewind.node.left";
const BROKEN: &str = "tradewind.invariant.broken";

/// How often it is looked whether somebody has left, when nothing seems to have changed or it could not be said.
const LOOK: Duration = Duration::from_secs(5);
/// At most so many events of `$cluster`, and bytes of it, are read at once.
const EVENTS: usize = 1_000;
const READ_BYTES: usize = 1 << 20;

/// Says that this node is registered, in this incarnation.
///
/// # Errors
/// When the log does not take it: [`Error::Fenced`] in it means that this process will never write again.
pub(super) async fn registered(core: &Core, identity: &Identity, incarnation: u64) -> Result<(), String> {
    let stream = stream(core).await?;
    let Identity { node, instance, writer } = identity;
    let data = serde_json::json!({
        "node": node, "instance": instance, "writer": writer, "incarnation": incarnation,
        "version": env!("CARGO_PKG_VERSION"),
    });
    say(core, &stream, REGISTERED, format!("{writer}-{incarnation}"), node, &data).await
}

/// Says that this node has found a promise broken.
///
/// # Errors
/// When the log does not take it.
pub(super) async fn broken(core: &Core, broken: &Broken) -> Result<(), String> {
    let Some(owners) = core.cluster.owners() else { return Err("the node is joining".to_owned()) };
    let stream = stream(core).await?;
    let Broken { invariant, unit, what } = broken;
    let node = owners.node().as_str();
    let data = serde_json::json!({
        "node": node, "invariant": invariant, "unit": unit, "name": super::name_of(core, unit), "what": what,
    });
    // What was said, and is said once more because the answer did not arrive, is there once.
    let id = format!("{node}-{}-{invariant}-{unit}-{what}", owners.incarnation());
    say(core, &stream, BROKEN, id, node, &data).await
}

/// The stream, which the first node makes.
async fn stream(core: &Core) -> Result<Arc<StreamDef>, String> {
    if let Ok(stream) = core.log.streams().get(STREAM) {
        return Ok(stream.clone());
    }
    let name = StreamName::new(STREAM).map_err(|error| error.to_string())?;
    match core.log.create_stream(NewStream::plain(name, 1)).await {
        Ok(stream) => Ok(stream),
        // Another node was faster.
        Err(Error::StreamExists(_)) => {
            core.log.streams().get(STREAM).cloned().map_err(|error| error.to_string())
        }
        Err(error) => Err(chain(&error)),
    }
}

async fn say(
    core: &Core,
    stream: &Arc<StreamDef>,
    ty: &str,
    id: String,
    node: &str,
    data: &serde_json::Value,
) -> Result<(), String> {
    let event = Event {
        id,
        source: "tradewind:node".into(),
        ty: ty.into(),
        subject: Some(format!("node/{node}")),
        data: Data::Json(data.to_string().into_bytes()),
        ..Event::default()
    };
    let mut write = core.events.write();
    write.push(stream, &event.as_ref()).map_err(|error| error.to_string())?;
    core.events.append(write).await.map_err(|error| chain(&error))?;
    Ok(())
}

/// Says who has left, while this node leads, until it is gone.
pub(super) async fn tell_left(core: Weak<Core>) {
    let (mut told, mut seen) = (Told::default(), None);
    loop {
        let Some(here) = core.upgrade() else { return };
        // None while it joins.
        let owners = here.cluster.owners();
        let changes = owners.map(Owners::changes);
        let leads = owners.filter(|owners| owners.leads());
        let members =
            leads.map(|owners| owners.members().into_iter().map(|(node, member)| (node, member.epoch)));
        let members: Option<BTreeMap<_, _>> = members.map(Iterator::collect);
        if members.is_some() && members != seen {
            match told.tell(&here).await {
                Ok(()) => seen = members,
                Err(error) => tracing::debug!(error, "who has left is said later"),
            }
        } else if members.is_none() {
            // Whoever led meanwhile may have said more.
            seen = None;
        }
        drop(here);
        let changed = async {
            let Some(mut changes) = changes else { return std::future::pending().await };
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let _either = tokio::time::timeout(LOOK, changed).await;
    }
}

/// What `$cluster` says, as far as it was read.
#[derive(Default)]
struct Told {
    next: Offset,
    /// The registrations, node and incarnation, of which was not said that they ended.
    registered: BTreeSet<(String, u64)>,
}

/// What both types of events have.
#[derive(Deserialize)]
struct Fact {
    node: String,
    incarnation: u64,
}

impl Told {
    async fn tell(&mut self, core: &Core) -> Result<(), String> {
        let Ok(stream) = core.log.streams().get(STREAM).cloned() else { return Ok(()) };
        let at = StreamPartition::new(stream.id, PartitionId(0));
        core.log.refresh(&[at]).await.map_err(|error| chain(&error))?;
        self.read(core, at).await?;
        // After the reading: who is in the stream and was not in coordination before it is there by now.
        let members = Members::new(core.coordination.clone()).map_err(|error| chain(&error))?;
        let (_, members) = members.list().await.map_err(|error| chain(&error))?;
        let is_here = |(node, incarnation): &&(String, u64)| {
            members.get(node).is_some_and(|member| member.epoch.0 == *incarnation)
        };
        for (node, incarnation) in self.registered.iter().filter(|one| !is_here(one)) {
            let data = serde_json::json!({ "node": node, "incarnation": incarnation });
            say(core, &stream, LEFT, format!("{node}-{incarnation}-left"), node, &data).await?;
        }
        self.read(core, at).await
    }

    async fn read(&mut self, core: &Core, at: StreamPartition) -> Result<(), String> {
        // The beginning may have been removed.
        let start = core.log.bounds(at).map_err(|error| chain(&error))?.start;
        self.next = self.next.max(start);
        loop {
            let all = Filter::default();
            let read = core.events.read(at, self.next, &all, EVENTS, READ_BYTES).await;
            let read = read.map_err(|error| chain(&error))?;
            for stored in &read.events {
                let Ok(fact) = serde_json::from_slice::<Fact>(stored.event.data.bytes()) else { continue };
                self.take(&stored.event.ty, fact);
            }
            if read.next == self.next {
                return Ok(());
            }
            self.next = read.next;
        }
    }

    fn take(&mut self, ty: &str, Fact { node, incarnation }: Fact) {
        match ty {
            REGISTERED => drop(self.registered.insert((node, incarnation))),
            LEFT => drop(self.registered.remove(&(node, incarnation))),
            _ => {}
        }
    }
}
