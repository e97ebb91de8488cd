//! PostgreSQL as a source: logical replication with `pgoutput`, and snapshots beside it.
//!
//! Data's way: `stream` (bytes, encrypted or not) → `frame` (messages, cut in place) → `replication` (pieces of the
//! change stream) → [`pgoutput`] (row changes) → `session` (which become events where they stand) → the sink. ADR 0004
//! tells why the transport is our own, ADR 0005 why snapshots and changes together give the table.

mod address;
mod auth;
mod beside;
mod catalog;
mod connection;
mod continuity;
mod define;
mod envelope;
mod establish;
mod frame;
mod json;
mod layout;
mod name;
pub mod pgoutput;
mod preflight;
mod probe;
mod provision;
mod replication;
mod session;
mod snapshot;
mod spool;
mod stream;
mod tables;
mod tls;
mod types;
mod unread;

pub(crate) use address::decode as percent_decoded;
pub use define::define;
#[doc(hidden)]
pub use frame::cut;
pub use name::CapturedName;
pub use preflight::{Preflight, Problem, TablePlan};
pub(crate) use session::Ended;

use crate::commands::Commands;
use crate::status::Shared;
use crate::{Error, Options, Place};
use address::Address;
use auth::Purpose;
use connection::Connection;
use name::TableName;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a server may take to say goodbye, or to let go of a slot.
const GOODBYE: Duration = Duration::from_secs(5);

/// Checks what options say about address and tables.
pub(crate) fn check_address_and_tables(options: &Options) -> Result<(), Error> {
    options.url.parse::<Address>()?;
    let mut names = BTreeSet::new();
    let mut streams = BTreeSet::new();
    for table in &options.tables {
        let name: TableName = table.parse()?;
        let stream = name.stream(&options.name)?;
        if !names.insert(name) {
            let rule = "it is named twice".to_owned();
            return Err(Error::Option { option: "tables", value: table.clone(), rule });
        }
        if !streams.insert(stream) {
            let rule = "its stream would have the name of another table's".to_owned();
            return Err(Error::Option { option: "tables", value: table.clone(), rule });
        }
    }
    Ok(())
}

/// Connects and captures until something ends it.
pub(crate) async fn capture(
    options: &Arc<Options>,
    place: &Place,
    shared: &Shared,
    commands: &mut Commands,
) -> Result<Ended, Error> {
    let mut counters = shared.get().counters;
    counters.connections += 1;
    shared.update(|status| status.heartbeats = 0);
    let start = establish::Start { options, place, shared, counters };
    let (mut session, mut reader, writer) = tokio::select! {
        established = start.establish() => established?,
        () = commands.stop() => return Ok(Ended::Stopped),
    };
    shared.update(|status| status.last_error = None);
    let (finish, finished) = oneshot::channel();
    let (durable, replies) = (session.sink.durable(), session.reply.subscribe());
    let mut confirming =
        tokio::spawn(session::confirm(writer, durable, replies, place.env.clone(), finished));
    let outcome = tokio::select! {
        outcome = session.run(&mut reader, commands) => outcome,
        confirmed = &mut confirming => match confirmed {
            Ok(Err(error)) => Err(error),
            Ok(Ok(())) | Err(_) => Err(Error::closed()),
        },
    };
    // Whatever was submitted has to come to its end before the log is asked how far the source has come.
    session.sink.settle_all().await;
    if outcome.is_ok() && finish.send(()).is_ok() {
        // Whoever stops a source may want to use its slot, or to drop it, at once.
        let _server_is_gone = tokio::time::timeout(GOODBYE, async {
            let _confirmed = confirming.await;
            reader.finish().await
        })
        .await;
    } else {
        confirming.abort();
    }
    outcome
}

/// Looks at everything that a source needs, and changes nothing. The server has `within` to answer.
///
/// # Errors
/// [`Error::Option`], [`Error::Address`], and whatever keeps it from looking: [`Error::Connect`], [`Error::Late`],
/// [`Error::Authentication`], [`Error::Tls`], [`Error::Server`], [`Error::Lost`].
pub async fn check(options: &Options, within: Duration) -> Result<Preflight, Error> {
    options.check()?;
    let address: Address = options.url.parse()?;
    tokio::time::timeout(within, preflight::check(options, &address))
        .await
        .unwrap_or_else(|_| Err(late(&address, within)))
}

fn late(address: &Address, within: Duration) -> Error {
    Error::Late { address: address.to_string(), seconds: within.as_secs() }
}

/// What a source has made in its database and is still there.
#[derive(Debug, thiserror::Error)]
#[error("not everything that the source has made in its database could be removed")]
pub struct Left {
    /// The replication slot, if so: for it the server keeps write-ahead log.
    pub slot: Option<String>,
    /// The publications with the names that sources give them. One of another name may be somebody else's.
    pub publications: Vec<String>,
    /// Why.
    #[source]
    pub reason: Error,
}

/// Removes what a source has made in its database: the replication slot, and the publications if they are its own. The
/// source must have been stopped. What is not there is fine. The server has `within` to do it.
///
/// # Errors
/// What is left, because the slot is in use, or of whatever keeps it from connecting.
pub async fn remove(options: &Options, within: Duration) -> Result<(), Box<Left>> {
    let mut slot = Some(options.slot());
    let outcome = async {
        options.check()?;
        let address: Address = options.url.parse()?;
        let removing = remove_all(options, &address, &mut slot);
        tokio::time::timeout(within, removing).await.unwrap_or_else(|_| Err(late(&address, within)))
    };
    let outcome = outcome.await;
    outcome.map_err(|reason| {
        let own = options.publication.is_none();
        let publications =
            if own { vec![options.publication(), options.append_publication()] } else { Vec::new() };
        Box::new(Left { slot, publications, reason })
    })
}

/// `slot` is taken once it is gone.
async fn remove_all(options: &Options, address: &Address, slot: &mut Option<String>) -> Result<(), Error> {
    let mut connection =
        Connection::open(address, &options.password, Purpose::Sql, options.message_bytes_max).await?;
    let dropping = async {
        while let Err(error) = provision::drop_slot(&mut connection, &options.slot()).await {
            if !error.is_passing() {
                return Err(error);
            }
            // The server may not have noticed yet that a source is gone.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    };
    tokio::time::timeout(GOODBYE, dropping).await.unwrap_or_else(|_| {
        Err(Error::refused(
            format!("replication slot `{}` is in use", options.slot()),
            "stop the source that uses it, also on other nodes",
        ))
    })?;
    *slot = None;
    provision::drop_publications(&mut connection, options).await?;
    connection.close().await;
    Ok(())
}
