//! The start of a connection: encryption, who is there, and the byte of admission, within a bounded time.
//!
//! Below it is any stream of bytes, above it the link. It reads and writes nothing of the link.

use super::credentials::Credentials;
use super::error::{Error, Result};
use super::name::Peer;
use super::verify::Verdict;
use super::{ADMITTED, Purpose};
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{AlertDescription, Error as Cause, PeerIncompatible};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use tracing::debug;

/// Takes a connection: encrypts `stream`, demands the certificate of a region, and admits it.
///
/// # Errors
/// Who was refused and why, see [`Error`]; [`Error::Timeout`] after `handshake_ms_max` of the credentials' options.
pub async fn accept<S>(stream: S, credentials: &Credentials) -> Result<(server::TlsStream<S>, Peer)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    bounded(credentials, async {
        let verdict = Verdict::default();
        let acceptor = TlsAcceptor::from(Arc::new(credentials.server(&verdict)?));
        let accepted = acceptor.accept(stream).await;
        let mut stream = accepted.map_err(|error| explain(&verdict, error))?;
        Purpose::of(stream.get_ref().1.alpn_protocol()).ok_or(Error::NotALink)?;
        let peer = verdict.take().unwrap_or(Err(Error::NoCertificate))?;
        stream.write_all(&[ADMITTED]).await.map_err(Error::Broken)?;
        stream.flush().await.map_err(Error::Broken)?;
        debug!(region = peer.region.0, "admitted a region");
        Ok((stream, peer))
    })
    .await
}

/// Makes a connection over `stream` to the region `expected`, and to no other, for a purpose. It is encrypted and admitted by the other side
/// when this returns.
///
/// # Errors
/// Who answered and why that will not do, or why the other side refused, see [`Error`]; [`Error::Timeout`] after
/// `handshake_ms_max` of the credentials' options.
pub async fn connect<S>(
    stream: S,
    credentials: &Credentials,
    expected: tw_types::RegionId,
    purpose: Purpose,
) -> Result<(client::TlsStream<S>, Peer)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    bounded(credentials, async {
        let verdict = Verdict::default();
        let connector = TlsConnector::from(Arc::new(credentials.client(expected, purpose, &verdict)?));
        // Names of hosts are neither sent nor compared; rustls wants one all the same.
        let nowhere = ServerName::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let connected = connector.connect(nowhere, stream).await;
        let mut stream = connected.map_err(|error| explain(&verdict, error))?;
        if Purpose::of(stream.get_ref().1.alpn_protocol()) != Some(purpose) {
            return Err(Error::NotALink);
        }
        let peer = verdict.take().unwrap_or(Err(Error::NoCertificate))?;
        let mut answer = [0];
        stream.read_exact(&mut answer).await.map_err(|error| explain(&verdict, error))?;
        if answer != [ADMITTED] {
            return Err(Error::NotALink);
        }
        debug!(region = peer.region.0, "admitted by a region");
        Ok((stream, peer))
    })
    .await
}

async fn bounded<T>(credentials: &Credentials, handshake: impl Future<Output = Result<T>>) -> Result<T> {
    let handshake_ms_max = credentials.options().handshake_ms_max;
    tokio::time::timeout(Duration::from_millis(handshake_ms_max), handshake)
        .await
        .unwrap_or(Err(Error::Timeout { handshake_ms_max }))
}

/// Says in words why a handshake failed: what was found out about the peer's certificate, or what rustls says.
fn explain(verdict: &Verdict, error: io::Error) -> Error {
    if let Some(Err(refusal)) = verdict.take() {
        return refusal;
    }
    let cause = match error.downcast::<Cause>() {
        Ok(cause) => cause,
        Err(error) => return Error::Broken(error),
    };
    match cause {
        Cause::NoCertificatesPresented => Error::NoCertificate,
        Cause::NoApplicationProtocol => Error::NotALink,
        Cause::InvalidMessage(_) => Error::NotTls,
        Cause::PeerIncompatible(
            PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls13RequiredForQuic
            | PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ) => Error::OldProtocol,
        Cause::AlertReceived(alert) => refused(alert),
        cause => Error::Tls(cause),
    }
}

/// What an alert of the peer means here (RFC 8446, 6.2).
fn refused(alert: AlertDescription) -> Error {
    let reason = match alert {
        AlertDescription::UnknownCA | AlertDescription::DecryptError => {
            "it does not trust the authority of the certificate here: issue both from one authority, or bring the newest `ca.pem` \
             of the authority there"
        }
        AlertDescription::CertificateExpired => {
            "the certificate here is not valid by its clock: make another with `tradewind region ca issue --renew`, or set \
             the clocks right"
        }
        AlertDescription::CertificateRequired => {
            "it was shown no certificate: give this side one of a region"
        }
        AlertDescription::AccessDenied => {
            "the certificate here is not of the region that it wants: correct the address there, or the certificate here"
        }
        AlertDescription::NoApplicationProtocol => return Error::NotALink,
        AlertDescription::ProtocolVersion => return Error::OldProtocol,
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            "it has no cryptography in common with this side: run the same version of Tradewind on both"
        }
        _ => "the certificate here, or what this side offers, does not suit it",
    };
    Error::Refused { alert: alert.as_str().map_or_else(|| format!("{alert:?}"), str::to_owned), reason }
}
