//! Two ends of a connection: what is negotiated, and who is not let in.

use super::*;
use std::sync::Arc;
use tokio_rustls::rustls::client::ResolvesClientCert;
use tokio_rustls::rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use tokio_rustls::rustls::crypto::{CryptoProvider, SupportedKxGroup};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, Error as Cause, HandshakeKind, NamedGroup, ProtocolVersion,
    RootCertStore, SignatureScheme, version,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use verify::{Verdict, refusal};

#[tokio::test]
async fn regions_agree_on_tls_1_3_and_the_hybrid_key_exchange() {
    let world = World::new();
    let (one, two) = (world.node("one", 1), world.node("two", 2));
    // Twice: nothing of the first is left that could be resumed.
    for _ in 0..2 {
        let (accepted, connected) = dial(&one, &two, 1).await;
        let ((accepted, _), (connected, _)) = (accepted.unwrap(), connected.unwrap());
        let (server, client) = (accepted.get_ref().1, connected.get_ref().1);
        for (group, version, protocol, kind) in [
            (
                server.negotiated_key_exchange_group(),
                server.protocol_version(),
                server.alpn_protocol(),
                server.handshake_kind(),
            ),
            (
                client.negotiated_key_exchange_group(),
                client.protocol_version(),
                client.alpn_protocol(),
                client.handshake_kind(),
            ),
        ] {
            assert_eq!(group.map(SupportedKxGroup::name), Some(NamedGroup::X25519MLKEM768));
            assert_eq!(version, Some(ProtocolVersion::TLSv1_3));
            assert_eq!(protocol, Some(Purpose::Link.alpn()));
            assert_eq!(kind, Some(HandshakeKind::Full));
        }
        assert_eq!(peer_region(server.peer_certificates().unwrap()).unwrap(), (RegionId(2), "r2".to_owned()));
        assert_eq!(peer_region(client.peer_certificates().unwrap()).unwrap(), (RegionId(1), "r1".to_owned()));
    }
    meet(&one, &two).await;
}

#[tokio::test]
async fn the_client_decides_the_key_exchange_so_ours_puts_the_hybrid_first() {
    let world = World::new();
    let (one, two) = (world.node("one", 1), world.node("two", 2));
    for (offered, agreed) in [
        (vec![kx_group::X25519MLKEM768, kx_group::X25519], NamedGroup::X25519MLKEM768),
        // Controls: rustls takes the share that was sent, and does not ask for a better one.
        (vec![kx_group::X25519, kx_group::X25519MLKEM768], NamedGroup::X25519),
        (vec![kx_group::X25519], NamedGroup::X25519),
    ] {
        let (ours, verdict) =
            (two.client(RegionId(1), Purpose::Link, &Verdict::default()).unwrap(), Verdict::default());
        let preferred = ours.crypto_provider().kx_groups.first().map(|group| group.name());
        assert_eq!(preferred, Some(NamedGroup::X25519MLKEM768));
        let provider = CryptoProvider { kx_groups: offered, ..default_provider() };
        let mut client = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(two.inspector(RegionId(1), &verdict)))
            .with_client_cert_resolver(ours.client_auth_cert_resolver.clone());
        client.alpn_protocols = vec![Purpose::Link.alpn().to_vec()];
        let (server, socket) = sockets().await;
        let connector = TlsConnector::from(Arc::new(client));
        let (accepted, connected) = tokio::join!(accept(server, &one), connector.connect(nowhere(), socket));
        let (accepted, _) = accepted.unwrap();
        assert_eq!(connected.unwrap().read_u8().await.unwrap(), 1, "the byte of admission");
        assert_eq!(
            accepted.get_ref().1.negotiated_key_exchange_group().map(SupportedKxGroup::name),
            Some(agreed)
        );
    }
}

fn nowhere() -> ServerName<'static> {
    ServerName::try_from("region.invalid").unwrap()
}

/// A client's end that is not ours: the outcome of ours, and of what was done on the other side.
async fn accept_from(server: &Credentials, client: ClientConfig) -> (Error, std::io::Error) {
    let (accepted, socket) = sockets().await;
    let connecting = async {
        let mut stream = TlsConnector::from(Arc::new(client)).connect(nowhere(), socket).await?;
        stream.read_u8().await
    };
    let (accepted, connected) = tokio::join!(accept(accepted, server), connecting);
    (accepted.unwrap_err(), connected.unwrap_err())
}

#[derive(Debug)]
struct NoCertificate;

