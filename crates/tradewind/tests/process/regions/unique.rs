//! Unique columns: a value that one row has, in all regions.

use super::World;
use super::tokens::{Reply, ask};
use crate::support::Node;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tw_testing::{Line, Way, eventually};

const USERS: &str = "CREATE STREAM users (email text MERGE unique, name text) WITH (partitions = 2, mode = 'active-active', home = 1)";
const EVENT: [(&str, &str); 1] = [("Content-Type", "application/cloudevents+json")];
const JSON: [(&str, &str); 1] = [("Content-Type", "application/json")];

/// A change of a row of users; None deletes it.
fn change(node: &Node, id: &str, subject: &str, data: Option<Value>) -> Reply {
    let mut event = json!({
        "specversion": "1.0", "id": id, "source": "/users", "type": "user", "subject": subject,
    });
    if let Some(data) = data {
        event["data"] = data;
    }
    ask(node, "POST", "/v1/streams/users/events", &EVENT, &event.to_string())
}

fn take(node: &Node, id: &str, subject: &str, email: &str) -> Reply {
    change(node, id, subject, Some(json!({ "email": email })))
}

/// The rows that have a value, as a region shows them.
fn rows(node: &Node) -> BTreeMap<String, String> {
    let rows = node.rows("SELECT _subject AS subject, email FROM users WHERE email IS NOT NULL", None);
    let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    rows.iter().map(|row| (text(row, "subject"), text(row, "email"))).collect()
}

fn in_all(world: &World, expected: &[(&str, &str)]) {
    let expected: BTreeMap<String, String> =
        expected.iter().map(|(subject, email)| ((*subject).to_owned(), (*email).to_owned())).collect();
    for region in 0..3 {
        let node = world.node(region);
        eventually(
            || (rows(node) == expected).then_some(()),
            || format!("REG-1: region {region} has {:?}", rows(node)),
        );
    }
}

/// Who has a value, as a region knows it.
fn holder(node: &Node, email: &str) -> Value {
    ask(node, "GET", &format!("/v1/streams/users/claims?column=email&value={email}"), &[], "").json()
}

/// A world in which every region can claim.
fn world() -> World {
    let world = World::new();
    world.define(&[USERS]);
    for region in 0..3 {
        let node = world.node(region);
        let first = || {
            let taken =
                take(node, &format!("first-{region}"), &format!("first{region}"), &format!("f{region}"));
            (taken.status == 200).then_some(())
        };
        eventually(first, || node.get("/v1/status"));
    }
    let gone =
        |region: usize| change(world.node(region), &format!("end-{region}"), &format!("first{region}"), None);
    assert!((0..3).all(|region| gone(region).status == 200));
    in_all(&world, &[]);
    world
}

#[test]
fn reg_1_of_rows_that_claim_a_value_at_once_in_all_regions_one_gets_it() {
    let world = world();
    let claim = |region: usize, value: usize| {
        let (subject, email) = (format!("u{region}-{value}"), format!("e{value}"));
        let taken = take(world.node(region), &subject, &subject, &email);
        match taken.status {
            200 => Some((subject, email)),
            409 => {
                let (code, detail) = taken.problem();
                assert!(code == "not_unique" && detail.contains(&format!("`{email}` is `u")), "{detail}");
                None
            }
            status => panic!("{status}: {taken:?}"),
        }
    };
    let won: Vec<(String, String)> = std::thread::scope(|scope| {
        let claims = (0..8).flat_map(|value| (0..3).map(move |region| (region, value)));
        let asked: Vec<_> = claims.map(|(region, value)| scope.spawn(move || claim(region, value))).collect();
        asked.into_iter().filter_map(|asked| asked.join().unwrap()).collect()
    });
    assert_eq!(won.len(), 8, "each value has one row: {won:?}");
    let expected: Vec<(&str, &str)> =
        won.iter().map(|(subject, email)| (subject.as_str(), email.as_str())).collect();
    in_all(&world, &expected);
    for (subject, email) in won {
        assert_eq!(holder(world.node(0), &email)["subject"], subject);
        // Whoever has it may say so again.
        assert_eq!(take(world.node(2), &format!("again-{subject}"), &subject, &email).status, 200);
    }
    // Two rows of one append cannot both have it.
    let both = [("x", 1), ("y", 2)].map(|(subject, id)| {
        json!({"specversion": "1.0", "id": id.to_string(), "source": "/b", "type": "user", "subject": subject, "data": {"email": "both"}})
    });
    let batch = [("Content-Type", "application/cloudevents-batch+json")];
    let both = ask(world.node(1), "POST", "/v1/streams/users/events", &batch, &json!(both).to_string());
    let (code, detail) = both.problem();
    assert_eq!(
        (code.as_str(), detail.as_str()),
        ("not_unique", "column `email`: `both` is given to both `x` and `y`: give it to one of them")
    );
}

