//! The examples of the SQL page are what a reader can type.

use crate::support::Node;
use tw_project::parse_all;

const PAGE: &str = include_str!("../../../../docs/sql.md");

/// The statements of the page, in order.
pub fn examples() -> Vec<String> {
    let blocks = PAGE.split("```sql\n").skip(1).filter_map(|rest| rest.split_once("```"));
    blocks
        .flat_map(|(block, _)| block.split(";\n"))
        .map(|statement| statement.trim().to_owned())
        .filter(|statement| !statement.is_empty())
        .collect()
}

#[test]
fn the_examples_of_the_page_run_one_after_the_other() {
    let mut node = Node::new();
    // The tables of the example's database, as capture defines them.
    node.table("shop.orders", "id integer, state text", &["id"], 3);
    node.table("shop.customers", "id integer, name text", &["id"], 3);
    let examples = examples();
    assert!(examples.len() > 20, "{examples:?}");
    for statement in &examples {
        assert_eq!(parse_all(statement).unwrap().len(), 1, "{statement}");
        node.run(statement);
    }
}
