//! What is the same, and what is said of what is not.

use super::*;

fn held(region: u64, events: &[(u64, u64)], hash: &str, rows: Option<&str>) -> Held {
    let total: u64 = events.iter().map(|(_, events)| events).sum();
    let origins: Vec<Value> = events
        .iter()
        .map(|(region, events)| json!({ "region": region, "epoch": 1, "events": events }))
        .collect();
    let projections: Vec<Value> = rows
        .iter()
        .map(|hash| json!({ "projection": "revenue", "stream": "orders", "rows": 7, "hash": hash }))
        .collect();
    read(&json!({
        "region": region, "name": "eu", "projections": projections,
        "streams": [{ "stream": "orders", "events": total, "hash": hash, "origins": origins }],
    }))
}

fn why(held: &[Held]) -> Option<String> {
    Compared::of(held).why()
}

#[test]
fn the_same_hashes_are_the_same_also_where_a_projection_is_not_everywhere() {
    let one = held(1, &[(1, 5), (2, 6)], "aa", Some("bb"));
    let other = Held { region: 2, ..one.clone() };
    assert_eq!(why(&[one.clone(), other]), None);
    assert_eq!(why(&[one, held(2, &[(1, 5), (2, 6)], "aa", None)]), None);
}

#[test]
fn who_lacks_what_is_told() {
    let all = [held(1, &[(1, 1_005), (2, 6)], "aa", None), held(2, &[(1, 5), (2, 7)], "ab", None)];
    let said = why(&all).unwrap();
    assert!(
        said.contains("not yet here: stream `orders`: region 1 lacks 1 of the events of region 2"),
        "{said}"
    );
    assert!(said.contains("region 2 lacks 1,000 of the events of region 1"), "{said}");
    let none = Held { region: 2, lines: Vec::new() };
    assert!(why(&[held(1, &[], "00", None), none]).unwrap().contains("is not in region 2"));
}

#[test]
fn as_many_events_with_another_hash_are_different() {
    let all = [held(1, &[(1, 5)], "aa", None), held(2, &[(1, 5)], "ab", None)];
    assert!(why(&all).unwrap().contains("not the same"));
    let all = [held(1, &[(1, 5)], "aa", Some("bb")), held(2, &[(1, 5)], "aa", Some("bc"))];
    assert!(why(&all).unwrap().contains("rows of projection `revenue` differ"));
}

#[test]
fn what_could_not_be_read_is_never_the_same() {
    let mut one = held(1, &[(1, 5)], "aa", Some("bb"));
    for line in &mut one.lines {
        (line.count, line.hash, line.error) = (None, None, Some("it is paused".into()));
    }
    let other = Held { region: 2, ..one.clone() };
    assert!(why(&[one, other]).unwrap().contains("could not be read in region 1: it is paused"));
}

#[test]
fn a_cell_says_region_count_and_the_first_digits() {
    let one = held(3, &[(1, 1_200)], "52b7edbe6e3c8e9c3b2f5d0f6a1f8c11", None);
    assert_eq!(cell(3, one.lines.first()), "3: 1,200 52b7edbe");
    assert_eq!(cell(3, None), "3: -");
}
