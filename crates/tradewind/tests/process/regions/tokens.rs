//! Tokens across regions: who wrote in one region and reads in another sees the write, or hears by how much that region is behind.

use super::{REVENUE, World, run, said};
use crate::support::Node;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tw_testing::{Line, Quality, Way, eventually};

/// An answer of a node.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    token: String,
    body: String,
}

impl Reply {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The code and the text of a problem.
    pub(super) fn problem(&self) -> (String, String) {
        let problem = self.json();
        let text = |member: &str| problem[member].as_str().unwrap().to_owned();
        (text("code"), text("detail"))
    }
}

/// One request on a connection of its own.
pub(super) fn ask(node: &Node, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let address = node.url.strip_prefix("http://").unwrap();
    let mut connection = TcpStream::connect(address).unwrap();
    let mut head =
        format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {}\r\n", body.len());
    headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
    connection.write_all(format!("{head}\r\n{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    let mut token = lines
        .filter(|(name, _)| name.eq_ignore_ascii_case("tradewind-token"))
        .map(|(_, token)| token.to_owned());
    Reply { status, token: token.next_back().unwrap_or_default(), body: body.to_owned() }
}

fn with_token(token: &str) -> [(&str, &str); 1] {
    [("Tradewind-Token", token)]
}

/// Places an order; gives the token.
fn order(node: &Node, stream: &str, id: &str) -> String {
    let event = json!({
        "specversion": "1.0", "id": id, "source": "/tokens", "type": "order.placed", "subject": id,
        "data": { "customer": id, "total": 1 },
    });
    let kind = ("Content-Type", "application/cloudevents+json");
    let reply = ask(node, "POST", &format!("/v1/streams/{stream}/events"), &[kind], &event.to_string());
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.token, reply.json()["token"].as_str().unwrap());
    reply.token
}

/// The ways to read an order. Each answers how many there are.
const WAYS: [&str; 4] = ["projection", "rows", "page", "history"];

fn look(
    node: &Node,
    way: &str,
    stream: &str,
    id: &str,
    token: Option<&str>,
    timeout_ms: u64,
) -> Result<(u64, String), Reply> {
    let mut headers: Vec<(&str, &str)> = token.iter().map(|token| ("Tradewind-Token", *token)).collect();
    let query = |headers: &mut Vec<(&str, &str)>, sql: &str| {
        headers.push(("Content-Type", "text/plain"));
        let reply = ask(node, "POST", &format!("/v1/sql?timeout_ms={timeout_ms}"), headers, sql);
        let count = |reply: &Reply| reply.json()["rows"][0][0].as_u64().unwrap_or_default();
        (reply.status == 200).then(|| (count(&reply), reply.token.clone())).ok_or(reply)
    };
    let events = |headers: &[(&str, &str)], path: String| {
        let reply = ask(node, "GET", &path, headers, "");
        let count = |reply: &Reply| reply.json()["events"].as_array().unwrap().len() as u64;
        (reply.status == 200).then(|| (count(&reply), reply.token.clone())).ok_or(reply)
    };
    match way {
        "projection" => query(&mut headers, &format!("SELECT orders FROM revenue WHERE customer = '{id}'")),
        "rows" => query(&mut headers, &format!("SELECT count(*) FROM {stream} WHERE customer = '{id}'")),
        "page" => events(
            &headers,
            format!("/v1/streams/{stream}/events?limit=10000&subject={id}&timeout_ms={timeout_ms}"),
        ),
        _ => events(&headers, format!("/v1/streams/{stream}/subjects/{id}/events?timeout_ms={timeout_ms}")),
    }
}

/// Reads with a token, which must succeed.
fn see(node: &Node, way: &str, id: &str, token: &str) -> (u64, String) {
    look(node, way, "orders", id, Some(token), 30_000)
        .unwrap_or_else(|refused| panic!("{way} {id}: {refused:?}"))
}

/// Without a token a read in another region comes too early, again and again; with one, never.
#[test]
fn prj_2_a_write_in_one_region_is_seen_in_another_by_whoever_has_its_token() {
    let world = World::new();
    let (mut stale, mut rounds) = (0, 0);
    for number in 0..200 {
        let (way, id) = (WAYS[number % WAYS.len()], format!("o{number}"));
        let (from, to) = [(0, 1), (1, 2), (2, 0)][number % 3];
        let token = order(world.node(from), "orders", &id);
        assert!(token.starts_with(&format!("tw2;r{};{}@", from + 1, from + 1)), "{token}");
        // The control.
        let (early, _) = look(world.node(to), way, "orders", &id, None, 30_000).unwrap();
        stale += u64::from(early == 0);
        let (count, _) = see(world.node(to), way, &id, &token);
        assert_eq!(count, 1, "PRJ-2: `{id}`, written in region {}, by {way} in region {}", from + 1, to + 1);
        // Where it was written, too.
        assert_eq!(see(world.node(from), way, &id, &token).0, 1, "PRJ-2 at home: {way} {id}");
        rounds += 1;
    }
    assert_eq!(rounds, 200);
    assert!(
        stale > 100,
        "only {stale} of 200 reads without a token came too early: this test proves nothing"
    );
}

#[test]
fn prj_2_what_a_read_in_a_second_region_has_seen_is_seen_in_a_third() {
    let world = World::new();
    // Region 3 hears of region 1 late, and of region 2 soon.
    Way::BOTH
        .into_iter()
        .for_each(|way| world.lines[&(2, 0)].set(way, Quality::of_round_trip(Duration::from_millis(900))));
    let mut stale = 0;
    for number in 0..12 {
        let (way, id) = (WAYS[number % WAYS.len()], format!("o{number}"));
        let written = order(world.node(0), "orders", &id);
        let (count, _) = see(world.node(1), way, &id, &written);
        assert_eq!(count, 1);
        // What a reader in region 2 has seen that has never heard of the write.
        let reader = ["projection", "rows", "page"][number % 3];
        let (seen, token) = look(world.node(1), reader, "orders", &id, None, 30_000).unwrap();
        assert!(token.starts_with("tw2;r2;1@"), "{token}");
        stale += u64::from(look(world.node(2), way, "orders", &id, None, 30_000).unwrap().0 < seen);
        assert!(
            see(world.node(2), way, &id, &token).0 >= seen,
            "PRJ-2: {reader} in region 2, then {way} in region 3: {id}"
        );
    }
    assert!(stale > 5, "only {stale} of 12 reads without a token came too early: this test proves nothing");
}

#[test]
fn a_token_that_is_not_reached_in_time_is_refused_with_the_lag_and_the_link() {
    let world = World::new();
    let first = order(world.node(0), "orders", "first");
    assert_eq!(see(world.node(1), "rows", "first", &first).0, 1);
    let refused = |way: &str, id: &str, token: &str| {
        let asked = Instant::now();
        let reply = look(world.node(1), way, "orders", id, Some(token), 500).unwrap_err();
        assert!(asked.elapsed() < Duration::from_secs(10), "it takes {:?}", asked.elapsed());
        assert_eq!(reply.status, 504, "{reply:?}");
        reply
    };
    world.lines[&(1, 0)].cut(Way::Back);
    let token = order(world.node(0), "orders", "second");
    for way in WAYS {
        let reply = refused(way, "second", &token);
        let ((code, detail), problem) = (reply.problem(), reply.json());
        assert_eq!(code, "region_behind", "{way}: {detail}");
        assert_eq!(problem["region"], 1);
        let lag_ms = problem["lag_ms"].as_u64().unwrap();
        assert!((500..60_000).contains(&lag_ms), "{lag_ms}");
        for part in ["region 1 is behind", &format!("{lag_ms} ms ago"), "ask region 1", "without the token"] {
            assert!(detail.contains(part), "{way}: `{part}` in {detail}");
        }
    }
    // Once the silence is long enough, the link is down.
    let down = || refused("rows", "second", &token).problem().1.contains("`down`").then_some(());
    eventually(down, || refused("rows", "second", &token).problem().1);
    // What came before is here, whatever the link is.
    assert_eq!(see(world.node(1), "projection", "first", &first).0, 1);
    // Region 3 is not concerned.
    assert_eq!(see(world.node(2), "projection", "second", &token).0, 1);
    let waiting = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| see(world.node(1), "projection", "second", &token));
        world.lines[&(1, 0)].mend();
        waiting.join().unwrap()
    });
    assert_eq!(waiting.0, 1);
    // The same when the other region is stopped.
    let token = order(world.node(0), "orders", "third");
    assert_eq!(see(world.node(2), "rows", "third", &token).0, 1);
    world.node(0).send("-STOP");
    let seen_by_three = order(world.node(2), "orders", "fourth");
    let (count, read) =
        look(world.node(2), "rows", "orders", "fourth", Some(&seen_by_three), 30_000).unwrap();
    assert!(count == 1 && read.contains("1@") && read.contains("3@"), "{read}");
    world.node(0).send("-CONT");
    assert_eq!(see(world.node(1), "rows", "fourth", &read).0, 1);
}

