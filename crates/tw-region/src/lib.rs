//! Links between regions: what is sent, what is taken, and who may connect.
//!
//! `docs/adr/0018-how-regions-exchange-events.md` says how regions exchange events; `tw-merge` decides what may be taken and when.
//!
//! [`link`] has the language of a link and the decisions of both of its ends, [`tls`] says who may connect, and [`service`] is what runs:
//! it carries inputs and actions between those, the log and the network.

mod contexts;
pub mod definitions;
pub mod eviction;
pub mod home;
pub mod link;
mod seen;
pub mod service;
pub mod tls;

pub use contexts::Contexts;
pub use seen::seen_stream;

use tw_log::{Log, NewStream};
use tw_types::{RegionId, StreamMode, StreamName, StreamOptions};

/// Creates the streams that a region with these peers needs, where they are not there yet: [`definitions::DEFINITIONS_STREAM`],
/// [`home::HOMES_STREAM`], [`service::AT_RISK_STREAM`], [`eviction::EVICTIONS_STREAM`], and the [`seen_stream`] of each region. All of them are in every region.
///
/// # Errors
/// Whatever stops the log.
pub async fn define(log: &dyn Log, peers: impl IntoIterator<Item = RegionId>) -> tw_log::Result<()> {
    let fixed = [
        definitions::DEFINITIONS_STREAM,
        home::HOMES_STREAM,
        service::AT_RISK_STREAM,
        eviction::EVICTIONS_STREAM,
    ]
    .map(str::to_owned);
    let regions = std::iter::once(log.region()).chain(peers);
    for name in fixed.into_iter().chain(regions.map(seen_stream)) {
        if let Ok(name) = StreamName::new(&name)
            && log.streams().get(name.as_str()).is_err()
        {
            let options = StreamOptions { mode: StreamMode::ActiveActive, ..StreamOptions::default() };
            log.create_stream(NewStream { options, ..NewStream::plain(name, 1) }).await?;
        }
    }
    Ok(())
}
pub use tw_merge::Seen;
