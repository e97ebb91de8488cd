//! New certificates and new authorities while nodes run: nobody is shut out before it is meant, and then everybody is.

use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

/// The four states that a node may be in while an authority is replaced: (its certificate is new, it trusts the new one).
const STATES: [(bool, bool); 4] = [(false, false), (false, true), (true, false), (true, true)];

/// Nodes of region 1 + i in each of [`STATES`], after a rotation that began when they had the old authority's files.
fn nodes_amid_a_rotation(world: &World) -> Vec<PathBuf> {
    let folders: Vec<_> =
        (1..).zip(STATES).map(|(region, _)| world.issue(&format!("node{region}"), region)).collect();
    let old_bundle = fs::read(world.path("ca").join("ca.pem")).unwrap();
    let authority = Authority::rotate(&world.path("ca"), 60).unwrap();
    for ((region, folder), (new_certificate, new_bundle)) in (1..).zip(&folders).zip(STATES) {
        if new_certificate {
            authority.renew(RegionId(region), &format!("r{region}"), &[], 20, folder).unwrap();
        }
        if new_bundle {
            authority.hand_out(folder).unwrap();
        } else {
            fs::write(folder.join("ca.pem"), &old_bundle).unwrap();
        }
    }
    folders
}

#[tokio::test]
async fn nodes_connect_in_every_state_of_a_rotation() {
    let world = World::new();
    let folders = nodes_amid_a_rotation(&world);
    assert_eq!(world.authority().trusted().count(), 2);
    for server in &folders {
        for client in &folders {
            meet(&load(server), &load(client)).await;
        }
    }

    // Control: it is the old authority's word for the new one that lets a node in which trusts only the old one.
    let renewed = folders[3].join("region.pem");
    let chain = fs::read_to_string(&renewed).unwrap();
    let end = "-----END CERTIFICATE-----\n";
    assert_eq!(chain.matches(end).count(), 2);
    fs::write(&renewed, chain.split_inclusive(end).next().unwrap()).unwrap();
    let (accepted, _) = dial(&load(&folders[0]), &load(&folders[3]), 1).await;
    assert!(matches!(accepted, Err(Error::UnknownAuthority { .. })), "{accepted:?}");
    meet(&load(&folders[1]), &load(&folders[3])).await;
}

#[tokio::test]
async fn a_retired_authority_lets_nobody_in() {
    let world = World::new();
    let folders = nodes_amid_a_rotation(&world);
    let (stale, renewed) = (load(&folders[0]), load(&folders[3]));
    meet(&renewed, &stale).await;

    let authority = Authority::retire(&world.path("ca")).unwrap();
    assert_eq!(authority.trusted().count(), 1);
    authority.hand_out(&folders[3]).unwrap();
    authority.hand_out(&folders[2]).unwrap();
    let (renewed, other) = (load(&folders[3]), load(&folders[2]));
    meet(&renewed, &other).await;
    let (accepted, connected) = dial(&renewed, &stale, 4).await;
    assert!(matches!(accepted, Err(Error::UnknownAuthority { .. })), "{accepted:?}");
    assert!(matches!(connected, Err(Error::Refused { .. })), "{connected:?}");
    let (_, connected) = dial(&stale, &renewed, 1).await;
    assert!(matches!(connected, Err(Error::UnknownAuthority { .. })), "{connected:?}");

    // What is issued from then on stands by itself, and the next rotation may begin.
    let fresh = world.node("fresh", 9);
    assert_eq!(
        fs::read_to_string(world.path("fresh").join("region.pem")).unwrap().matches("BEGIN").count(),
        1
    );
    meet(&renewed, &fresh).await;
    Authority::rotate(&world.path("ca"), 60).unwrap();
    meet(&renewed, &world.node("fresher", 10)).await;
}

#[test]
fn one_rotation_ends_before_the_next_begins() {
    let world = World::new();
    let folder = world.path("ca");
    let name = world.authority().trusted().next().unwrap().name.clone();
    assert!(matches!(Authority::retire(&folder), Err(Error::NoRotation { .. })));
    Authority::rotate(&folder, 60).unwrap();
    assert!(matches!(Authority::rotate(&folder, 60), Err(Error::RotationUnderWay { .. })));
    let names: Vec<_> = world.authority().trusted().map(|trusted| trusted.name.clone()).collect();
    assert_eq!(names.len(), 2);
    assert!(names[0].starts_with("tests ") && names[0] != name && names[1] == name, "{names:?}");
    Authority::retire(&folder).unwrap();
    assert_eq!(world.authority().trusted().next().unwrap().name, names[0]);
}

#[tokio::test]
async fn what_a_crash_leaves_between_two_files_can_be_used() {
    let world = World::new();
    let node = world.issue("node", 1);
    for (folder, certificate, key) in
        [(world.path("ca"), "ca.pem", "ca.key"), (node.clone(), "region.pem", "region.key")]
    {
        let (key, next) = (folder.join(key), folder.join(format!("{key}.next")));
        let old = (fs::read(folder.join(certificate)).unwrap(), fs::read(&key).unwrap());
        if certificate == "ca.pem" {
            Authority::rotate(&folder, 60).unwrap();
        } else {
            world.authority().renew(RegionId(1), "r1", &[], 20, &node).unwrap();
        }
        let new = (fs::read(folder.join(certificate)).unwrap(), fs::read(&key).unwrap());
        assert_ne!(old, new);
        // Before the certificate was replaced, and after it.
        for shown in [&old.0, &new.0] {
            fs::write(folder.join(certificate), shown).unwrap();
            fs::write(&key, &old.1).unwrap();
            fs::write(&next, &new.1).unwrap();
            meet(
                &load(&node),
                &world.node(&format!("met{}", fs::read_dir(world.0.path()).unwrap().count()), 2),
            )
            .await;
        }
    }
    // The next step puts it in order.
    world.authority().renew(RegionId(1), "r1", &[], 20, &node).unwrap();
    Authority::retire(&world.path("ca")).unwrap();
    for left in [node.join("region.key.next"), world.path("ca").join("ca.key.next")] {
        assert!(!left.exists(), "{}", left.display());
    }
    world.authority().hand_out(&node).unwrap();
    meet(&load(&node), &world.node("last", 2)).await;
}