#[test]
fn a_value_is_free_once_its_row_has_another_one_or_is_gone() {
    let world = world();
    assert_eq!(take(world.node(1), "1", "ann", "a").status, 200);
    in_all(&world, &[("ann", "a")]);
    let (code, detail) = take(world.node(2), "2", "bob", "a").problem();
    assert_eq!(code, "not_unique");
    assert_eq!(detail, "column `email`: `a` is `ann`'s: choose another one, or take it away there first");
    // A change that was stored is answered as it was, although another row has the value by then.
    assert_eq!(take(world.node(1), "3", "ann", "b").status, 200);
    let taken = || (take(world.node(2), "4", "bob", "a").status == 200).then_some(());
    eventually(taken, || format!("{:?}", holder(world.node(0), "a")));
    in_all(&world, &[("ann", "b"), ("bob", "a")]);
    let again = take(world.node(1), "1", "ann", "a");
    assert_eq!((again.status, &again.json()["events"][0]["duplicate"]), (200, &json!(true)));
    assert_eq!(take(world.node(1), "5", "ann", "a").problem().0, "not_unique");
    // A row that is deleted has nothing.
    assert_eq!(change(world.node(2), "6", "bob", None).status, 200);
    let taken = || (take(world.node(1), "7", "ann", "a").status == 200).then_some(());
    eventually(taken, || format!("{:?}", holder(world.node(0), "a")));
    in_all(&world, &[("ann", "a")]);
    for region in 0..3 {
        let told = || (holder(world.node(region), "a")["subject"] == "ann").then_some(());
        eventually(told, || holder(world.node(region), "a").to_string());
    }
    let shown = world.node(2).ok(&["stream", "holder", "users", "email", "a"]);
    assert!(shown.contains("claimed by  ann") && shown.contains("in use"), "{shown}");
    let create = ["stream", "create", "members", "-c", "email text merge unique", "--mode", "active-active"];
    world.node(1).ok(&[&create[..], &["--home", "2"]].concat());
    let homes = || world.node(1).ok(&["region", "homes"]);
    eventually(|| homes().contains("$claims.members").then_some(()), homes);
}

