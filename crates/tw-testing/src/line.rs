//! A long line to a server: a TCP proxy with delay, jitter, bandwidth and cuts.
//!
//! It stands between real processes. What it does to bytes is what a network does to a connection that survives: they come later,
//! slower, or not before the line is mended, but in order and whole. A connection that does not survive is what
//! [`Line::drop_connections`] makes.

mod flow;
mod quality;

pub use quality::Quality;

use flow::{Direction, Flow};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From clients to the server.
    There,
    /// From the server to clients.
    Back,
}

impl Way {
    /// Both ways.
    pub const BOTH: [Self; 2] = [Self::There, Self::Back];
}

/// A line from a port of its own to a server on 127.0.0.1. It ends, and with it all its connections, when it is dropped.
///
/// Each way has a quality of its own, and may be cut by itself. While a way is cut, nothing of it arrives; what was sent arrives once it is mended. A
/// connection that is made meanwhile is accepted here, and reaches the server only when both ways work: so a client sees a server that does
/// not answer, not one that refuses.
#[derive(Debug)]
pub struct Line {
    port: u16,
    there: Arc<Direction>,
    back: Arc<Direction>,
    /// Rises when all connections are to be dropped.
    dropped: watch::Sender<u64>,
    /// Taken when the line is dropped.
    runtime: Option<Runtime>,
}

impl Line {
    /// Opens a line to a port of 127.0.0.1; both ways have this quality. The same seed gives the same jitter to the same chunks.
    ///
    /// # Panics
    /// When there is no free port.
    pub fn open(server: u16, quality: Quality, seed: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
        let port = listener.local_addr().expect("address").port();
        let [there, back] = Way::BOTH.map(|_| Arc::new(Direction::new(quality)));
        let (dropped, _) = watch::channel(0);
        let serving = Serving {
            server: SocketAddr::from((Ipv4Addr::LOCALHOST, server)),
            there: there.clone(),
            back: back.clone(),
            dropped: dropped.clone(),
            seed,
            connections: AtomicU64::new(0),
        };
        runtime.spawn(Arc::new(serving).serve(listener));
        Self { port, there, back, dropped, runtime: Some(runtime) }
    }

    /// The port of this end, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes the quality of a way, also for connections that are there. What is under way arrives as it would have.
    pub fn set(&self, way: Way, quality: Quality) {
        self.direction(way).set(quality);
    }

    /// Lets nothing through, one way, from now on.
    pub fn cut(&self, way: Way) {
        self.direction(way).cut(true);
    }

    /// Lets everything through again, both ways: what was held back first.
    pub fn mend(&self) {
        self.there.cut(false);
        self.back.cut(false);
    }

    /// Breaks all connections, as a firewall does that forgets them: both ends are told.
    pub fn drop_connections(&self) {
        self.dropped.send_modify(|times| *times += 1);
    }

    /// How many bytes have come out of the line, one way.
    pub fn passed_bytes(&self, way: Way) -> u64 {
        self.direction(way).passed_bytes()
    }

    fn direction(&self, way: Way) -> &Arc<Direction> {
        match way {
            Way::There => &self.there,
            Way::Back => &self.back,
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// What accepts connections.
struct Serving {
    server: SocketAddr,
    there: Arc<Direction>,
    back: Arc<Direction>,
    dropped: watch::Sender<u64>,
    seed: u64,
    connections: AtomicU64,
}

impl Serving {
    async fn serve(self: Arc<Self>, listener: TcpListener) {
        loop {
            // A client that has gone again is no reason to end.
            let Ok((client, _)) = listener.accept().await else { continue };
            let serving = self.clone();
            tokio::spawn(async move { serving.connect(client).await });
        }
    }

    async fn connect(&self, client: TcpStream) {
        let mut dropped = self.dropped.subscribe();
        dropped.mark_unchanged();
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        let carried = async {
            self.there.is_whole().await;
            self.back.is_whole().await;
            // Who does not let us in closes the client's connection, too.
            let Ok(server) = TcpStream::connect(self.server).await else { return };
            for stream in [&client, &server] {
                let _slower_only = stream.set_nodelay(true);
            }
            let ((from_client, to_client), (from_server, to_server)) =
                (client.into_split(), server.into_split());
            let seed = self.seed.wrapping_add(number << 1);
            let there = Flow::new(self.there.clone(), seed).carry(from_client, to_server);
            let back = Flow::new(self.back.clone(), seed + 1).carry(from_server, to_client);
            tokio::join!(there, back);
        };
        tokio::select! {
            () = carried => {}
            _ = dropped.changed() => {}
        }
    }
}
