//! What is special about etcd: its failures and what is said about them.

use crate::engines::{EtcdServer, real_time};
use expect_test::expect;
use std::time::Duration;
use tw_cluster::conformance::Engine;
use tw_cluster::{Coordination, Error, EtcdCoordination, EtcdOptions, EtcdTls, Key, Revision, Transaction};
use tw_testing::{Authority, Etcd};

fn key(name: &str) -> Key {
    Key::new([name]).unwrap()
}

fn connect(options: &EtcdOptions) -> EtcdCoordination {
    EtcdCoordination::new(real_time(), options).unwrap()
}

/// As little patience as is allowed.
fn hasty(endpoint: String) -> EtcdOptions {
    EtcdOptions {
        endpoints: vec![endpoint],
        connect_ms_max: 1_000,
        attempt_ms_max: 1_000,
        request_ms_max: 3_000,
        ..EtcdOptions::default()
    }
}

/// The text of an error, without what differs from run to run.
fn text(error: &Error, endpoint: &str) -> String {
    let text = error.to_string().replace(endpoint, "ENDPOINT");
    let is_changing = |word: &str| word.parse::<u64>().is_ok();
    text.split(' ').map(|word| if is_changing(word) { "N" } else { word }).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn where_nobody_listens_nothing_has_happened_and_the_error_says_where() {
    let mut server = Etcd::start();
    server.stop();
    let endpoint = server.endpoint();
    let on = connect(&hasty(endpoint.clone()));
    let read = on.read(key("members").below(), None).await.unwrap_err();
    let written = on.commit(Transaction::new().put(&key("a"), "1")).await.unwrap_err();
    assert!(matches!((&read, &written), (Error::Unavailable(_), Error::Unavailable(_))), "{written:?}");
    expect!["cannot read `members/` at `ENDPOINT`: Connection refused (os error 111): see that etcd runs, and that it can be reached from here; nothing was changed"].assert_eq(&text(&read, &endpoint));
    expect!["cannot write `a` at `ENDPOINT`: Connection refused (os error 111): see that etcd runs, and that it can be reached from here; nothing was changed"].assert_eq(&text(&written, &endpoint));
    // And it goes on when somebody does.
    server.start_again();
    on.commit(Transaction::new().put(&key("a"), "1")).await.unwrap();
}

#[tokio::test]
async fn the_outcome_of_a_write_without_an_answer_is_unknown() {
    let mut server = Etcd::start();
    let endpoint = server.endpoint();
    let on = connect(&hasty(endpoint.clone()));
    on.commit(Transaction::new().put(&key("a"), "1")).await.unwrap();
    server.pause();
    let read = on.read(key("a").alone(), None).await.unwrap_err();
    let written = on.commit(Transaction::new().put(&key("a"), "2")).await.unwrap_err();
    server.resume();
    assert!(matches!((&read, &written), (Error::Unavailable(_), Error::Unknown(_))), "{read:?} {written:?}");
    expect!["cannot read `a` at `ENDPOINT`: no answer within N ms: see that etcd runs, and that it can be reached from here; nothing was changed"].assert_eq(&text(&read, &endpoint));
    expect!["cannot write `a` at `ENDPOINT`: no answer within N ms: see that etcd runs, and that it can be reached from here; it may have happened all the same: read before trying again"].assert_eq(&text(&written, &endpoint));
}

#[tokio::test]
async fn another_server_is_asked_when_one_is_gone() {
    let server = Etcd::start();
    let mut gone = Etcd::start();
    gone.stop();
    let mut silent = Etcd::start();
    silent.pause();
    let endpoints = vec![gone.endpoint(), silent.endpoint(), server.endpoint()];
    let on = connect(&EtcdOptions { endpoints, request_ms_max: 60_000, ..EtcdOptions::default() });
    let mut watch = on.watch(key("a").alone(), Revision(1));
    on.read(key("a").alone(), None).await.unwrap();
    on.commit(Transaction::new().put(&key("a"), "1")).await.unwrap();
    assert_eq!(watch.next().await.unwrap().through, Revision(2));
}

#[tokio::test]
async fn clu_1_an_etcd_that_was_set_up_anew_is_refused() {
    let mut server = Etcd::start();
    let endpoint = server.endpoint();
    let on = connect(&EtcdOptions { endpoints: vec![endpoint.clone()], ..EtcdOptions::default() });
    let mut watch = on.watch(key("a").alone(), Revision(1));
    for _ in 0..3 {
        on.commit(Transaction::new().put(&key("a"), "1")).await.unwrap();
        watch.next().await.unwrap();
    }
    server.stop();
    server.wipe();
    server.start_again();
    let refused = |error: &Error| matches!(error, Error::WentBack { endpoint: at, .. } if *at == endpoint);
    let read = on.read(key("a").alone(), None).await.unwrap_err();
    let told = watch.next().await.unwrap_err();
    assert!(refused(&read) && refused(&told), "{read:?} {told:?}");
}

#[tokio::test]
async fn clusters_with_different_namespaces_do_not_see_each_other() {
    let server = EtcdServer::start();
    let of = |namespace: &str| connect(&EtcdOptions { namespace: namespace.into(), ..server.options() });
    let (one, other, odd) = (of("one"), of("other"), of("one//odd"));
    other.commit(Transaction::new().put(&key("a"), "other")).await.unwrap();
    // A name that no key of ours has: somebody else's, and passed over.
    odd.commit(Transaction::new().put(&key("a"), "odd")).await.unwrap();
    one.commit(Transaction::new().put(&key("b"), "one")).await.unwrap();
    assert!(one.read(key("a").alone(), None).await.unwrap().entries.is_empty());
    let mut watch = one.watch(key("b").alone(), Revision(1));
    assert_eq!(watch.next().await.unwrap().changes.len(), 1);
}

#[tokio::test]
async fn leases_are_at_least_as_long_as_asked_for() {
    let server = EtcdServer::start();
    let on = server.connect();
    for (asked, granted) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (10_000, 10)] {
        let grant = on.grant(Duration::from_millis(asked)).await.unwrap();
        assert_eq!(grant.ttl, Duration::from_secs(granted), "{asked} ms");
    }
}

