//! Queries over connections: each has two bytes of length before it (RFC 1035, section 4.2.2).
//!
//! A client may send the next query before it has the answer to the last one (RFC 7766); answers are in the order of queries. What it
//! sends is read only as fast as it takes answers.

use super::{QUERY_BYTES_MAX, Shared, back_off, ended};
use crate::answer::{Transport, answer};
use crate::counters::count;
use crate::subnet::Subnet;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Accepts connections until the server ends, and then lets each send the answer that it is about to send.
pub(super) async fn run(shared: Arc<Shared>, listener: TcpListener, mut ends: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    let each = ends.clone();
    tokio::select! {
        () = accept(&shared, &listener, &mut connections, &each) => {}
        () = ended(&mut ends) => {}
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn accept(
    shared: &Arc<Shared>,
    listener: &TcpListener,
    connections: &mut JoinSet<()>,
    ends: &watch::Receiver<bool>,
) {
    let room = Arc::new(Semaphore::new(shared.options.connections_max as usize));
    let places = Arc::new(Places::default());
    let per_network_max = shared.options.connections_per_network_max;
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, from)) => match places.take(Subnet::of(from.ip()), per_network_max) {
                Some(place) => {
                    count(&shared.counts.connections);
                    let (shared, mut ends) = (shared.clone(), ends.clone());
                    connections.spawn(async move {
                        let _until_it_ends = (permit, place);
                        if let Err(error) = connection(&shared, stream, from.ip(), &mut ends).await {
                            tracing::debug!(%error, "a connection has ended");
                        }
                    });
                }
                None => count(&shared.counts.connections_refused),
            },
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                back_off().await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

/// How many connections each network has: otherwise one of them could have all that there are. At most one entry a connection.
#[derive(Default)]
struct Places(Mutex<HashMap<Subnet, u32>>);

/// The place of one connection, until it is dropped.
struct Place {
    places: Arc<Places>,
    network: Subnet,
}

impl Places {
    fn take(self: &Arc<Self>, network: Subnet, per_network_max: u32) -> Option<Place> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_network = taken.entry(network).or_default();
        (*of_network < per_network_max).then(|| {
            *of_network += 1;
            Place { places: self.clone(), network }
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut of_network) = taken.entry(self.network) {
            *of_network.get_mut() -= 1;
            if *of_network.get() == 0 {
                of_network.remove();
            }
        }
    }
}

/// Serves a connection until its client ends it, is silent or too slow, or says what nobody says.
async fn connection(
    shared: &Shared,
    stream: TcpStream,
    from: IpAddr,
    ends: &mut watch::Receiver<bool>,
) -> io::Result<()> {
    // Answers are complete when they are written: waiting for more would only delay them.
    stream.set_nodelay(true)?;
    let idle_max = shared.options.idle_max();
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::with_capacity(QUERY_BYTES_MAX, reader);
    let mut query = Vec::new();
    loop {
        tokio::select! {
            read = timeout(idle_max, read(&mut reader, &mut query)) => {
                if !read?? {
                    return Ok(());
                }
            }
            () = ended(ends) => return Ok(()),
        }
        let known = shared.regions.known();
        let Some(answer) = answer(&shared.zone, known.as_deref(), Transport::Tcp, from, &query) else {
            count(&shared.counts.ignored);
            return Ok(());
        };
        shared.counts.answered(&answer);
        let Ok(length) = u16::try_from(answer.bytes.len()) else { return Ok(()) };
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend_from_slice(&answer.bytes);
        timeout(idle_max, writer.write_all(&bytes)).await??;
    }
}

/// Reads the next query. False: there is none, or it is longer than one is.
async fn read(reader: &mut (impl tokio::io::AsyncRead + Unpin), query: &mut Vec<u8>) -> io::Result<bool> {
    let mut length = [0; 2];
    match reader.read_exact(&mut length).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        Err(error) => return Err(error),
    }
    let length = usize::from(u16::from_be_bytes(length));
    if length > QUERY_BYTES_MAX {
        return Ok(false);
    }
    query.resize(length, 0);
    reader.read_exact(query).await?;
    Ok(true)
}
