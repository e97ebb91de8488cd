//! Regions that meet over real sockets of this machine, with certificates of authorities that were made for the test.

mod issuing;
mod meeting;
mod renewing;

use super::*;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tw_types::RegionId;

/// A folder with an authority in `ca` and a folder for each node.
struct World(TempDir);

impl World {
    fn new() -> Self {
        let world = Self(tempfile::tempdir().unwrap());
        Authority::init(&world.path("ca"), "tests", 30).unwrap();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn authority(&self) -> Authority {
        Authority::open(&self.path("ca")).unwrap()
    }

    /// Issues for a region into the folder `at`.
    fn issue(&self, at: &str, region: u16) -> PathBuf {
        let folder = self.path(at);
        self.authority().issue(RegionId(region), &format!("r{region}"), &[], 10, &folder).unwrap();
        folder
    }

    fn node(&self, at: &str, region: u16) -> Credentials {
        load(&self.issue(at, region))
    }
}

fn load(folder: &Path) -> Credentials {
    Credentials::load(folder, Options::default()).unwrap()
}

async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    (accepted.unwrap().0, client.unwrap())
}

type Server = tokio_rustls::server::TlsStream<TcpStream>;
type Client = tokio_rustls::client::TlsStream<TcpStream>;

async fn dial(
    server: &Credentials,
    client: &Credentials,
    expected: u16,
) -> (Result<(Server, Peer)>, Result<(Client, Peer)>) {
    let (accepted, connecting) = sockets().await;
    tokio::join!(accept(accepted, server), connect(connecting, client, RegionId(expected), Purpose::Link))
}

/// Both sides let the other in, know who it is, and can talk.
async fn meet(server: &Credentials, client: &Credentials) -> (Peer, Peer) {
    let (accepted, connected) = dial(server, client, server.region().0).await;
    let ((mut accepted, came), (mut connected, answered)) = (accepted.unwrap(), connected.unwrap());
    talk(&mut accepted, &mut connected).await;
    assert_eq!((came.region, came.name.as_str()), (client.region(), client.name()));
    assert_eq!((answered.region, answered.name.as_str()), (server.region(), server.name()));
    (came, answered)
}

async fn talk(server: &mut Server, client: &mut Client) {
    for text in [b"ping", b"pong"] {
        let mut heard = [0; 4];
        client.write_all(text).await.unwrap();
        client.flush().await.unwrap();
        server.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, text);
        server.write_all(&heard).await.unwrap();
        server.flush().await.unwrap();
        client.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, text);
    }
}
