//! Whether a certificate is accepted: of a trusted authority, valid now, of a region, and of the one that was wanted.
//!
//! rustls asks in the middle of a handshake and only takes an error of its own, which becomes the alert that the peer sees. What
//! was seen exactly is kept in the [`Verdict`] of the connection for this side's log.

use super::certificate::{self, describe, fields};
use super::error::{Error, Result};
use super::name::{Peer, shown};
use super::time::now_ms;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::verify_server_cert_signed_by_trust_anchor;
use tokio_rustls::rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error as Cause, RootCertStore,
    SignatureScheme,
};
use tw_types::RegionId;

/// What was found out about the peer of one connection; nothing until it has shown a certificate.
#[derive(Debug, Clone, Default)]
pub(super) struct Verdict(Arc<Mutex<Option<Result<Peer>>>>);

impl Verdict {
    fn set(&self, verdict: Result<Peer>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(verdict);
    }

    pub(super) fn take(&self) -> Option<Result<Peer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Who is trusted.
pub(super) struct Authorities {
    roots: Arc<RootCertStore>,
    /// rustls' own check of the chain of a client.
    clients: Arc<dyn ClientCertVerifier>,
    provider: Arc<CryptoProvider>,
}

impl Authorities {
    /// Trusts these. The error is a reason without a remedy.
    pub(super) fn new(
        trusted: Vec<CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        for authority in trusted {
            roots.add(authority).map_err(|error| error.to_string())?;
        }
        let roots = Arc::new(roots);
        let clients = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { roots, clients, provider })
    }

    pub(super) fn provider(&self) -> Arc<CryptoProvider> {
        self.provider.clone()
    }

    /// Looks at the node's own chain as a peer that trusts the same authorities would.
    pub(super) fn judge_own(&self, chain: &[CertificateDer<'_>]) -> Result<Peer> {
        let (own, between) = chain.split_first().ok_or(Error::NoCertificate)?;
        self.server_chain(own, between, UnixTime::now()).map_err(|cause| refusal(own, &cause))?;
        certificate::peer(own)
    }

    /// Checks the chain of a server, without a host name.
    fn server_chain(
        &self,
        own: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Cause> {
        let algorithms = self.provider.signature_verification_algorithms.all;
        let parsed = ParsedCertificate::try_from(own)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, between, now, algorithms)
    }

    /// Looks at the certificate of one connection's peer; `expected` is the region that it must be of, if that is known.
    pub(super) fn inspector(self: &Arc<Self>, expected: Option<RegionId>, verdict: &Verdict) -> Inspector {
        Inspector { authorities: self.clone(), expected, verdict: verdict.clone() }
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorities").field("count", &self.roots.len()).finish_non_exhaustive()
    }
}

/// The check of one connection's peer.
#[derive(Debug)]
pub(super) struct Inspector {
    authorities: Arc<Authorities>,
    expected: Option<RegionId>,
    verdict: Verdict,
}

impl Inspector {
    /// Looks at what the chain leads to, once it was checked, and keeps what was found.
    fn judge(&self, own: &CertificateDer<'_>, chain: Result<(), Cause>) -> Result<(), Cause> {
        // The alert is "access denied": the certificate is good, and not for this.
        let denied = Cause::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
        let (verdict, answer) = match chain {
            Err(cause) => (Err(refusal(own, &cause)), Err(cause)),
            Ok(()) => match (certificate::peer(own), self.expected) {
                (Ok(Peer { region, name, .. }), Some(expected)) if region != expected => {
                    (Err(Error::OtherRegion { expected, region, name }), Err(denied))
                }
                (Err(error), _) => (Err(error), Err(denied)),
                (Ok(peer), _) => (Ok(peer), Ok(())),
            },
        };
        self.verdict.set(verdict);
        answer
    }
}

/// Says in words why a chain was not accepted.
pub(super) fn refusal(own: &CertificateDer<'_>, cause: &Cause) -> Error {
    let who = describe(own);
    let dates = fields(own);
    let Cause::InvalidCertificate(error) = cause else {
        return Error::BadCertificate { who, reason: cause.to_string() };
    };
    let now_ms = now_ms();
    match (error, dates) {
        (CertificateError::Expired | CertificateError::ExpiredContext { .. }, Some(dates))
            if dates.not_after_ms < now_ms =>
        {
            Error::Expired { who, expired_at_ms: dates.not_after_ms }
        }
        (CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }, Some(dates))
            if dates.not_before_ms > now_ms =>
        {
            Error::NotYetValid { who, valid_from_ms: dates.not_before_ms }
        }
        // The certificate itself has not expired, so an old authority's word for its issuer has: who asks must be told of
        // the new one.
        (CertificateError::Expired | CertificateError::ExpiredContext { .. }, Some(dates)) => {
            Error::UnknownAuthority { who, issuer: shown(&dates.issuer) }
        }
        (CertificateError::UnknownIssuer | CertificateError::BadSignature, Some(dates)) => {
            Error::UnknownAuthority { who, issuer: shown(&dates.issuer) }
        }
        (error, _) => Error::BadCertificate { who, reason: error.to_string() },
    }
}

impl ServerCertVerifier for Inspector {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        _address: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Cause> {
        self.judge(own, self.authorities.server_chain(own, between, now))?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Cause> {
        let algorithms = &self.authorities.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Cause> {
        let algorithms = &self.authorities.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Inspector {
    // Both are the defaults of rustls, and everything rests on them.
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        true
    }

    /// None: a client has one certificate, and who is trusted here is nobody's business before it has shown it.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Cause> {
        let chain = self.authorities.clients.verify_client_cert(own, between, now);
        self.judge(own, chain.map(|_| ()))?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Cause> {
        self.authorities.clients.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Cause> {
        self.authorities.clients.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.clients.supported_verify_schemes()
    }
}