#[test]
fn who_reads_while_a_certificate_is_renewed_finds_one_pair() {
    let world = World::new();
    let folder = world.issue("one", 1);
    let (authority, renewed, enough) = (world.authority(), AtomicU32::new(0), AtomicBool::new(false));
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !enough.load(Relaxed) {
                authority.renew(RegionId(1), "r1", &[], 10, &folder).unwrap();
                renewed.fetch_add(1, Relaxed);
            }
        });
        let mut loaded = (0, Ok(()));
        while loaded.1.is_ok() && (loaded.0 < 200 || renewed.load(Relaxed) < 20) {
            loaded = (loaded.0 + 1, Credentials::load(&folder, Options::default()).map(drop));
        }
        enough.store(true, Relaxed);
        loaded.1.unwrap();
    });
}

#[tokio::test]
async fn renewed_certificates_are_used_for_new_connections_while_old_ones_go_on() {
    let world = World::new();
    let folder = world.issue("one", 1);
    let live = Live::open(&folder, Options::default()).unwrap();
    let two = world.node("two", 2);
    let first = live.current();
    let (accepted, connected) = dial(&first, &two, 1).await;
    let ((mut accepted, _), (mut connected, before)) = (accepted.unwrap(), connected.unwrap());
    assert_eq!(live.reload().unwrap(), Reload::Unchanged);
    assert!(Arc::ptr_eq(&first, &live.current()));

    world.authority().renew(RegionId(1), "r1", &[], 20, &folder).unwrap();
    assert_eq!(live.reload().unwrap(), Reload::Changed);
    let (_, after) = meet(&live.current(), &two).await;
    assert_eq!(before.expires_at_ms, first.expires_at_ms());
    assert_eq!(after.expires_at_ms, live.current().expires_at_ms());
    assert!(after.expires_at_ms > before.expires_at_ms, "{before:?} {after:?}");
    talk(&mut accepted, &mut connected).await;

    // A whole rotation, over the same running connection.
    let authority = Authority::rotate(&world.path("ca"), 60).unwrap();
    authority.renew(RegionId(1), "r1", &[], 30, &folder).unwrap();
    assert_eq!(live.reload().unwrap(), Reload::Changed);
    meet(&live.current(), &two).await;
    Authority::retire(&world.path("ca")).unwrap().hand_out(&folder).unwrap();
    assert_eq!(live.reload().unwrap(), Reload::Changed);
    let (refused, _) = dial(&live.current(), &two, 1).await;
    assert!(matches!(refused, Err(Error::UnknownAuthority { .. })), "{refused:?}");
    talk(&mut accepted, &mut connected).await;
}

#[tokio::test]
async fn broken_credentials_do_not_take_the_place_of_those_that_work() {
    let world = World::new();
    let folder = world.issue("one", 1);
    let live = Live::open(&folder, Options::default()).unwrap();
    let (first, two) = (live.current(), world.node("two", 2));
    let other = world.issue("other", 3);
    world.authority().issue_between(RegionId(1), 0, time::now_ms() - 60_000, &world.path("past"));
    let put = |from: &Path, files: &[&str]| {
        for file in files {
            fs::copy(from.join(file), folder.join(file)).unwrap();
        }
    };
    let good = world.path("good");
    fs::create_dir(&good).unwrap();
    for file in ["region.pem", "region.key", "ca.pem"] {
        fs::copy(folder.join(file), good.join(file)).unwrap();
    }
    let both = ["region.pem", "region.key"];

    fs::write(folder.join("region.pem"), "half a certi").unwrap();
    assert!(matches!(live.reload(), Err(Error::Unusable { .. })));
    put(&world.path("past"), &both);
    assert!(matches!(live.reload(), Err(Error::Expired { .. })));
    put(&other, &["region.pem"]);
    assert!(matches!(live.reload(), Err(Error::Unusable { path, .. }) if path.ends_with("region.key")));
    put(&other, &both);
    assert!(matches!(live.reload(), Err(Error::Unusable { path, .. }) if path.ends_with("region.pem")));
    fs::remove_file(folder.join("ca.pem")).unwrap();
    assert!(matches!(live.reload(), Err(Error::Missing { path, .. }) if path.ends_with("ca.pem")));
    assert!(Arc::ptr_eq(&first, &live.current()));
    meet(&live.current(), &two).await;

    put(&good, &["region.pem", "region.key", "ca.pem"]);
    assert_eq!(live.reload().unwrap(), Reload::Unchanged);
    world.authority().renew(RegionId(1), "r1", &[], 20, &folder).unwrap();
    assert_eq!(live.reload().unwrap(), Reload::Changed);
}
