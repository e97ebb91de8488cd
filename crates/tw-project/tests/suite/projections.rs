//! Projections end to end.

use crate::support::Node;
use expect_test::expect;

fn clicks() -> Node {
    let mut node = Node::new();
    node.run(
        "CREATE STREAM clicks (page text NOT NULL, ms integer, price numeric(10,2)) WITH (partitions = 3)",
    );
    for (subject, json) in [
        ("ann", r#"{"page":"home","ms":10,"price":1.50}"#),
        ("bob", r#"{"page":"home","ms":30,"price":2.25}"#),
        ("cid", r#"{"page":"cart","ms":null,"price":100}"#),
        ("ann", r#"{"page":"cart","ms":7}"#),
    ] {
        node.append("clicks", "click", Some(subject), json);
    }
    node
}

#[test]
fn prj_1_groups_over_several_partitions_are_put_together() {
    let mut node = clicks();
    node.run(
        "CREATE PROJECTION pages AS SELECT page, count(*) AS clicks, count(ms) AS timed, sum(price) AS total,
            avg(ms) AS mean, min(ms) AS low, max(ms) AS high, count(DISTINCT _subject) AS people
         FROM clicks GROUP BY page",
    );
    expect![[r#"
        ["cart",2,1,"100.00","7",7,7,2]
        ["home",2,2,"3.75","20",10,30,2]"#]]
    .assert_eq(&node.query("SELECT * FROM pages"));
    node.append("clicks", "click", Some("dan"), r#"{"page":"cart","ms":1,"price":0.01}"#);
    expect![[r#"["cart",3,"100.01",1]"#]]
        .assert_eq(&node.query("SELECT page, clicks, total, low FROM pages WHERE page = 'cart'"));
    expect![[r#"["cart",3]"#]].assert_eq(&node.query("SELECT page, clicks FROM pages WHERE clicks > 2"));
}

#[test]
fn prj_1_filter_map_and_having_follow_the_statement() {
    let mut node = clicks();
    node.run("CREATE PROJECTION dear AS SELECT upper(page) AS page, price * 2 AS twice FROM clicks WHERE price > 2");
    node.run("CREATE PROJECTION busy AS SELECT page, count(*) FROM clicks WHERE ms > 5 GROUP BY page HAVING count(*) > 1");
    expect![[r#"
        ["CART","200.00"]
        ["HOME","4.50"]"#]]
    .assert_eq(&node.query("SELECT * FROM dear"));
    expect![[r#"["home",2]"#]].assert_eq(&node.query("SELECT * FROM busy"));
    node.append("clicks", "click", Some("dan"), r#"{"page":"cart","ms":8}"#);
    expect![[r#"
        ["cart",2]
        ["home",2]"#]]
    .assert_eq(&node.query("SELECT * FROM busy"));
}

#[test]
fn prj_1_first_last_and_lists_follow_the_order_of_the_log() {
    let mut node = clicks();
    node.run(
        "CREATE PROJECTION people AS SELECT _subject AS who, first(page) AS first, last(page) AS last,
            array_agg(ms ORDER BY ms DESC) AS times, array_agg(DISTINCT page) AS pages
         FROM clicks GROUP BY _subject",
    );
    expect![[r#"
        ["ann","home","cart",[10,7],["cart","home"]]
        ["bob","home","home",[30],["home"]]
        ["cid","cart","cart",[null],["cart"]]"#]]
    .assert_eq(&node.query("SELECT * FROM people"));
}

#[test]
fn prj_1_a_restart_or_the_loss_of_state_changes_nothing() {
    let mut node = clicks();
    node.run(
        "CREATE PROJECTION pages AS SELECT page, count(*) AS clicks, sum(ms) AS ms FROM clicks GROUP BY page",
    );
    let before = node.query("SELECT * FROM pages");
    node.restart(true);
    assert_eq!(node.query("SELECT * FROM pages"), before);
    node.append("clicks", "click", Some("eve"), r#"{"page":"home","ms":2}"#);
    node.restart(false);
    expect![[r#"
        ["cart",2,7]
        ["home",3,42]"#]]
    .assert_eq(&node.query("SELECT * FROM pages"));
}

#[test]
fn a_replaced_definition_and_a_rebuild_give_the_new_result() {
    let mut node = clicks();
    node.run("CREATE PROJECTION pages AS SELECT page, count(*) AS n FROM clicks GROUP BY page");
    node.run("REBUILD PROJECTION pages");
    node.run("CREATE OR REPLACE PROJECTION pages AS SELECT page, count(*) AS n, max(ms) AS high FROM clicks GROUP BY page");
    let sql = "SELECT * FROM pages";
    // The one before answers until the new one has caught up.
    let changed = node.handle.changed("projection/pages").unwrap();
    let mut seen = changed.get();
    while node.query(sql).contains("[\"cart\",2]") {
        seen = changed.wait_over(seen, std::time::Duration::from_secs(60));
    }
    expect![[r#"
        ["cart",2,7]
        ["home",2,30]"#]]
    .assert_eq(&node.query(sql));
}

#[test]
fn a_paused_projection_stands_still_until_it_is_resumed() {
    let mut node = clicks();
    node.run("CREATE PROJECTION pages AS SELECT page, count(*) AS n FROM clicks GROUP BY page");
    let before = node.query("SELECT * FROM pages");
    assert_eq!(node.run("PAUSE PROJECTION pages"), "projection `pages` paused");
    assert!(node.run("SHOW PROJECTIONS").contains("\"paused\""));
    node.run("RESUME PROJECTION pages");
    assert_eq!(node.query("SELECT * FROM pages"), before);
}

#[test]
fn a_column_that_is_not_asked_for_is_not_computed() {
    let mut node = clicks();
    node.run("CREATE PROJECTION p AS SELECT page, count(*) AS n, 1 / (count(*) - 2) AS r FROM clicks GROUP BY page");
    assert_eq!(node.try_query("SELECT * FROM p", &[]).unwrap_err().to_string(), "division by zero");
    expect![[r#"
        ["cart",2]
        ["home",2]"#]]
    .assert_eq(&node.query("SELECT page, n FROM p"));
    expect![["[2]"]].assert_eq(&node.query("SELECT count(*) FROM p"));
    expect![[r#"["home"]"#]].assert_eq(&node.query("SELECT page FROM p WHERE n = 2 AND page > 'd'"));
}

#[test]
fn prj_1_what_was_defined_before_is_known_after_a_restart() {
    use tw_process::View as _;
    let mut node = clicks();
    node.run("CREATE PROJECTION pages AS SELECT page, count(*) AS clicks FROM clicks GROUP BY page");
    let definitions = |node: &Node| -> (u64, Vec<u64>) {
        let view = node.engine.views().into_iter().map(Result::unwrap).next().unwrap();
        let earlier = view.earlier.iter().map(|earlier| earlier.definition()).collect();
        (view.view.definition(), earlier)
    };
    let (first, none) = definitions(&node);
    assert!(none.is_empty());
    node.run(
        "CREATE OR REPLACE PROJECTION pages AS SELECT page, sum(price) AS total FROM clicks GROUP BY page",
    );
    let (second, _) = definitions(&node);
    node.run("REBUILD PROJECTION pages");
    let (third, earlier) = definitions(&node);
    assert_eq!(earlier, [second, first]);
    node.restart(true);
    assert_eq!(definitions(&node), (third, vec![second, first]));
}

#[test]
fn a_view_that_does_not_run_says_why() {
    let mut node = clicks();
    node.run("CREATE PROJECTION pages AS SELECT page, count(*) AS clicks FROM clicks GROUP BY page");
    node.handle.remove("projection/pages").unwrap();
    let why = |node: &Node| node.try_query("SELECT * FROM pages", &[]).unwrap_err().to_string();
    expect!["`pages` cannot be read: it is not running yet: try again"].assert_eq(&why(&node));
    let broken = [("projection/pages".to_owned(), "there is no column `page`".to_owned())];
    node.engine.set_broken(broken.into());
    expect!["`pages` cannot be read: there is no column `page`"].assert_eq(&why(&node));
}
