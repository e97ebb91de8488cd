//! Tables of latest rows, and projections of captured tables.

use crate::support::Node;
use expect_test::expect;

fn orders() -> Node {
    let mut node = Node::new();
    node.table("shop.orders", "id integer, customer text, total numeric(10,2), state text", &["id"], 3);
    let row = |id: i32, customer: &str, total: &str, state: &str| {
        format!(r#"{{"id":{id},"customer":"{customer}","total":"{total}","state":"{state}"}}"#)
    };
    node.change("shop.orders", "1", "null", &row(1, "ann", "10.00", "paid"));
    node.change("shop.orders", "2", "null", &row(2, "bob", "5.50", "new"));
    node.change("shop.orders", "3", "null", &row(3, "ann", "7.25", "paid"));
    node.change("shop.orders", "2", "null", &row(2, "bob", "6.50", "paid"));
    node.change("shop.orders", "3", r#"{"id":3}"#, "null");
    node
}

#[test]
fn prj_1_the_latest_table_has_each_row_once() {
    let mut node = orders();
    expect![[r#"
        [1,"ann","10.00","paid"]
        [2,"bob","6.50","paid"]"#]]
    .assert_eq(&node.query("SELECT * FROM shop.orders"));
    expect![[r#"["6.50"]"#]].assert_eq(&node.query("SELECT total FROM shop.orders WHERE id = 2"));
    node.truncate("shop.orders");
    assert_eq!(node.query("SELECT * FROM shop.orders"), "");
    node.change("shop.orders", "9", "null", r#"{"id":9,"customer":"zoe","total":"1","state":"new"}"#);
    expect![[r#"[9,"zoe","1.00","new"]"#]].assert_eq(&node.query("SELECT * FROM shop.orders"));
}

#[test]
fn prj_1_updates_and_deletes_are_taken_back() {
    let mut node = orders();
    node.run(
        "CREATE PROJECTION revenue AS SELECT customer, count(*) AS orders, sum(total) AS revenue, max(total) AS largest
         FROM shop.orders WHERE state = 'paid' GROUP BY customer",
    );
    expect![[r#"
        ["ann",1,"10.00","10.00"]
        ["bob",1,"6.50","6.50"]"#]]
    .assert_eq(&node.query("SELECT * FROM revenue"));
    node.change(
        "shop.orders",
        "1",
        r#"{"id":1}"#,
        r#"{"id":1,"customer":"bob","total":"10.00","state":"paid"}"#,
    );
    expect![[r#"["bob",2,"16.50","10.00"]"#]].assert_eq(&node.query("SELECT * FROM revenue"));
    node.change("shop.orders", "1", r#"{"id":1}"#, "null");
    expect![[r#"["bob",1,"6.50","6.50"]"#]].assert_eq(&node.query("SELECT * FROM revenue"));
}

#[test]
fn an_unchanged_large_value_stays_what_it_was() {
    let mut node = orders();
    node.change(
        "shop.orders",
        "2",
        r#"{"id":2}"#,
        r#"{"id":2,"customer":"__debezium_unavailable_value","total":"7.00","state":"paid"}"#,
    );
    expect![[r#"[2,"bob","7.00","paid"]"#]].assert_eq(&node.query("SELECT * FROM shop.orders WHERE id = 2"));
}

#[test]
fn prj_1_a_row_that_is_not_known_yet_and_not_told_in_full_waits_for_its_other_values() {
    let mut node = orders();
    node.run(
        "CREATE PROJECTION sold AS SELECT count(customer) AS orders, sum(total) AS revenue FROM shop.orders",
    );
    let before = node.query("SELECT * FROM sold");
    let change = |node: &mut Node, total: &str, customer: &str| {
        let after = format!(r#"{{"id":7,"customer":"{customer}","total":"{total}","state":"paid"}}"#);
        node.change("shop.orders", "7", "null", &after);
    };
    for total in ["7.00", "8.00"] {
        change(&mut node, total, "__debezium_unavailable_value");
        assert_eq!(node.query("SELECT * FROM shop.orders WHERE id = 7"), "");
        assert_eq!(node.query("SELECT * FROM sold"), before);
    }
    change(&mut node, "8.00", "cleo");
    change(&mut node, "9.00", "__debezium_unavailable_value");
    expect![[r#"[7,"cleo","9.00","paid"]"#]].assert_eq(&node.query("SELECT * FROM shop.orders WHERE id = 7"));
    assert_ne!(node.query("SELECT * FROM sold"), before);
    node.change("shop.orders", "7", r#"{"id":7}"#, "null");
    assert_eq!(node.query("SELECT * FROM sold"), before);
}

#[test]
fn history_and_latest_rows_can_be_joined() {
    let node = orders();
    expect![[r#"
        [1,"ann",1]
        [2,"bob",2]"#]]
    .assert_eq(&node.query(
        "SELECT o.id, o.customer, count(*) FROM shop.orders o
         JOIN events.\"shop.orders\" e ON e._subject = o.id::text GROUP BY o.id, o.customer ORDER BY 1",
    ));
    expect![[r#"["row.update"]"#]].assert_eq(
        &node.query("SELECT DISTINCT 'row.update' FROM events.\"shop.orders\" WHERE _type = 'row.insert' AND _subject = '2'"),
    );
}

#[test]
fn prj_1_equal_rows_of_a_table_without_key_are_counted() {
    let mut node = Node::new();
    node.table("shop.log", "a integer, b text", &[], 2);
    let row = r#"{"a":1,"b":"x"}"#;
    node.change("shop.log", "h1", "null", row);
    node.change("shop.log", "h1", "null", row);
    node.change("shop.log", "h2", "null", r#"{"a":2,"b":"y"}"#);
    node.run("CREATE PROJECTION by_b AS SELECT b, count(*) AS n, sum(a) AS total FROM shop.log GROUP BY b");
    expect![[r#"
        [1,"x"]
        [1,"x"]
        [2,"y"]"#]]
    .assert_eq(&node.query("SELECT * FROM shop.log"));
    node.change("shop.log", "h1", row, "null");
    expect![[r#"
        [1,"x"]
        [2,"y"]"#]]
    .assert_eq(&node.query("SELECT * FROM shop.log"));
    expect![[r#"
        ["x",1,1]
        ["y",1,2]"#]]
    .assert_eq(&node.query("SELECT * FROM by_b"));
}