#[test]
fn a_region_that_is_cut_off_claims_nothing_and_keeps_what_it_may_have_given() {
    let world = world();
    assert_eq!(take(world.node(1), "1", "ann", "a").status, 200);
    in_all(&world, &[("ann", "a")]);
    world.lines_of(1).for_each(|line| Way::BOTH.into_iter().for_each(|way| line.cut(way)));
    assert_eq!(
        change(world.node(1), "2", "ann", Some(json!({"name": "Ann"}))).status,
        200,
        "REG-4: what is not unique needs nobody"
    );
    let (code, detail) = take(world.node(1), "3", "bob", "b").problem();
    assert_eq!(code, "not_ready");
    assert!(detail.contains("region 1 decides who has `b`, and does not answer"), "{detail}");
    // Region 2 may have accepted another change that gives `a` to this row, as far as others know.
    assert_eq!(take(world.node(2), "4", "ann", "c").status, 200);
    let told = || {
        let (code, detail) = take(world.node(2), "5", "eve", "a").problem();
        assert_eq!(code, "not_unique");
        detail.contains("which cannot be known now").then_some(detail)
    };
    let detail = eventually(told, || format!("{:?}", take(world.node(2), "5", "eve", "a")));
    assert!(detail.contains("what region 2 has accepted"), "{detail}");
    world.lines_of(1).for_each(Line::mend);
    let taken = || (take(world.node(2), "6", "eve", "a").status == 200).then_some(());
    eventually(taken, || format!("{:?}", take(world.node(2), "6", "eve", "a")));
    in_all(&world, &[("ann", "c"), ("eve", "a")]);
    // Another region decides from now on, and knows what was decided.
    let moved = ask(
        world.node(0),
        "POST",
        "/v1/regions/homes/move",
        &JSON,
        r#"{"streams": ["$claims.users"], "to": 3}"#,
    );
    assert_eq!(moved.status, 200, "{moved:?}");
    let refusal = || {
        let taken = take(world.node(1), "7", "bob", "a");
        assert_ne!(taken.status, 200, "`eve` has it");
        (taken.problem().0 == "not_unique").then_some(())
    };
    eventually(refusal, || format!("{:?}", take(world.node(1), "7", "bob", "a")));
    assert_eq!(take(world.node(1), "8", "bob", "b").status, 200);
    in_all(&world, &[("ann", "c"), ("bob", "b"), ("eve", "a")]);
}

#[test]
fn reg_1_no_value_has_two_rows_through_cuts_and_kills() {
    let mut world = world();
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    for round in 0..3 {
        stop.store(false, Ordering::SeqCst);
        let before = done.load(Ordering::SeqCst);
        std::thread::scope(|scope| {
            for (region, writer) in (0..3).flat_map(|region| (0..2).map(move |writer| (region, writer))) {
                let (world, stop, done) = (&world, &stop, &done);
                scope.spawn(move || {
                    let mut number = region * 7 + writer * 3 + round;
                    while !stop.load(Ordering::SeqCst) {
                        number += 1;
                        let (id, subject) =
                            (format!("{round}-{region}-{writer}-{number}"), format!("u{}", number % 5));
                        let email = format!("e{}", number * 3 % 4);
                        let node = world.node(region);
                        let reply = match number % 4 {
                            0 => change(node, &id, &subject, None),
                            1 => change(node, &id, &subject, Some(json!({"email": null}))),
                            _ => take(node, &id, &subject, &email),
                        };
                        assert!([200, 409, 503, 504].contains(&reply.status), "{reply:?}");
                        done.fetch_add(usize::from(reply.status == 200), Ordering::SeqCst);
                    }
                });
            }
            let more = |count: usize| {
                let enough = || (done.load(Ordering::SeqCst) > before + count).then_some(());
                eventually(enough, || "nothing is written".to_owned());
            };
            more(20);
            world.lines_of(round).for_each(|line| Way::BOTH.into_iter().for_each(|way| line.cut(way)));
            more(40);
            world.lines_of(round).for_each(Line::mend);
            more(60);
            stop.store(true, Ordering::SeqCst);
        });
        world.nodes[round].take().unwrap().kill();
        world.start(round);
    }
    // One more change that all have: then all have what came before, too.
    for region in 0..3 {
        let last = || {
            let subject = format!("last{region}");
            (take(world.node(region), &subject, &subject, &subject).status == 200).then_some(())
        };
        eventually(last, || world.node(region).get("/v1/status"));
    }
    let same = || {
        let all = [0, 1, 2].map(|region| rows(world.node(region)));
        let has_last =
            |rows: &BTreeMap<_, _>| (0..3).all(|region| rows.contains_key(&format!("last{region}")));
        (all[0] == all[1] && all[1] == all[2] && has_last(&all[0])).then(|| all[0].clone())
    };
    let rows = eventually(same, || format!("{:?}", [0, 1, 2].map(|region| rows(world.node(region)))));
    let mut holders: BTreeMap<&str, &str> = BTreeMap::new();
    for (subject, email) in &rows {
        let other = holders.insert(email, subject);
        assert_eq!(other, None, "`{email}` is `{subject}`'s, too: {rows:?}");
        assert_eq!(holder(world.node(0), email)["subject"], *subject, "{rows:?}");
    }
}
