//! Queries in datagrams: one task, one buffer, one after the other.

use super::{QUERY_BYTES_MAX, Shared, back_off, ended};
use crate::answer::{Transport, answer, cut_short};
use crate::counters::count;
use crate::limit::{Limiter, Pass};
use crate::subnet::Subnet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use tokio::net::UdpSocket;
use tokio::sync::watch;

/// Answers until the server ends.
pub(super) async fn run(shared: Arc<Shared>, socket: UdpSocket, mut ends: watch::Receiver<bool>) {
    tokio::select! {
        () = serve(&shared, &socket) => {}
        () = ended(&mut ends) => {}
    }
}

async fn serve(shared: &Shared, socket: &UdpSocket) {
    let started = Instant::now();
    let mut limiter = Limiter::new(shared.options.answers_per_s_max);
    // One byte more than is read, to tell what was cut off.
    let mut buffer = [0; QUERY_BYTES_MAX + 1];
    loop {
        let (length, from) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                tracing::debug!(%error, "a datagram could not be received");
                back_off().await;
                continue;
            }
        };
        let bytes = buffer.get(..length).filter(|bytes| bytes.len() <= QUERY_BYTES_MAX && from.port() != 0);
        let Some(bytes) = bytes else {
            count(&shared.counts.ignored);
            continue;
        };
        let now_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let Some(reply) = reply(shared, &mut limiter, from, bytes, now_ms) else { continue };
        if let Err(error) = socket.send_to(&reply, from).await {
            tracing::debug!(%error, "an answer could not be sent");
            count(&shared.counts.unsent);
        }
    }
}

/// The answer to a datagram, if it gets one.
fn reply(
    shared: &Shared,
    limiter: &mut Limiter,
    from: SocketAddr,
    bytes: &[u8],
    now_ms: u64,
) -> Option<Vec<u8>> {
    let counts = &shared.counts;
    match limiter.take(Subnet::of(from.ip()), now_ms) {
        Pass::Answer => {
            let known = shared.regions.known();
            let Some(answer) = answer(&shared.zone, known.as_deref(), Transport::Udp, from.ip(), bytes)
            else {
                count(&counts.ignored);
                return None;
            };
            counts.answered(&answer);
            Some(answer.bytes)
        }
        Pass::Truncate => match cut_short(bytes) {
            Some(answer) => {
                count(&counts.limited_truncated);
                Some(answer.bytes)
            }
            None => {
                count(&counts.limited_dropped);
                None
            }
        },
        Pass::Drop => {
            count(&counts.limited_dropped);
            None
        }
    }
}
