//! A line between two regions: what goes in at its port comes out at the other region later, or not before it is healed.
//!
//! A TCP proxy. It keeps what is under way, at most [`CHUNKS_MAX`] pieces each way of a connection; then senders have to wait, as with a
//! full window. It never loses, repeats or reorders bytes of a connection, and never breaks one by itself.

use crate::error::Result;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

/// The most bytes of a piece.
const CHUNK_BYTES_MAX: usize = 16 << 10;
/// The most pieces that are under way.
const CHUNKS_MAX: usize = 256;

/// A line from a port of its own to a port of another region. It ends with all its connections when it is dropped.
#[derive(Debug)]
pub(super) struct Line {
    port: u16,
    is_cut: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Line {
    /// Opens a line to this port of 127.0.0.1. Each way takes `delay`.
    ///
    /// # Errors
    /// When there is no free port.
    pub(super) async fn open(server: u16, delay: Duration) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let (is_cut, cut) = watch::channel(false);
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, server));
        Ok(Self { port, is_cut, serving: tokio::spawn(serve(listener, server, delay, cut)) })
    }

    /// The port of this end.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Lets nothing through from now on, or everything again: what was held back first.
    pub(super) fn cut(&self, is_cut: bool) {
        self.is_cut.send_replace(is_cut);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, server: SocketAddr, delay: Duration, is_cut: watch::Receiver<bool>) {
    // They end with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // A client that has gone again is no reason to end.
                if let Ok((client, _)) = accepted {
                    connections.spawn(connect(client, server, delay, is_cut.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Who connects while the line is cut waits, as for a server that does not answer.
async fn connect(client: TcpStream, server: SocketAddr, delay: Duration, mut is_cut: watch::Receiver<bool>) {
    whole(&mut is_cut).await;
    // Nobody there: the client's connection ends, too.
    let Ok(server) = TcpStream::connect(server).await else { return };
    for stream in [&client, &server] {
        let _slower_only = stream.set_nodelay(true);
    }
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    tokio::join!(
        carry(&mut from_client, &mut to_server, delay, is_cut.clone()),
        carry(&mut from_server, &mut to_client, delay, is_cut),
    );
}

async fn whole(is_cut: &mut watch::Receiver<bool>) {
    // Nobody is left to heal it only when everything ends.
    let _ended = is_cut.wait_for(|is_cut| !is_cut).await;
}

/// Carries one way of a connection until one end closes.
async fn carry(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    delay: Duration,
    mut is_cut: watch::Receiver<bool>,
) {
    let (sender, mut pieces) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS_MAX);
    let take = async move {
        let mut buffer = vec![0; CHUNK_BYTES_MAX];
        // A connection that breaks says no more than one that ends.
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            let bytes = buffer.get(..length).unwrap_or_default().to_vec();
            if sender.send((Instant::now() + delay, bytes)).await.is_err() {
                return;
            }
        }
    };
    let give = async move {
        while let Some((arrives, bytes)) = pieces.recv().await {
            tokio::time::sleep_until(arrives).await;
            whole(&mut is_cut).await;
            if to.write_all(&bytes).await.is_err() {
                break;
            }
        }
        let _gone_already = to.shutdown().await;
    };
    tokio::join!(take, give);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends everything back, and a client that is connected to it over a line.
    async fn echo(delay: Duration) -> (Line, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let server = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (mut from, mut to) = stream.into_split();
                tokio::spawn(async move { tokio::io::copy(&mut from, &mut to).await });
            }
        });
        let line = Line::open(server, delay).await.unwrap();
        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, line.port())).await.unwrap();
        (line, client)
    }

    async fn back(client: &mut TcpStream, bytes: usize) -> Vec<u8> {
        let mut back = vec![0; bytes];
        client.read_exact(&mut back).await.unwrap();
        back
    }

    #[tokio::test]
    async fn what_is_sent_comes_whole_and_not_before_its_time() {
        let (_line, mut client) = echo(Duration::from_millis(30)).await;
        let sent: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
        let (mut from, mut to) = client.split();
        let began = Instant::now();
        let mut got = vec![0; sent.len()];
        let (wrote, read) = tokio::join!(to.write_all(&sent), from.read_exact(&mut got));
        wrote.unwrap();
        read.unwrap();
        assert!(got == sent, "the bytes are others");
        assert!(began.elapsed() >= Duration::from_millis(60));
    }

    #[tokio::test]
    async fn a_line_that_is_cut_holds_back_what_is_sent_until_it_is_healed() {
        let (line, mut client) = echo(Duration::ZERO).await;
        client.write_all(b"one").await.unwrap();
        assert_eq!(back(&mut client, 3).await, b"one");
        line.cut(true);
        client.write_all(b"two").await.unwrap();
        let early = tokio::time::timeout(Duration::from_millis(100), client.peek(&mut [0; 1])).await;
        assert!(early.is_err(), "something came over a line that is cut");
        // A new connection is accepted, and gets no answer either.
        let mut second = TcpStream::connect((Ipv4Addr::LOCALHOST, line.port())).await.unwrap();
        second.write_all(b"three").await.unwrap();
        line.cut(false);
        assert_eq!(back(&mut client, 3).await, b"two");
        assert_eq!(back(&mut second, 5).await, b"three");
        drop(line);
        assert_eq!(client.read(&mut [0; 8]).await.unwrap_or(0), 0, "the connection ends with the line");
    }
}
