//! Streams whose rows are merged, as statements see them.

use crate::support::Node;
use expect_test::expect;

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
        "CREATE STREAM s (a bigint MERGE max) WITH (retention_ms = 10000)",
        "CREATE STREAM s (a bigint MERGE max) WITH (cleanup = 'compact')",
    ]
    .iter()
    .map(|sql| node.refused(sql))
    .collect();
    expect![[r#"
        unknown class `newest`: use lww, max, min, counter, set, reserve, unique or custom(name@version), with a name of up to 64 letters, digits, `_` and `-` and a version from 1 (line 1, column 31)
        the column `a` cannot be NOT NULL: a change may leave it out, and a delete that another region has seen may take it away: leave NOT NULL out
        the column `b` cannot be NOT NULL: a change may leave it out, and a delete that another region has seen may take it away: leave NOT NULL out
        field `a` cannot be `max`: the order of texts depends on the language and on the version of its rules; use a number, a date or bytea, or the class `lww`
        field `a` cannot be `counter`: it is 0 without a change, and never null; declare it not null
        field `a` cannot be `counter`: a sum of floating point numbers depends on the order in which they are added; use bigint or numeric(p,s)
        unknown column type `TEXT[]`: use boolean, smallint, integer, bigint, real, double precision, numeric(p,s), text, bytea, date, time, timestamp, timestamptz, interval, uuid or json (line 1, column 20)
        field `a` cannot be `set`: a set is an array of texts or whole numbers; declare the field as json
        the column `a` cannot be `reserve`: that class is not offered yet: use lww, max, min, counter or set
        the column `a` cannot be `unique`: that class is not offered yet: use lww, max, min, counter or set
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
