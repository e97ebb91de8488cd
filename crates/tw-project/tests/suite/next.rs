//! What is built anew of a projection is a table of its own, and is compared with what answers.

use crate::support::node::Node;
use expect_test::expect;
use std::time::Duration;

const OLD: &str = "SELECT page, count(*) AS n FROM clicks GROUP BY page";
const NEW: &str = "SELECT page, count(*) AS n, max(ms) AS high FROM clicks WHERE ms > 5 GROUP BY page";

/// A projection of which a new version waits.
fn held() -> Node {
    let mut node = Node::new();
    node.run("CREATE STREAM clicks (page text NOT NULL, ms integer) WITH (partitions = 3)");
    for (subject, json) in [
        ("ann", r#"{"page":"home","ms":10}"#),
        ("bob", r#"{"page":"home","ms":30}"#),
        ("cid", r#"{"page":"cart","ms":null}"#),
        ("ann", r#"{"page":"cart","ms":7}"#),
        ("dan", r#"{"page":"help","ms":1}"#),
    ] {
        node.append("clicks", "click", Some(subject), json);
    }
    node.run(&format!("CREATE PROJECTION pages AS {OLD}"));
    assert!(node.run("HOLD PROJECTION pages").ends_with("will wait until it is released"));
    assert_eq!(node.run("HOLD PROJECTION pages"), "projection `pages` is held already");
    node.run(&format!("CREATE OR REPLACE PROJECTION pages AS {NEW}"));
    until(&node, || node.handle.status_of("projection/pages").unwrap().building.unwrap().ready);
    node
}

fn until(node: &Node, mut holds: impl FnMut() -> bool) {
    let changed = node.handle.changed("projection/pages").unwrap();
    loop {
        let seen = changed.get();
        if holds() {
            return;
        }
        assert!(changed.wait_over(seen, Duration::from_secs(60)) > seen);
    }
}

/// The rows of a comparison.
fn compared(node: &Node, filter: Option<&str>, rows_max: u64) -> String {
    node.query(&node.engine.comparison("pages", filter, rows_max).unwrap().sql)
}

#[test]
fn prj_1_what_is_built_anew_is_a_table_until_it_takes_over() {
    let mut node = held();
    expect![[r#"
        ["cart",2]
        ["help",1]
        ["home",2]"#]]
    .assert_eq(&node.query("SELECT * FROM pages"));
    let next = "SELECT * FROM next.pages";
    expect![[r#"
        ["cart",1,7]
        ["home",2,30]"#]]
    .assert_eq(&node.query(next));
    assert_eq!(node.query("SELECT high FROM next.pages WHERE page = 'home'"), "[30]");
    assert!(node.run("DESCRIBE next.pages").contains("high"));
    assert!(!node.run("DESCRIBE pages").contains("high"));
    // Both are read at the same events.
    node.append("clicks", "click", Some("eve"), r#"{"page":"home","ms":50}"#);
    let both = "SELECT o.n, p.n, p.high FROM pages o JOIN next.pages p ON o.page = p.page";
    expect![[r#"
        [2,1,7]
        [3,3,50]"#]]
    .assert_eq(&node.query(both));
    node.run("RELEASE PROJECTION pages");
    until(&node, || node.handle.status_of("projection/pages").unwrap().building.is_none());
    expect![[r#"
        ["cart",1,7]
        ["home",3,50]"#]]
    .assert_eq(&node.query("SELECT * FROM pages"));
    let refused = node.try_query(next, &[]).unwrap_err().to_string();
    assert_eq!(refused, "`pages` cannot be read: no new version of it is being built");
}

#[test]
fn two_versions_are_compared_row_by_row() {
    let node = held();
    let comparison = node.engine.comparison("pages", None, 10).unwrap();
    assert_eq!((comparison.old.as_str(), comparison.new.as_str()), (OLD, NEW));
    assert_eq!(
        (comparison.keys, comparison.columns),
        (vec!["page".to_owned()], vec!["page".into(), "n".into()])
    );
    assert_eq!((comparison.only_old_columns, comparison.only_new_columns), (vec![], vec!["high".to_owned()]));
    // Of both the rows, the same ones, the keys that differ, those of one alone; then each row that differs.
    expect![[r#"
        ["3","2","1",1,"1","0",1,0,"cart",2]
        ["3","2","1",1,"1","0",0,1,"cart",1]
        ["3","2","1",1,"1","0",1,0,"help",1]"#]]
    .assert_eq(&compared(&node, None, 10));
    expect![[r#"["1","1","1",null,null,null,null,null,null,null]"#]].assert_eq(&compared(
        &node,
        Some("page = 'home' -- or all"),
        10,
    ));
    expect![[r#"["3","2","1",1,"1","0",null,null,null,null]"#]].assert_eq(&compared(&node, None, 0));
    for condition in [
        "n > 1) OR (n < 1",
        "n > 1 GROUP BY page",
        "n > 1; DROP PROJECTION pages",
        "n >",
        "true UNION SELECT 1",
    ] {
        assert!(node.engine.comparison("pages", Some(condition), 1).is_err(), "{condition}");
    }
}

#[test]
fn going_back_to_what_answers_gives_up_what_is_built() {
    let mut node = held();
    let said = node.run(&format!("CREATE OR REPLACE PROJECTION pages AS {OLD}"));
    assert_eq!(said, "projection `pages` stays as it answers, what is built anew is given up");
    until(&node, || node.handle.status_of("projection/pages").unwrap().building.is_none());
    assert!(node.try_query("SELECT * FROM next.pages", &[]).is_err());
    expect![[r#"
        ["cart",2]
        ["help",1]
        ["home",2]"#]]
    .assert_eq(&node.query("SELECT * FROM pages"));
    node.run(&format!("CREATE OR REPLACE PROJECTION pages AS {NEW}"));
    until(&node, || node.handle.status_of("projection/pages").unwrap().building.is_some_and(|one| one.ready));
    node.restart(true);
    until(&node, || node.handle.status_of("projection/pages").unwrap().building.is_some_and(|one| one.ready));
    assert!(node.query("SELECT * FROM pages").contains(r#"["help",1]"#), "it is still held");
}

#[test]
fn only_projections_have_a_next_version() {
    let mut node = held();
    assert!(node.try_query("SELECT * FROM next.clicks", &[]).unwrap_err().to_string().contains("no table"));
    assert!(
        node.refused("CREATE PROJECTION more AS SELECT count(*) AS n FROM next.pages")
            .contains("read its stream")
    );
    assert!(node.refused("CREATE STREAM next.pages (a integer)").contains("next"));
    assert!(node.refused("HOLD PROJECTION nothing").contains("nothing"));
}