/// What was seen of a region says nothing of a stream that is not exchanged with it yet.
#[test]
fn prj_2_a_stream_that_is_defined_in_the_second_region_only_now_is_waited_for() {
    let world = World::new();
    for number in 0..8 {
        let stream = format!("s{number}");
        let create = format!(
            "CREATE STREAM {stream} (customer text, total bigint) WITH (partitions = 2, mode = 'active-active')"
        );
        world.node(0).ok(&["sql", &create]);
        let token = order(world.node(0), &stream, "new");
        // Everything else of region 1 is here by then.
        let other = order(world.node(0), "orders", &stream);
        assert_eq!(see(world.node(1), "rows", &stream, &other).0, 1);
        // It has just been told of the stream, which begins to be exchanged only now.
        let is_there = || world.node(1).cli(&["stream", "show", &stream]).status.success().then_some(());
        eventually(is_there, || world.node(1).get("/v1/status"));
        let way = ["rows", "page", "history"][number % 3];
        let seen = look(world.node(1), way, &stream, "new", Some(&token), 30_000);
        assert_eq!(
            seen.unwrap_or_else(|refused| panic!("{way}: {refused:?}")).0,
            1,
            "PRJ-2: {stream} by {way}"
        );
    }
    // One that both have defined, while neither knew of the other, with other partitions is never exchanged, which is said.
    world.lines_of(1).for_each(|line| Way::BOTH.into_iter().for_each(|way| line.cut(way)));
    for (region, partitions) in [(0, 1), (1, 2)] {
        let create = format!(
            "CREATE STREAM differs (customer text, total bigint) WITH (partitions = {partitions}, mode = 'active-active')"
        );
        world.node(region).ok(&["sql", &create]);
    }
    world.lines_of(1).for_each(Line::mend);
    let told = || world.node(1).get("/v1/status").contains("numbers of partitions differ").then_some(());
    eventually(told, || world.node(1).get("/v1/status"));
    let token = order(world.node(0), "differs", "one");
    let reply = look(world.node(1), "rows", "differs", "one", Some(&token), 1_000).unwrap_err();
    let (code, detail) = reply.problem();
    assert!(
        code == "region_behind" && detail.contains("`differs` is not exchanged with region 1"),
        "{code}: {detail}"
    );
}

