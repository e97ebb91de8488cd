//! Links between regions: what is sent, what is taken, and who may connect.
//!
//! `docs/adr/0018-how-regions-exchange-events.md` says how regions exchange events; `tw-merge` decides what may be taken and when.
//!
//! [`link`] has the language of a link and the decisions of both of its ends, [`tls`] says who may connect, and [`service`] is what runs:
//! it carries inputs and actions between those, the log and the network.

pub mod home;
pub mod link;
mod seen;
pub mod service;
pub mod tls;

pub use seen::SEEN_STREAM;

use tw_log::{Log, NewStream};
use tw_types::{StreamMode, StreamName, StreamOptions};

/// Creates the streams that a region needs, where they are not there yet: [`SEEN_STREAM`], [`home::HOMES_STREAM`] and [`service::AT_RISK_STREAM`].
///
/// # Errors
/// Whatever stops the log.
pub async fn define(log: &dyn Log) -> tw_log::Result<()> {
    for (name, mode) in [
        (SEEN_STREAM, StreamMode::Local),
        (home::HOMES_STREAM, StreamMode::ActiveActive),
        (service::AT_RISK_STREAM, StreamMode::ActiveActive),
    ] {
        if let Ok(name) = StreamName::new(name)
            && log.streams().get(name.as_str()).is_err()
        {
            let options = StreamOptions { mode, ..StreamOptions::default() };
            log.create_stream(NewStream { options, ..NewStream::plain(name, 1) }).await?;
        }
    }
    Ok(())
}
pub use tw_merge::Seen;
