//! What an authority writes, and what it refuses to.

use super::*;
use std::os::unix::fs::PermissionsExt;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use webpki::EndEntityCert;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn chain(folder: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(folder.join("region.pem")).unwrap().map(|found| found.unwrap()).collect()
}

#[test]
fn keys_are_for_their_owner_only_and_nothing_else_is_left_behind() {
    let world = World::new();
    let node = world.issue("node", 1);
    assert_eq!(names(&world.path("ca")), ["ca.key", "ca.pem"]);
    assert_eq!(names(&node), ["ca.pem", "region.key", "region.pem"]);
    for key in [world.path("ca").join("ca.key"), node.join("region.key")] {
        assert_eq!(mode(&key), 0o600, "{}", key.display());
    }
    for folder in [world.path("ca"), node.clone()] {
        assert_eq!(mode(&folder), 0o700, "{}", folder.display());
    }
    // Also those that take the place of others.
    world.authority().renew(RegionId(1), "r1", &[], 10, &node).unwrap();
    Authority::rotate(&world.path("ca"), 30).unwrap();
    assert_eq!(names(&world.path("ca")), ["ca.cross.pem", "ca.key", "ca.pem"]);
    assert_eq!(names(&node), ["ca.pem", "region.key", "region.pem"]);
    for key in [world.path("ca").join("ca.key"), node.join("region.key")] {
        assert_eq!(mode(&key), 0o600, "{}", key.display());
    }
    Authority::retire(&world.path("ca")).unwrap();
    assert_eq!(names(&world.path("ca")), ["ca.key", "ca.pem"]);
}

#[test]
fn a_certificate_names_its_region_and_its_hosts_and_ends_in_time() {
    let world = World::new();
    let hosts = ["link.example.org".to_owned(), "10.1.2.3".to_owned(), "::1".to_owned()];
    let before_ms = time::now_ms();
    let issued = world.authority().issue(RegionId(7), "eu", &hosts, 10, &world.path("node")).unwrap();
    let chain = chain(&world.path("node"));
    assert_eq!(chain.len(), 1, "without a rotation there is nothing between it and the authority");
    assert_eq!(peer_region(&chain).unwrap(), (RegionId(7), "eu".to_owned()));
    let parsed = EndEntityCert::try_from(&chain[0]).unwrap();
    assert_eq!(parsed.valid_uri_names().collect::<Vec<_>>(), ["tradewind://region/7/eu"]);
    assert_eq!(parsed.valid_dns_names().collect::<Vec<_>>(), ["link.example.org"]);
    assert!((16..=20).contains(&parsed.serial().len()), "{:?}", parsed.serial());
    let lasts_ms = issued.expires_at_ms - before_ms / 1000 * 1000;
    assert!((10 * time::DAY_MS..10 * time::DAY_MS + 60_000).contains(&lasts_ms), "{lasts_ms}");
    assert_eq!(load(&world.path("node")).expires_at_ms(), issued.expires_at_ms);

    let other = self::chain(&world.issue("other", 7));
    assert_ne!(EndEntityCert::try_from(&other[0]).unwrap().serial(), parsed.serial());
}

#[test]
fn a_certificate_does_not_outlive_its_authority() {
    let world = World::new();
    let authority = world.authority();
    let ends_ms = authority.trusted().next().unwrap().expires_at_ms;
    let issued = authority.issue(RegionId(1), "r1", &[], 100, &world.path("node")).unwrap();
    assert_eq!(issued.expires_at_ms, ends_ms);
}

#[test]
fn a_key_that_is_there_is_not_overwritten() {
    let world = World::new();
    let node = world.issue("node", 1);
    let keys =
        || (fs::read(world.path("ca").join("ca.key")).unwrap(), fs::read(node.join("region.key")).unwrap());
    let before = keys();

    let error = Authority::init(&world.path("ca"), "again", 30).unwrap_err();
    assert!(matches!(&error, Error::Exists { path, .. } if path.ends_with("ca.pem")), "{error}");
    let error = world.authority().issue(RegionId(1), "r1", &[], 10, &node).unwrap_err();
    assert!(matches!(&error, Error::Exists { path, .. } if path.ends_with("region.key")), "{error}");
    let error = world.authority().renew(RegionId(2), "r2", &[], 10, &node).unwrap_err();
    assert!(matches!(&error, Error::Exists { path, .. } if path.ends_with("region.pem")), "{error}");
    assert_eq!(keys(), before);

    // The key alone is reason enough.
    fs::remove_file(node.join("region.pem")).unwrap();
    fs::remove_file(world.path("ca").join("ca.pem")).unwrap();
    assert!(matches!(Authority::init(&world.path("ca"), "again", 30), Err(Error::Exists { .. })));
    assert_eq!(keys(), before);

    // Control: renewing on purpose does replace it.
    let other = world.path("other");
    let renewed = World::new();
    renewed.authority().issue(RegionId(1), "r1", &[], 10, &other).unwrap();
    let before = fs::read(other.join("region.key")).unwrap();
    renewed.authority().renew(RegionId(1), "r1", &[], 10, &other).unwrap();
    assert_ne!(fs::read(other.join("region.key")).unwrap(), before);
}