#[test]
fn a_token_or_a_place_of_another_region_is_never_taken_for_one_of_this_region() {
    let world = World::new();
    world.node(0).ok(&["sql", "CREATE STREAM notes"]);
    world.node(1).ok(&["sql", "CREATE STREAM notes"]);
    let token = order(world.node(0), "orders", "o1");
    let local = order(world.node(0), "notes", "n1");
    assert!(local.starts_with("tw2;r1;;"), "{local}");
    let refusal = |region: usize, path: &str, headers: &[(&str, &str)]| {
        let reply = ask(world.node(region), "GET", path, headers, "");
        let (code, detail) = reply.problem();
        assert_eq!((reply.status, code.as_str()), (409, "other_region"), "{path}: {detail}");
        detail
    };
    let events = "/v1/streams/orders/events";
    // What stays in its region, a region that nobody knows, a place.
    assert!(refusal(1, events, &with_token(&local)).contains("where the streams are not"));
    let unknown = refusal(1, events, &with_token("tw2;r9;9@1780000000000.0;7=0:1"));
    assert!(unknown.contains("no link with region 9") && unknown.contains("given in region 9"), "{unknown}");
    let page = ask(world.node(0), "GET", &format!("{events}?limit=1"), &[], "");
    let next = page.json()["next"].as_str().unwrap().to_owned();
    assert_eq!(next, page.token);
    assert!(refusal(1, &format!("{events}?from={next}"), &[]).contains("other offsets"));
    assert!(refusal(1, events, &[("Last-Event-ID", next.as_str())]).contains("read on in the region"));
    // At home all of them are good; so is a place of the time before there were regions.
    for from in [next.clone(), token.clone(), format!("tw1;{}", next.rsplit(';').next().unwrap())] {
        let reply = ask(world.node(0), "GET", &format!("{events}?from={from}"), &with_token(&local), "");
        assert_eq!(reply.status, 200, "{from}: {reply:?}");
        assert!(reply.json()["events"].as_array().unwrap().is_empty(), "{from}");
    }
    // An installation that is no region.
    let folder = TempDir::new().unwrap();
    let alone = Node::start(folder.path());
    alone.ok(&["sql", "CREATE STREAM orders (customer text, total bigint) WITH (partitions = 3)"]);
    alone.ok(&["sql", REVENUE]);
    for way in WAYS {
        let (code, detail) = look(&alone, way, "orders", "o1", Some(&token), 1_000).unwrap_err().problem();
        assert!(code == "other_region" && detail.contains("is no region"), "{way}: {detail}");
    }
    assert!(order(&alone, "orders", "o1").starts_with("tw1;"));
    let refused = run(&["sql", "SELECT 1", "--token", "tw2;r1;x", "--url", &alone.url]);
    assert!(said(&refused).contains("is not a token"), "{}", said(&refused));
}