impl ResolvesClientCert for NoCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let world = World::new();
    let (one, two) = (world.node("one", 1), world.node("two", 2));
    let mut config = two.client(RegionId(1), Purpose::Link, &Verdict::default()).unwrap();
    config.client_auth_cert_resolver = Arc::new(NoCertificate);
    let (refused, alert) = accept_from(&one, config).await;
    assert!(matches!(refused, Error::NoCertificate), "{refused}");
    assert!(alert.to_string().contains("CertificateRequired"), "{alert}");
}

#[tokio::test]
async fn a_client_of_tls_1_2_is_refused() {
    let world = World::new();
    let one = world.node("one", 1);
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&version::TLS12])
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let (refused, alert) = accept_from(&one, config).await;
    assert!(matches!(refused, Error::OldProtocol), "{refused}");
    assert!(alert.to_string().contains("ProtocolVersion"), "{alert}");
}

#[tokio::test]
async fn what_is_no_link_is_refused() {
    let world = World::new();
    let (one, two) = (world.node("one", 1), world.node("two", 2));
    // Another protocol, and none at all.
    for protocols in [vec![b"h2".to_vec()], vec![]] {
        let mut config = two.client(RegionId(1), Purpose::Link, &Verdict::default()).unwrap();
        config.alpn_protocols = protocols;
        let (refused, _) = accept_from(&one, config).await;
        assert!(matches!(refused, Error::NotALink), "{refused}");
    }
    // No TLS.
    let (accepted, mut socket) = sockets().await;
    let asking = async {
        socket.write_all(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n").await.unwrap();
        socket
    };
    let (accepted, _socket) = tokio::join!(accept(accepted, &one), asking);
    assert!(matches!(accepted, Err(Error::NotTls)), "{accepted:?}");
    // Nobody.
    let (accepted, socket) = sockets().await;
    drop(socket);
    assert!(matches!(accept(accepted, &one).await, Err(Error::Broken(_))));
}

#[tokio::test]
async fn a_peer_that_says_nothing_is_given_up_in_time() {
    let world = World::new();
    let options = Options { handshake_ms_max: HANDSHAKE_MS_MIN };
    let one = Credentials::load(&world.issue("one", 1), options).unwrap();
    let (accepted, silent) = sockets().await;
    let accepted = accept(accepted, &one).await;
    assert!(matches!(accepted, Err(Error::Timeout { handshake_ms_max: HANDSHAKE_MS_MIN })), "{accepted:?}");
    drop(silent);
    let (silent, connecting) = sockets().await;
    let connected = connect(connecting, &one, RegionId(2), Purpose::Link).await;
    assert!(matches!(connected, Err(Error::Timeout { handshake_ms_max: HANDSHAKE_MS_MIN })), "{connected:?}");
    drop(silent);

    // A server that encrypts and never admits.
    let two = world.node("two", 2);
    let (server, socket) = sockets().await;
    let config = two.server(&Verdict::default()).unwrap();
    let (_held, connected) = tokio::join!(
        TlsAcceptor::from(Arc::new(config)).accept(server),
        connect(socket, &one, RegionId(2), Purpose::Link)
    );
    assert!(matches!(connected, Err(Error::Timeout { .. })), "{connected:?}");
}

#[tokio::test]
async fn a_server_of_another_region_is_refused_before_the_client_shows_itself() {
    let world = World::new();
    let (one, two) = (world.node("one", 1), world.node("two", 2));
    let (accepted, connected) = dial(&one, &two, 3).await;
    let refused = connected.unwrap_err();
    assert!(
        matches!(&refused, Error::OtherRegion { expected: RegionId(3), region: RegionId(1), name } if name == "r1"),
        "{refused}"
    );
    assert_eq!(
        refused.to_string(),
        "the peer is region `1` (`r1`), and region `3` was to be reached: correct the address of region `3`, or give the \
         nodes there its certificate"
    );
    let alert = accepted.unwrap_err();
    assert!(matches!(&alert, Error::Refused { alert, .. } if alert == "AccessDenied"), "{alert}");
}

/// Region 1 meets one that shows what is in a folder, once as its client and once as its server: (who refuses, who is refused).
async fn both_ways(world: &World, folder: &Path) -> [(Error, Error); 2] {
    let one = world.node("one", 1);
    let other = world.node("other", 2).showing(folder);
    let (accepted, connected) = dial(&one, &other, 1).await;
    let as_client = (accepted.unwrap_err(), connected.unwrap_err());
    let (accepted, connected) = dial(&other, &one, 2).await;
    [as_client, (connected.unwrap_err(), accepted.unwrap_err())]
}

#[tokio::test]
async fn expired_and_early_certificates_are_refused_with_their_dates() {
    let world = World::new();
    let now_ms = time::now_ms();
    world.authority().issue_between(RegionId(2), 0, 951_825_600_000, &world.path("past"));
    for (refuses, refused) in both_ways(&world, &world.path("past")).await {
        assert_eq!(
            refuses.to_string(),
            "the certificate of region `2` (`tested`) expired at 2000-02-29 12:00 UTC: make another with `tradewind \
             region ca issue --renew`, or set the clock right"
        );
        assert!(matches!(refused, Error::Refused { .. }), "{refused}");
        assert!(refused.to_string().contains("is not valid by its clock"), "{refused}");
    }
    let world = World::new();
    world.authority().issue_between(RegionId(2), now_ms + 60_000, now_ms + 120_000, &world.path("future"));
    for (refuses, _) in both_ways(&world, &world.path("future")).await {
        assert!(matches!(refuses, Error::NotYetValid { .. }), "{refuses}");
    }
}

#[test]
fn an_expired_word_for_an_authority_is_not_taken_for_an_expired_certificate() {
    let world = World::new();
    let said = |folder: &Path| {
        let own = CertificateDer::from_pem_file(folder.join("region.pem")).unwrap();
        refusal(&own, &Cause::InvalidCertificate(CertificateError::Expired))
    };
    assert!(matches!(said(&world.issue("valid", 2)), Error::UnknownAuthority { .. }));
    world.authority().issue_between(RegionId(2), 0, time::now_ms() - 60_000, &world.path("past"));
    assert!(matches!(said(&world.path("past")), Error::Expired { .. }));
}

#[tokio::test]
async fn certificates_of_an_unknown_authority_are_refused() {
    let (world, stranger) = (World::new(), World::new());
    for (refuses, refused) in both_ways(&world, &stranger.issue("two", 2)).await {
        assert!(
            matches!(&refuses, Error::UnknownAuthority { who, issuer } if who == "region `2` (`r2`)" && issuer.starts_with("tests ")),
            "{refuses}"
        );
        assert!(refused.to_string().contains("does not trust the authority"), "{refused}");
    }
}

#[tokio::test]
async fn certificates_that_do_not_name_one_region_are_refused() {
    for uris in [
        &[][..],
        &["spiffe://example.org/region/2"],
        &["tradewind://region/0/r0"],
        &["tradewind://region/2"],
        &["tradewind://region/2/r2", "tradewind://region/1/r1"],
        &["tradewind://region/2/r2", "tradewind://anything"],
    ] {
        let world = World::new();
        fs::create_dir(world.path("odd")).unwrap();
        world.authority().issue_named(uris, &world.path("odd"));
        for (refuses, refused) in both_ways(&world, &world.path("odd")).await {
            assert!(matches!(refuses, Error::NoRegion { .. }), "{uris:?}: {refuses}");
            assert!(matches!(refused, Error::Refused { .. }), "{uris:?}: {refused}");
        }
    }
    // Control: the same way of making it, with the name of one region.
    let world = World::new();
    fs::create_dir(world.path("even")).unwrap();
    world
        .authority()
        .issue_named(&["tradewind://region/2/r2", "spiffe://example.org/2"], &world.path("even"));
    let (one, other) = (world.node("one", 1), world.node("other", 2).showing(&world.path("even")));
    meet(&one, &other).await;
    assert!(matches!(peer_region(&[]), Err(Error::NoCertificate)));
    assert!(matches!(peer_region(&[CertificateDer::from(vec![48, 0])]), Err(Error::BadCertificate { .. })));
}

#[tokio::test]
async fn what_a_region_signs_with_its_own_key_is_refused() {
    let world = World::new();
    let two = world.issue("two", 2);
    let false_ca = world.path("false-ca");
    fs::create_dir(&false_ca).unwrap();
    fs::copy(two.join("region.pem"), false_ca.join("ca.pem")).unwrap();
    fs::copy(two.join("region.key"), false_ca.join("ca.key")).unwrap();
    let forged = world.path("forged");
    Authority::open(&false_ca).unwrap().issue(RegionId(3), "r3", &[], 1, &forged).unwrap();
    let chain = fs::read_to_string(forged.join("region.pem")).unwrap()
        + &fs::read_to_string(two.join("region.pem")).unwrap();
    fs::write(forged.join("region.pem"), chain).unwrap();
    for (refuses, _) in both_ways(&world, &forged).await {
        assert!(!matches!(refuses, Error::Refused { .. } | Error::Broken(_)), "{refuses}");
        assert!(
            matches!(refuses, Error::BadCertificate { .. } | Error::UnknownAuthority { .. }),
            "{refuses}"
        );
    }
}
