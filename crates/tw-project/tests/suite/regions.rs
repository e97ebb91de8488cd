//! Streams that are written in several regions: what their projections show, and what they must not use.

use crate::support::Node;
use expect_test::expect;
use tw_log::{Foreign, Log, NewStream};
use tw_project::{Catalog, Follower};
use tw_types::{Epoch, Hlc, Origin, RegionId, Sequence, StreamMode, StreamOptions};

const REGIONS: u16 = 3;
const SUBJECTS: [&str; 4] = ["ann", "bob", "cid", "dan"];

/// An event, and the region that has accepted it.
struct Accepted {
    subject: &'static str,
    json: String,
    foreign: Foreign,
}

/// What each region has accepted. One event in seven has no result in a projection that divides by it; the same moments come in
/// every region.
fn accepted() -> Vec<Vec<Accepted>> {
    let one = |region: u16, number: u64| {
        let sequence = Sequence(number + 1);
        Accepted {
            subject: SUBJECTS[(number as usize * 3 + usize::from(region)) % SUBJECTS.len()],
            json: format!(r#"{{"n":{},"t":"{region}-{number}"}}"#, (number + u64::from(region)) % 7),
            foreign: Foreign {
                origin: Origin { region: RegionId(region), epoch: Epoch(1), sequence },
                first_hlc: Hlc::new(1_000 + number / 2, (number % 2) as u16),
            },
        }
    };
    (1..=REGIONS).map(|region| (0..20).map(|number| one(region, number)).collect()).collect()
}

/// A node that has received the events of the regions, so many of each at a time, from the last region on or from the first.
fn node(mode: &str, views: &[(&str, &str)], at_once: usize, backwards: bool) -> Node {
    let mut node = Node::new();
    node.run(&format!("CREATE STREAM s (n integer, t text) WITH (partitions = 2, mode = '{mode}')"));
    for (name, query) in views {
        node.run(&format!("CREATE PROJECTION {name} AS {query}"));
    }
    let accepted = accepted();
    for start in (0..20).step_by(at_once) {
        let mut regions: Vec<&Vec<Accepted>> = accepted.iter().collect();
        if backwards {
            regions.reverse();
        }
        for Accepted { subject, json, foreign } in
            regions.into_iter().flat_map(|events| events.iter().skip(start).take(at_once))
        {
            node.append_foreign("s", subject, json, *foreign);
        }
    }
    node
}

#[test]
fn reg_1_regions_that_have_received_the_same_events_answer_the_same() {
    let views = [
        (
            "shown",
            "SELECT _subject AS who, first(t) AS first, last(t) AS last, array_agg(t) AS all FROM s GROUP BY _subject",
        ),
        (
            "sums",
            "SELECT _partition AS part, n, count(*) AS c, max(_hlc) AS at FROM s GROUP BY _partition, n",
        ),
        ("rows", "SELECT t, _hlc FROM s WHERE n > 1"),
    ];
    let here = node("active-active", &views, 3, false);
    let there = node("active-active", &views, 7, true);
    for (name, _) in views {
        let query = format!("SELECT * FROM {name}");
        assert_eq!(here.query(&query), there.query(&query), "{name}");
    }
    // Regions are in order where times are equal.
    expect![[r#"["1-0","3-19"]"#]]
        .assert_eq(&here.query("SELECT min(first) AS first, max(last) AS last FROM shown"));
}

/// The control is a stream of one region, where an event that has no result keeps those of its subject waiting that came behind it:
/// other ones in each region.
#[test]
fn reg_1_an_event_that_is_rejected_keeps_none_waiting_that_came_before_it_elsewhere() {
    let views = [(
        "parts",
        "SELECT _subject AS who, sum(840 / n) AS parts, array_agg(t) AS all FROM s GROUP BY _subject",
    )];
    let shown =
        |mode: &str, at_once, backwards| node(mode, &views, at_once, backwards).query("SELECT * FROM parts");
    let here = shown("active-active", 3, false);
    assert_eq!(here, shown("active-active", 7, true));
    assert!(here.contains("3-19"), "{here}");
    assert_ne!(shown("local", 3, false), shown("local", 7, true));
}

#[test]
fn reg_1_what_differs_from_region_to_region_is_refused_at_create() {
    let mut node = Node::new();
    node.run("CREATE STREAM s (n integer) WITH (mode = 'active-active')");
    let all: Vec<String> = [
        "SELECT n, _offset FROM s",
        "SELECT * FROM s",
        "SELECT n FROM s WHERE _version = 1",
        "SELECT _subject AS who, last(data ->> 'n' ORDER BY _version) AS n FROM events.s GROUP BY _subject",
    ]
    .iter()
    .map(|sql| node.refused(&format!("CREATE PROJECTION p AS {sql}")))
    .collect();
    expect![[r#"
        not supported in a projection of `s`: `_offset`: the stream is active-active, and this column differs from region to region: name the columns that you need instead of *, and put events in order by `_hlc`
        not supported in a projection of `s`: `_offset`: the stream is active-active, and this column differs from region to region: name the columns that you need instead of *, and put events in order by `_hlc`
        not supported in a projection of `s`: `_version`: the stream is active-active, and this column differs from region to region: name the columns that you need instead of *, and put events in order by `_hlc`
        not supported in a projection of `s`: `_version`: the stream is active-active, and this column differs from region to region: name the columns that you need instead of *, and put events in order by `_hlc`"#]].assert_eq(&all.join("\n"));
    node.run("CREATE PROJECTION p AS SELECT n FROM s");
    node.refused("CREATE OR REPLACE PROJECTION p AS SELECT n, _version FROM s");
    // Queries are asked of one region.
    expect![[r#"[0]"#]].assert_eq(&node.query("SELECT count(_offset) AS n FROM s"));
}

#[test]
fn reg_1_a_stream_cannot_become_active_active_while_a_projection_would_differ() {
    let mut node = Node::new();
    node.run("CREATE STREAM s (n integer) WITH (partitions = 2)");
    node.run("CREATE PROJECTION fine AS SELECT _subject AS who, last(n) AS n FROM s GROUP BY _subject");
    node.run("CREATE PROJECTION latest AS SELECT n, _version FROM s");
    node.append("s", "t", Some("ann"), r#"{"n":1}"#);
    expect!["`s` cannot become active-active: the projection `latest` uses `_version`, which would differ from region to region: drop the projection, or replace it by one without that column"].assert_eq(&node.refused("ALTER STREAM s SET (mode = 'active-active')"));
    // So it is where no statement says it.
    let mut catalog = Catalog::new(node.log.streams());
    pollster::block_on(Follower::new(node.log.clone()).catch_up(&mut catalog)).unwrap();
    let before = catalog.streams().get("s").unwrap();
    let options = StreamOptions { mode: StreamMode::ActiveActive, ..before.options.clone() };
    let (schema, plain) = (before.schema.clone(), NewStream::plain(before.name.clone(), 2));
    let error = catalog.check_altered_stream(&NewStream { schema, options, ..plain }).unwrap_err();
    assert!(error.to_string().starts_with("`s` cannot become active-active"), "{error}");
    node.run("ALTER STREAM s SET (retention_ms = 60000)");
    node.run("DROP PROJECTION latest");
    node.run("ALTER STREAM s SET (mode = 'active-active')");
    node.append("s", "t", Some("ann"), r#"{"n":2}"#);
    expect![[r#"["ann",2]"#]].assert_eq(&node.query("SELECT * FROM fine"));
    // Back in one region everything is allowed again.
    node.run("ALTER STREAM s SET (mode = 'local')");
    node.run("CREATE PROJECTION latest AS SELECT n, _version FROM s");
}
