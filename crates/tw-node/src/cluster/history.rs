//! What happens to nodes, as events of `$cluster`.
//!
//! A node says there that it is registered before it takes its first unit, in its own name: a node that was shut out of the log
//! while it was away learns it by this, and not from a client's append.

use super::Identity;
use crate::core::Core;
use tw_log::{Error, NewStream};
use tw_types::chain;
use tw_types::{Data, Event, StreamName};

const STREAM: &str = "$cluster";
const REGISTERED: &str = "tradewind.node.registered";

/// Says that this node is registered, in this incarnation.
///
/// # Errors
/// When the log does not take it: [`Error::Fenced`] in it means that this process will never write again.
pub(super) async fn registered(core: &Core, identity: &Identity, incarnation: u64) -> Result<(), String> {
    let name = StreamName::new(STREAM).map_err(|error| error.to_string())?;
    let stream = match core.log.streams().get(STREAM) {
        Ok(stream) => stream.clone(),
        Err(_) => match core.log.create_stream(NewStream::plain(name, 1)).await {
            Ok(stream) => stream,
            // Another node was faster.
            Err(Error::StreamExists(_)) => {
                core.log.streams().get(STREAM).map_err(|error| error.to_string())?.clone()
            }
            Err(error) => return Err(chain(&error)),
        },
    };
    let Identity { node, instance, writer } = identity;
    let data = serde_json::json!({
        "node": node, "instance": instance, "writer": writer, "incarnation": incarnation,
        "version": env!("CARGO_PKG_VERSION"),
    });
    let event = Event {
        id: format!("{writer}-{incarnation}"),
        source: "tradewind:node".into(),
        ty: REGISTERED.into(),
        subject: Some(format!("node/{node}")),
        data: Data::Json(data.to_string().into_bytes()),
        ..Event::default()
    };
    let mut write = core.events.write();
    write.push(&stream, &event.as_ref()).map_err(|error| error.to_string())?;
    core.events.append(write).await.map_err(|error| chain(&error))?;
    Ok(())
}
