//! Everything that can go wrong with certificates and with the start of a connection, and what to do about it.
//!
//! What a peer wrote into its certificate stands in backticks, shortened and without control characters.

use super::time::text;
use std::io;
use std::path::PathBuf;
use tokio_rustls::rustls;
use tw_types::RegionId;

/// The outcome of everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why there is no certificate, or no connection.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder does not let itself be used.
    #[error("`{path}` cannot be {doing}: check that the folder exists, who owns it, and that there is room")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What was being done: `read`, `written`.
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// A file that must be there is not.
    #[error("`{path}` is missing: {remedy}")]
    Missing {
        /// The file.
        path: PathBuf,
        /// How it is made.
        remedy: &'static str,
    },
    /// A file that would be overwritten is there.
    #[error("`{path}` exists and is not overwritten: {remedy}")]
    Exists {
        /// The file.
        path: PathBuf,
        /// What to do instead.
        remedy: &'static str,
    },
    /// A file is there and its contents will not do.
    #[error("`{path}` cannot be used: {reason}; {remedy}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// How it is made good.
        remedy: &'static str,
    },
    /// A value that was given breaks its rule.
    #[error("{what} cannot be `{given}`: {rule}")]
    Invalid {
        /// What the value is for.
        what: &'static str,
        /// The value.
        given: String,
        /// The rule.
        rule: &'static str,
    },
    /// A second rotation would begin before the first has ended.
    #[error(
        "`{folder}` still trusts two authorities: when every node has a certificate of the newer one, end that rotation \
         with `tradewind region ca rotate --finish`, then begin the next"
    )]
    RotationUnderWay {
        /// The authority's folder.
        folder: PathBuf,
    },
    /// There is no older authority to retire.
    #[error(
        "`{folder}` trusts one authority only, so there is none to retire: begin with `tradewind region ca rotate`"
    )]
    NoRotation {
        /// The authority's folder.
        folder: PathBuf,
    },
    /// The authority itself has expired, or is about to.
    #[error(
        "the authority `{name}` expires at {}, so it issues nothing: replace it with `tradewind region ca rotate`",
        text(*.expires_at_ms)
    )]
    AuthorityExpired {
        /// The authority's name.
        name: String,
        /// When it expires or has expired, in milliseconds since 1970.
        expires_at_ms: u64,
    },
    /// A certificate or key could not be made.
    #[error("no certificate can be made")]
    Making(#[from] rcgen::Error),

    /// The peer has shown no certificate.
    #[error(
        "the peer shows no certificate: a link needs one that names its region; make it with `tradewind region ca issue`"
    )]
    NoCertificate,
    /// The peer's certificate is of a trusted authority and names no region.
    #[error(
        "the peer is {who}, whose certificate does not name one region as `tradewind://region/<id>/<name>`: make one that \
         does with `tradewind region ca issue`"
    )]
    NoRegion {
        /// What the certificate says of itself.
        who: String,
    },
    /// The peer is another region than the one that was to be reached.
    #[error(
        "the peer is region `{region}` (`{name}`), and region `{expected}` was to be reached: correct the address of region \
         `{expected}`, or give the nodes there its certificate"
    )]
    OtherRegion {
        /// Whom the link was for.
        expected: RegionId,
        /// Who answered.
        region: RegionId,
        /// Its name.
        name: String,
    },
    /// The certificate has expired.
    #[error(
        "the certificate of {who} expired at {}: make another with `tradewind region ca issue --renew`, or set the clock \
         right", text(*.expired_at_ms)
    )]
    Expired {
        /// Whose certificate, as it says itself.
        who: String,
        /// When it expired, in milliseconds since 1970.
        expired_at_ms: u64,
    },
    /// The certificate is not valid yet.
    #[error(
        "the certificate of {who} is not valid before {}: set the clocks of both regions right",
        text(*.valid_from_ms)
    )]
    NotYetValid {
        /// Whose certificate, as it says itself.
        who: String,
        /// When it becomes valid, in milliseconds since 1970.
        valid_from_ms: u64,
    },
    /// The certificate was issued by nobody who is trusted here.
    #[error(
        "a certificate that says it is of {who} was issued by `{issuer}`, which is not trusted here: issue both from one \
         authority, or bring the newest `ca.pem` of the authority to the side that refuses"
    )]
    UnknownAuthority {
        /// Whose certificate, as it says itself.
        who: String,
        /// Who issued it, as it says itself.
        issuer: String,
    },
    /// The certificate is wrong in another way.
    #[error(
        "the certificate of {who} is not accepted: {reason}; make another with `tradewind region ca issue --renew`"
    )]
    BadCertificate {
        /// Whose certificate, as it says itself.
        who: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The peer does not speak TLS 1.3.
    #[error(
        "the peer does not speak TLS 1.3, and links speak nothing older: connect a node of Tradewind directly"
    )]
    OldProtocol,
    /// The peer does not speak TLS at all.
    #[error(
        "the peer does not speak TLS: check that the address is that of a region's link, with no proxy that ends TLS"
    )]
    NotTls,
    /// The peer speaks TLS, and something else than a link inside.
    #[error("the peer does not speak `tradewind-link/1`: check that the address is that of a region's link")]
    NotALink,
    /// The peer has refused this side.
    #[error("the peer refuses the connection (TLS alert `{alert}`): {reason}; its own log says more")]
    Refused {
        /// The alert, as RFC 8446 names it.
        alert: String,
        /// What it means for a link, and what to do.
        reason: &'static str,
    },
    /// The peer was too slow.
    #[error(
        "the peer has not finished the handshake within {handshake_ms_max} ms: check the network, or raise `handshake_ms_max`"
    )]
    Timeout {
        /// The bound that was passed.
        handshake_ms_max: u64,
    },
    /// The connection broke.
    #[error(
        "the connection broke during the handshake: check that the peer is a region's link, and connect again"
    )]
    Broken(#[source] io::Error),
    /// The handshake failed in another way.
    #[error("the handshake failed: check that both sides run Tradewind")]
    Tls(#[source] rustls::Error),
}
