//! Who may connect: mutual TLS 1.3 between regions, and the certificates for it.
//!
//! Below the link: it turns any stream of bytes into one that is encrypted and whose other end is a known region
//! ([`accept`], [`connect`]). [`Authority`] makes the certificates; [`Credentials`] are what one node shows and whom it
//! trusts; [`Live`] takes renewed ones while connections go on. It never opens a socket, never reads what a link sends,
//! and never decides whether a region that proved who it is may have a stream.
//!
//! # Who is at the other end
//!
//! A certificate names its region as a URI, `tradewind://region/<id>/<name>`, the way SPIFFE names a workload. A host
//! name would be the wrong thing to trust: links go by address, addresses move between hosts, proxies stand in
//! between, and one host may run nodes of two regions. So a client does not compare host names at all. It says which
//! region it wants, and everything else is refused before the client has shown its own certificate.
//!
//! # What is negotiated
//!
//! TLS 1.3 only, ALPN [`Purpose::alpn`], and the hybrid key exchange X25519MLKEM768 (draft-ietf-tls-ecdhe-mlkem): what is recorded
//! today cannot be read by a quantum computer later. It is what our client sends a share for, and rustls takes the share that
//! was sent; so two nodes always agree on it, while a client of another make that sends one for X25519 alone gets that.
//! Nobody in between can bring that about: the handshake is signed. Signatures stay classical, because forging one
//! later helps nobody against a handshake of today.
//!
//! Sessions are never resumed. A resumed session does not look at certificates again, and an authority that is retired
//! must not live on in tickets; links are few and last long, so nothing is saved by it.
//!
//! # The byte of admission
//!
//! In TLS 1.3 a client has finished before the server has looked at its certificate. So a server's first byte over the
//! encrypted stream is [`ADMITTED`], and [`connect`] waits for it. Without it, a refusal would show up as a broken
//! link some time later, and what the client had sent meanwhile could destroy the alert that says why.
//!
//! # Changing certificates without downtime
//!
//! [`Authority::rotate`] makes a new authority and has the old one vouch for it (a cross certificate, RFC 4210, 4.4, "new with
//! old"). Certificates that are issued from then on carry it, so nodes that know only the old authority accept them, and
//! nodes that were given the new bundle accept both: nodes are renewed in any order. [`Authority::retire`] ends it.

mod authority;
mod certificate;
mod credentials;
mod error;
mod files;
mod handshake;
mod live;
mod name;
mod time;
mod verify;

#[cfg(test)]
mod tests;

pub use authority::{Authority, DAYS_MAX, HOSTS_MAX, Issued, Trusted};
pub use certificate::peer_region;
pub use credentials::{Credentials, HANDSHAKE_MS_MAX, HANDSHAKE_MS_MIN, Options};
pub use error::{Error, Result};
pub use handshake::{accept, connect};
pub use live::{Live, Reload};
pub use name::{NAME_BYTES_MAX, Peer, parse_uri, uri};

/// What a connection is for: both ends say so as they begin (RFC 7301).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To bring what one region has accepted to the other. The number is that of the link's protocol.
    Link,
    /// Requests that one region sends on to the other: HTTP/2 (RFC 9113), with prior knowledge.
    Requests,
}

impl Purpose {
    /// Every purpose, the most usual one first.
    pub const ALL: [Self; 2] = [Self::Link, Self::Requests];

    /// The name of its protocol.
    pub const fn alpn(self) -> &'static [u8] {
        match self {
            Self::Link => b"tradewind-link/1",
            Self::Requests => b"tradewind-requests/1",
        }
    }

    /// That of a protocol that was agreed on; None without one, which passes rustls, and for one that is not spoken here.
    pub fn of(protocol: Option<&[u8]>) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| Some(purpose.alpn()) == protocol)
    }
}

/// The first byte that a server sends over the encrypted stream: it has accepted the client's certificate.
pub const ADMITTED: u8 = 1;
