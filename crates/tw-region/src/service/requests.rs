//! Requests that one region sends on to another: over a connection like that of a link, between the same two certificates.
//!
//! Here are the connections; what is said on them is HTTP/2, and the business of who answers and who asks.

use super::dial::{self, Error as DialError};
use super::{Error, Links};
use crate::tls::Purpose;
use std::pin::Pin;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tw_types::RegionId;

/// A connection, encrypted, with a region whose certificate was verified.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Connection for S {}

/// Answers the requests of a region, until the connection ends.
pub type Door =
    Arc<dyn Fn(Box<dyn Connection>, RegionId) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

impl Links {
    /// Has the requests of other regions answered from now on. Before that their connections are closed. Only the first door counts.
    pub fn answer_requests(&self, door: Door) {
        let _it_is_set_once = self.shared.door.set(door);
    }

    /// Connects to a region, to send requests to it.
    ///
    /// # Errors
    /// [`Error::Unreached`].
    pub async fn connect(&self, to: RegionId) -> Result<Box<dyn Connection>, Error> {
        let unreached = |reason: String| Error::Unreached { region: to, reason };
        let peer = self.shared.options.peers.iter().find(|peer| peer.id == to);
        let peer = peer.ok_or_else(|| unreached("it is not among `peers` of [region]".to_owned()))?;
        if let Some(via) = peer.via {
            let reason = format!(
                "its events come by way of region {via}, and requests need a line of their own: give the peer an `address` in place of `via`, or send the request to that region"
            );
            return Err(unreached(reason));
        }
        let connecting = dial::open(&self.shared, peer, Purpose::Requests).await;
        let stream = connecting.map_err(|error: DialError| unreached(tw_types::chain(&error)))?;
        Ok(Box::new(stream))
    }
}