#[test]
fn what_breaks_a_rule_is_refused_before_a_file_is_written() {
    let world = World::new();
    let authority = world.authority();
    let node = world.path("node");
    let issue = |region, name: &str, host: &str, days| {
        let hosts: Vec<_> = Some(host.to_owned()).into_iter().filter(|host| !host.is_empty()).collect();
        authority.issue(RegionId(region), name, &hosts, days, &node)
    };
    for (region, name, host, days) in [
        (0, "eu", "", 1),
        (1, "", "", 1),
        (1, "EU", "", 1),
        (1, "a/b", "", 1),
        (1, "eu", "*.example.org", 1),
        (1, "eu", "a b", 1),
        (1, "eu", "", 0),
        (1, "eu", "", DAYS_MAX + 1),
    ] {
        let error = issue(region, name, host, days).unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{error}");
    }
    let hosts: Vec<_> = (0..=HOSTS_MAX).map(|number| format!("h{number}")).collect();
    assert!(matches!(authority.issue(RegionId(1), "eu", &hosts, 1, &node), Err(Error::Invalid { .. })));
    assert!(!node.exists());
    assert!(matches!(Authority::init(&world.path("new"), "A", 1), Err(Error::Invalid { .. })));
    assert!(matches!(Authority::init(&world.path("new"), "a", 0), Err(Error::Invalid { .. })));
    assert!(!world.path("new").exists());
    // Control: the same with nothing wrong.
    issue(1, "eu", "example.org", 1).unwrap();
}

#[test]
fn files_that_do_not_fit_together_are_named() {
    let world = World::new();
    let node = world.issue("node", 1);
    let other = world.issue("other", 1);
    let at = |file: &str| node.join(file);
    let refused = || Credentials::load(&node, Options::default()).unwrap_err();

    fs::copy(other.join("region.key"), at("region.key")).unwrap();
    let error = refused();
    assert!(matches!(&error, Error::Unusable { path, .. } if *path == at("region.key")), "{error}");
    fs::remove_file(at("region.key")).unwrap();
    assert!(matches!(refused(), Error::Missing { path, .. } if path == at("region.key")));
    fs::copy(other.join("region.key"), at("region.key")).unwrap();
    fs::write(at("region.pem"), "not a certificate").unwrap();
    assert!(matches!(refused(), Error::Unusable { path, .. } if path == at("region.pem")));
    fs::write(at("ca.pem"), "").unwrap();
    assert!(matches!(refused(), Error::Unusable { path, .. } if path == at("ca.pem")));
    fs::remove_file(at("region.pem")).unwrap();
    assert!(matches!(refused(), Error::Missing { path, .. } if path == at("region.pem")));

    // The same for an authority whose key is another's.
    let stranger = World::new();
    fs::copy(stranger.path("ca").join("ca.key"), world.path("ca").join("ca.key")).unwrap();
    let error = Authority::open(&world.path("ca")).unwrap_err();
    assert!(matches!(&error, Error::Unusable { path, .. } if path.ends_with("ca.key")), "{error}");
    assert!(matches!(Authority::open(&world.path("none")), Err(Error::Missing { .. })));
}

#[test]
fn own_certificates_that_every_peer_would_refuse_are_refused_at_once() {
    let world = World::new();
    let now_ms = time::now_ms();
    let load = |at: &str| Credentials::load(&world.path(at), Options::default());

    world.authority().issue_between(RegionId(1), 0, now_ms - 60_000, &world.path("past"));
    assert!(matches!(load("past"), Err(Error::Expired { .. })));
    world.authority().issue_between(RegionId(1), now_ms + 60_000, now_ms + 120_000, &world.path("future"));
    assert!(matches!(load("future"), Err(Error::NotYetValid { .. })));
    let node = world.issue("node", 1);
    load("node").unwrap();
    fs::copy(World::new().path("ca").join("ca.pem"), node.join("ca.pem")).unwrap();
    assert!(matches!(load("node"), Err(Error::UnknownAuthority { .. })));

    let short = Options { handshake_ms_max: HANDSHAKE_MS_MIN - 1 };
    assert!(matches!(Credentials::load(&node, short), Err(Error::Invalid { .. })));
}

#[test]
fn an_expired_authority_issues_nothing() {
    let world = World::new();
    let ends_ms = world.authority().trusted().next().unwrap().expires_at_ms;
    let error = Error::AuthorityExpired { name: "tests".into(), expires_at_ms: ends_ms };
    assert!(error.to_string().contains("`tradewind region ca rotate`"), "{error}");
    Authority::init_until(&world.path("old"), time::now_ms() - 60_000);
    let old = Authority::open(&world.path("old")).unwrap();
    let refused = old.issue(RegionId(1), "r1", &[], 1, &world.path("node")).unwrap_err();
    assert!(matches!(refused, Error::AuthorityExpired { .. }), "{refused}");
    assert!(!world.path("node").exists());
    // The remedy of the text helps.
    let new = Authority::rotate(&world.path("old"), 10).unwrap();
    new.issue(RegionId(1), "r1", &[], 1, &world.path("node")).unwrap();
    load(&world.path("node"));
}
