//! The server: it listens on one address, over UDP and TCP, keeps its limits, and ends in order.

mod tcp;
mod udp;

use crate::counters::{Counters, Counts};
use crate::options::{InvalidOption, Options};
use crate::regions::Regions;
use crate::zone::Zone;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How often a port is looked for that is free for UDP and for TCP.
const PORT_TRIES_MAX: u32 = 32;
/// How long to wait after the system refused something, typically for want of memory or file descriptors.
const BACK_OFF_MS: u64 = 100;
/// The longest query, in bytes: a name, and more options of EDNS than anybody sends.
const QUERY_BYTES_MAX: usize = 4_096;

/// A server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An option is not accepted.
    #[error(transparent)]
    Options(#[from] InvalidOption),
    /// The address cannot be listened on.
    #[error(
        "cannot listen on `{address}` for DNS: choose another address or port, end what uses it, or allow this process ports below 1024"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// A running server. [`Server::shutdown`] ends it in order, dropping it ends it, too.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    counts: Arc<Counts>,
    ending: watch::Sender<bool>,
    tasks: [JoinHandle<()>; 2],
}

/// What both ways in need.
struct Shared {
    options: Options,
    zone: Zone,
    regions: Arc<dyn Regions>,
    counts: Arc<Counts>,
}

impl Server {
    /// Starts to listen. Must be called within a Tokio runtime with time and I/O.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn start(options: Options, regions: Arc<dyn Regions>) -> Result<Self, Error> {
        let zone = Zone::new(&options)?;
        let failed = |source| Error::Listen { address: options.listen, source };
        let (socket, listener) = bind(options.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let counts = Arc::new(Counts::default());
        let shared = Arc::new(Shared { options, zone, regions, counts: counts.clone() });
        let (ending, ends) = watch::channel(false);
        let tasks = [
            tokio::spawn(udp::run(shared.clone(), socket, ends.clone())),
            tokio::spawn(tcp::run(shared, listener, ends)),
        ];
        tracing::info!(%address, "answering DNS");
        Ok(Self { address, counts, ending, tasks })
    }

    /// The address on which it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has done so far.
    pub fn counters(&self) -> Counters {
        self.counts.get()
    }

    /// Ends the server: nothing new is read, and answers under way may go out within `idle_ms_max`. The address is free when this
    /// returns.
    pub async fn shutdown(self) {
        self.ending.send_replace(true);
        for task in self.tasks {
            let _ended = task.await;
        }
    }
}

/// Binds both sockets to the same address and port.
async fn bind(address: SocketAddr) -> std::io::Result<(UdpSocket, TcpListener)> {
    let mut tries = 0;
    loop {
        let socket = UdpSocket::bind(address).await?;
        match TcpListener::bind(socket.local_addr()?).await {
            Ok(listener) => return Ok((socket, listener)),
            // The port that was free for UDP need not be free for TCP.
            Err(_) if address.port() == 0 && tries < PORT_TRIES_MAX => tries += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Returns when the server ends, also by being dropped.
async fn ended(ends: &mut watch::Receiver<bool>) {
    let _ends_or_is_gone = ends.wait_for(|ends| *ends).await;
}

async fn back_off() {
    tokio::time::sleep(Duration::from_millis(BACK_OFF_MS)).await;
}