#[tokio::test]
async fn options_outside_their_bounds_are_refused_by_name() {
    let refused =
        |options: &EtcdOptions| EtcdCoordination::new(real_time(), options).unwrap_err().to_string();
    let url = |url: &str| refused(&EtcdOptions { endpoints: vec![url.into()], ..EtcdOptions::default() });
    expect!["option `endpoints` of coordination is `10.0.0.1:2379`: a URL such as `http://10.0.0.1:2379` or `https://etcd-1.example:2379`"]
        .assert_eq(&url("10.0.0.1:2379"));
    expect!["option `endpoints` of coordination is `ftp://10.0.0.1:2379`: a URL such as `http://10.0.0.1:2379` or `https://etcd-1.example:2379`"]
        .assert_eq(&url("ftp://10.0.0.1:2379"));
    expect!["option `endpoints` of coordination is `[]`: 1 to 32 URLs"]
        .assert_eq(&refused(&EtcdOptions { endpoints: Vec::new(), ..EtcdOptions::default() }));
    expect!["option `namespace` of coordination is `a/`: 1 to 200 bytes, without `/` at either end"]
        .assert_eq(&refused(&EtcdOptions { namespace: "a/".into(), ..EtcdOptions::default() }));
    expect!["option `probe_interval_ms` of coordination is `100`: 5,000 to 600,000"]
        .assert_eq(&refused(&EtcdOptions { probe_interval_ms: 100, ..EtcdOptions::default() }));
}

#[tokio::test]
async fn a_secured_server_is_reached_by_whoever_has_a_certificate_of_its_authority() {
    let authority = Authority::new();
    let server = Etcd::start_secured(&authority);
    let own = authority.issue("node-1");
    let tls = EtcdTls { ca: authority.file(), certificate: own.certificate, key: own.key };
    let on = connect(&EtcdOptions { tls: tls.clone(), ..hasty(server.endpoint()) });
    let mut watch = on.watch(key("a").alone(), Revision(1));
    on.commit(Transaction::new().put(&key("a"), "1")).await.unwrap();
    assert_eq!(watch.next().await.unwrap().through, Revision(2));

    let anonymous = EtcdTls { ca: authority.file(), ..EtcdTls::default() };
    // Its folder is gone with it.
    let gone = EtcdTls { ca: Authority::new().file(), ..tls.clone() };
    let other = Authority::new();
    for (what, tls) in
        [("anonymous", anonymous), ("another authority", EtcdTls { ca: other.file(), ..tls.clone() })]
    {
        let on = connect(&EtcdOptions { tls, ..hasty(server.endpoint()) });
        let error = on.read(key("a").alone(), None).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{what}: {error:?}");
    }
    let open = server.endpoint().replace("https", "http");
    let error = connect(&hasty(open)).read(key("a").alone(), None).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "without encryption: {error:?}");

    let missing = EtcdCoordination::new(real_time(), &EtcdOptions { tls: gone, ..hasty(server.endpoint()) });
    let error = missing.unwrap_err().to_string();
    assert!(error.contains("option `tls` of coordination is ") && error.contains("No such file"), "{error}");
}

#[test]
fn files_of_tls_without_an_endpoint_that_uses_them_are_refused() {
    let tls = EtcdTls { ca: "ca.pem".into(), ..EtcdTls::default() };
    let error = EtcdOptions { tls: tls.clone(), ..EtcdOptions::default() }.check().unwrap_err();
    expect!["option `tls` of coordination is `ca.pem`: its files are for `https://` endpoints: name such an endpoint, or leave the files out"]
        .assert_eq(&error.to_string());
    let half = EtcdTls { key: "k.pem".into(), ..tls };
    let options = EtcdOptions { tls: half, endpoints: vec!["https://e:1".into()], ..EtcdOptions::default() };
    let error = options.check().unwrap_err();
    expect!["option `tls` of coordination is `ca.pem`: both `certificate` and `key`, or neither"]
        .assert_eq(&error.to_string());
}
