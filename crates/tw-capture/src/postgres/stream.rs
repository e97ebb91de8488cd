//! The bytes under a connection: a TCP or Unix socket, encrypted or not.

use super::address::{Address, Host, TlsMode};
use super::tls;
use crate::Error;
use bytes::BytesMut;
use postgres_protocol::message::frontend;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

/// Silence after which the kernel asks whether the other side is still there, and how often it asks.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// An open connection, before the first message.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Connects, and encrypts as the address asks for.
    pub(crate) async fn open(address: &Address) -> Result<Self, Error> {
        let timeout = address.connect_timeout;
        tokio::time::timeout(timeout, Self::open_now(address)).await.unwrap_or_else(|_| {
            let late = io::Error::new(io::ErrorKind::TimedOut, "no answer in time");
            Err(Error::Connect { address: address.to_string(), source: late })
        })
    }

    async fn open_now(address: &Address) -> Result<Self, Error> {
        let unreachable = |source| Error::Connect { address: address.to_string(), source };
        match &address.host {
            Host::Unix(folder) => {
                let path = folder.join(format!(".s.PGSQL.{}", address.port));
                Ok(Self::Unix(UnixStream::connect(path).await.map_err(unreachable)?))
            }
            Host::Tcp(host) => {
                let socket = TcpStream::connect((host.as_str(), address.port)).await.map_err(unreachable)?;
                socket.set_nodelay(true).map_err(unreachable)?;
                let keepalive =
                    socket2::TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
                socket2::SockRef::from(&socket).set_tcp_keepalive(&keepalive).map_err(unreachable)?;
                encrypted(socket, address).await
            }
        }
    }

    /// What a password exchange can be bound to; None when the stream is not encrypted.
    pub(crate) fn channel_binding(&self) -> Option<Vec<u8>> {
        match self {
            Self::Tls(stream) => tls::server_end_point(stream),
            Self::Tcp(_) | Self::Unix(_) => None,
        }
    }
}

async fn encrypted(mut socket: TcpStream, address: &Address) -> Result<Stream, Error> {
    if address.tls == TlsMode::Disable {
        return Ok(Stream::Tcp(socket));
    }
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    socket.write_all(&request).await.map_err(Error::Lost)?;
    // Exactly one byte is read: whatever else came unencrypted must not be taken for part of what follows.
    match socket.read_u8().await.map_err(Error::Lost)? {
        b'S' => Ok(Stream::Tls(Box::new(tls::encrypt(socket, address).await?))),
        b'N' if address.tls == TlsMode::Prefer => Ok(Stream::Tcp(socket)),
        b'N' => Err(Error::Tls {
            address: address.to_string(),
            reason: "the server does not encrypt: switch `ssl` on there, or set `sslmode=disable`".into(),
        }),
        other => Err(Error::Protocol(format!("the answer to a request for encryption is {other}"))),
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
