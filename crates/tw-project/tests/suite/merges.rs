//! Streams whose rows are merged, as statements see them.

use crate::support::Node;
use expect_test::expect;
use tw_log::Log as _;
use tw_project::Verdict;
use tw_types::{Data, Offset, PartitionId, RegionId, Stored, StreamPartition};

const PLAYERS: &str = "CREATE STREAM players (name text, best integer MERGE max, low numeric(6,2) MERGE min, visits bigint NOT NULL MERGE counter, \
     money numeric(9,2) NOT NULL MERGE counter, tags json NOT NULL MERGE set) WITH (partitions = 2)";

fn players() -> Node {
    let mut node = Node::new();
    node.run(PLAYERS);
    for (subject, change) in [
        (
            "ann",
            r#"{"name": "Ann", "best": 7, "low": 7.5, "visits": 1, "money": "2.50", "tags": {"add": ["a", 3, "b"]}}"#,
        ),
        ("bob", r#"{"visits": 2}"#),
        ("ann", r#"{"best": 4, "low": "7.25", "visits": -3, "money": 1, "tags": {"remove": ["a"]}}"#),
        ("cid", r#"{"name": "Cid", "best": null}"#),
        ("cid", ""),
        ("[dan]", r#"{"name": "Dan", "tags": {"add": ["\"q\""]}}"#),
        ("bob", r#"{"name": null, "best": -1}"#),
    ] {
        node.append("players", "player", Some(subject), change);
    }
    node
}

#[test]
fn a_stream_with_classes_is_a_table_of_rows() {
    let mut node = players();
    expect![[r#"
        ["[dan]","Dan",null,null,0,"0.00",["\"q\""]]
        ["ann","Ann",7,"7.25",-2,"3.50",[3,"b"]]
        ["bob",null,-1,null,2,"0.00",[]]"#]]
    .assert_eq(&node.query("SELECT * FROM players ORDER BY _subject"));
    expect![[r#"["Ann",-2]"#]]
        .assert_eq(&node.query("SELECT name, visits FROM players WHERE _subject = 'ann'"));
    expect![[r#"["Dan"]"#]].assert_eq(&node.query("SELECT name FROM players WHERE _subject = '[dan]'"));
    expect![[r#"
        ["_subject","text",false,true,null,null]
        ["name","text",true,false,null,"lww"]
        ["best","integer",true,false,null,"max"]
        ["low","numeric(6,2)",true,false,null,"min"]
        ["visits","bigint",false,false,null,"counter"]
        ["money","numeric(9,2)",false,false,null,"counter"]
        ["tags","json",false,false,null,"set"]"#]]
    .assert_eq(&node.run("DESCRIBE players"));
    expect!["[7]"].assert_eq(&node.query("SELECT count(*) AS n FROM events.players"));
}

#[test]
fn prj_1_projections_of_merged_rows_follow_every_change_of_a_row() {
    let mut node = players();
    node.run("CREATE PROJECTION names AS SELECT name, count(*) AS n, sum(visits) AS v, sum(money) AS m FROM players GROUP BY name");
    node.run("CREATE PROJECTION good AS SELECT _subject AS who, best FROM players WHERE best > 0");
    let same = |node: &Node, round: &str| {
        let kept = node.query("SELECT * FROM names ORDER BY name");
        let computed = node.query("SELECT name, count(*) AS n, sum(visits) AS v, sum(money) AS m FROM players GROUP BY name ORDER BY name");
        assert_eq!(kept, computed, "{round}");
        let kept = node.query("SELECT * FROM good ORDER BY who");
        let computed = node.query("SELECT _subject AS who, best FROM players WHERE best > 0 ORDER BY who");
        assert_eq!(kept, computed, "{round}");
    };
    same(&node, "first");
    for (subject, change) in [
        ("ann", r#"{"name": "Bea", "visits": 10}"#),
        ("ann", ""),
        ("ann", r#"{"visits": 1, "best": 2}"#),
        ("eve", r#"{"name": "Bea"}"#),
        ("bob", r#"{"name": "Bea", "money": "-0.01"}"#),
    ] {
        node.append("players", "player", Some(subject), change);
        same(&node, change);
    }
    node.restart(true);
    same(&node, "after a restart");
    node.restart(false);
    same(&node, "built anew");
}

#[test]
fn an_event_that_is_no_change_is_parked_and_the_row_stays() {
    let mut node = players();
    node.append("players", "player", Some("ann"), r#"{"visits": "many"}"#);
    node.append("players", "player", None, r#"{"visits": 1}"#);
    node.append("players", "player", Some("ann"), r#"{"visits": 1}"#);
    expect!["[-1]"].assert_eq(&node.query("SELECT visits FROM players WHERE _subject = 'ann'"));
}

#[test]
fn classes_that_cannot_work_are_refused_with_the_remedy() {
    let mut node = Node::new();
    let all: Vec<String> = [
        "CREATE STREAM s (a text MERGE newest)",
        "CREATE STREAM s (a text NOT NULL MERGE lww)",
        "CREATE STREAM s (a integer MERGE max, b text NOT NULL)",
        "CREATE STREAM s (a text MERGE max)",
        "CREATE STREAM s (a bigint MERGE counter)",
        "CREATE STREAM s (a double precision NOT NULL MERGE counter)",
        "CREATE STREAM s (a text[] NOT NULL MERGE set)",
        "CREATE STREAM s (a text NOT NULL MERGE set)",
        "CREATE STREAM s (a numeric(9,2) NOT NULL MERGE reserve)",
        "CREATE STREAM s (a text MERGE unique)",
        "CREATE STREAM s (a text MERGE unique) WITH (mode = 'active-active')",
        "CREATE STREAM s (a json MERGE unique) WITH (mode = 'active-active', home = 1)",
        "CREATE STREAM s (a text MERGE custom) WITH (mode = 'active-active')",
        "CREATE STREAM s (a double precision MERGE custom (new))",
        "CREATE STREAM s (a integer MERGE custom (older + new))",
        "CREATE STREAM s (a integer NOT NULL MERGE custom (new))",
        "CREATE STREAM s (a bigint MERGE max) WITH (retention_ms = 10000)",
        "CREATE STREAM s (a bigint MERGE max) WITH (cleanup = 'compact')",
    ]
    .iter()
    .map(|sql| node.refused(sql))
    .collect();
    expect![[r#"
        unknown class `newest`: use lww, max, min, counter, set, reserve, unique or custom (expression) (line 1, column 31)
        the column `a` cannot be NOT NULL: a change may leave it out, and a delete that another region has seen may take it away: leave NOT NULL out
        the column `b` cannot be NOT NULL: a change may leave it out, and a delete that another region has seen may take it away: leave NOT NULL out
        field `a` cannot be `max`: the order of texts depends on the language and on the version of its rules; use a number, a date or bytea, or the class `lww`
        field `a` cannot be `counter`: it is 0 without a change, and never null; declare it not null
        field `a` cannot be `counter`: a sum of floating point numbers depends on the order in which they are added; use bigint or numeric(p,s)
        unknown column type `TEXT[]`: use boolean, smallint, integer, bigint, real, double precision, numeric(p,s), text, bytea, date, time, timestamp, timestamptz, interval, uuid or json (line 1, column 20)
        field `a` cannot be `set`: a set is an array of texts or whole numbers; declare the field as json
        field `a` cannot be `reserve`: one region writes this stream and can check the quantity by itself; use `lww`, or make the stream active-active
        field `a` cannot be `unique`: values are claimed in streams that regions share; create the stream WITH (mode = 'active-active', home = 1), which works in one region, too
        the column `a` is `unique`, and it is not said which region decides who has a value: create the stream WITH (home = 1), which may be any region and can be moved later
        field `a` cannot be `unique`: a value of this type may be written in several ways, and each would be a value of its own; use text, a whole number, numeric, date or uuid
        expected `(` and an expression over `old` and `new`, found `)` (line 1, column 37)
        field `a` cannot be `custom(new)`: what floating point functions give differs between machines in the last digit; use bigint or numeric(p,s)
        column `a`: there is no column `older`: did you mean `old`?
        the column `a` cannot be NOT NULL: a change may leave it out, and a delete that another region has seen may take it away: leave NOT NULL out
        rows that are merged need all changes: leave retention out
        rows that are merged need all changes: use the cleanup `delete` instead of `compact`"#]].assert_eq(&all.join("\n"));
    node.run("CREATE STREAM plain (a integer)");
    node.run("CREATE STREAM merged (a integer MERGE max)");
    let all: Vec<String> = [
        "ALTER STREAM plain ADD COLUMN b integer MERGE max",
        "ALTER STREAM merged ADD COLUMN b text NOT NULL",
        "ALTER STREAM merged SET (retention_ms = 10000)",
        "ALTER STREAM merged SET (cleanup = 'compact')",
        "CREATE PROJECTION p AS SELECT _offset FROM merged",
    ]
    .iter()
    .map(|sql| node.refused(sql))
    .collect();
    expect![[r#"
        the new column `b` cannot have a class: the other columns have none, so the stream's events are no changes of rows: create another stream
        the column `b` cannot be NOT NULL: a change may leave it out, and a delete that another region has seen may take it away: leave NOT NULL out
        rows that are merged need all changes: leave retention out
        rows that are merged need all changes: use the cleanup `delete` instead of `compact`
        there is no column `_offset`: there is `a`"#]].assert_eq(&all.join("\n"));
    node.run("ALTER STREAM merged ADD COLUMN b text");
    node.run("ALTER STREAM merged SET (mode = 'active-active')");
}

/// What changes of a row come to, when `since` were made after what the view has.
fn verdict(node: &Node, subject: &str, changes: &[&str]) -> Verdict {
    let streams = node.log.streams();
    let mut row = node.engine.merged_row(streams.get("goods").unwrap(), subject).unwrap();
    let changes: Vec<Data<&[u8]>> = changes
        .iter()
        .map(|json| if json.is_empty() { Data::None } else { Data::Json(json.as_bytes()) })
        .collect();
    row.admit(&changes)
}

#[test]
fn a_reserve_is_taken_from_as_long_as_there_is_some() {
    let mut node = Node::new();
    node.run("CREATE STREAM goods (name text, stock numeric(9,1) NOT NULL MERGE reserve) WITH (mode = 'active-active')");
    node.append("goods", "in", Some("apple"), r#"{"name": "Apple", "stock": 7.5}"#);
    node.append("goods", "out", Some("apple"), r#"{"stock": "-2.5"}"#);
    expect![[r#"["Apple","5.0"]"#]].assert_eq(&node.query("SELECT name, stock FROM goods"));
    let take = r#"{"stock": -2}"#;
    assert_eq!(verdict(&node, "apple", &[take, take]), Verdict::Admitted);
    assert_eq!(verdict(&node, "apple", &[take, take, r#"{"stock": 1}"#, take]), Verdict::Admitted);
    let Verdict::Refused(why) = verdict(&node, "apple", &[take, take, take]) else { panic!() };
    expect![
        "column `stock` has 1.0, of which region 0 may use 1.0, not 2.0: take less, or put more in first"
    ]
    .assert_eq(&why);
    let Verdict::Refused(why) = verdict(&node, "pear", &[take]) else { panic!() };
    expect![
        "column `stock` has 0.0, of which region 0 may use 0.0, not 2.0: take less, or put more in first"
    ]
    .assert_eq(&why);
    let to_itself = r#"{"stock": {"transfer": 1, "to": 0}}"#;
    let Verdict::Refused(why) = verdict(&node, "apple", &[to_itself]) else { panic!() };
    expect!["column `stock`: the rights are to go to region 0, which has them: name another one"]
        .assert_eq(&why);
    assert_eq!(verdict(&node, "apple", &[""]), Verdict::Admitted, "nobody else has rights");
    // What is given away is another region's, which has to give it back first.
    node.append("goods", "give", Some("apple"), r#"{"stock": {"transfer": 4, "to": 3}}"#);
    expect![[r#"["Apple","5.0"]"#]].assert_eq(&node.query("SELECT name, stock FROM goods"));
    let Verdict::Ask(lack) = verdict(&node, "apple", &[take]) else { panic!() };
    assert_eq!((lack.column.as_str(), lack.of), ("stock", vec![(RegionId(3), 10)]));
    let Verdict::Ask(lack) = verdict(&node, "apple", &[""]) else { panic!() };
    assert_eq!(lack.of, [(RegionId(3), 40)]);
}

#[test]
fn a_row_that_its_view_does_not_have_yet_is_made_of_its_changes() {
    let mut node = Node::new();
    node.run("CREATE STREAM goods (stock integer NOT NULL MERGE reserve) WITH (mode = 'active-active', partitions = 1)");
    node.append("goods", "in", Some("apple"), r#"{"stock": 7}"#);
    assert_eq!(node.query("SELECT stock FROM goods"), "[7]");
    for view in node.handle.status() {
        node.handle.pause(&view.name).unwrap();
    }
    node.append("goods", "in", Some("apple"), r#"{"stock": 2}"#);
    let streams = node.log.streams();
    let stream = streams.get("goods").unwrap();
    let at = StreamPartition::new(stream.id, PartitionId(0));
    let blocks = pollster::block_on(node.log.read(at, Offset::ZERO, 1 << 20)).unwrap();
    let mut all: Vec<Stored> = Vec::new();
    for block in &blocks {
        let records = block.records().unwrap();
        all.extend(records.iter().unwrap().map(|record| record.unwrap().to_owned(PartitionId(0))));
    }
    let mut row = node.engine.merged_row(stream, "apple").unwrap();
    assert!(row.holds(&all[0]) && !row.holds(&all[1]), "the view rests");
    let take = [Data::Json(&br#"{"stock": -9}"#[..])];
    assert!(matches!(row.admit(&take), Verdict::Refused(_)));
    row.take(&all[1]).unwrap();
    assert_eq!(row.rights()[0].quantity, serde_json::json!(9));
    assert_eq!(row.admit(&take), Verdict::Admitted);
}
