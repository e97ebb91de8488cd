//! The stored form of plans: golden text, and anything that is not one is refused.

use crate::placement::tests::{first, loads, nodes};
use crate::placement::{Options, Plan};
use crate::sim::config;
use proptest::prelude::*;

const GOLDEN: &str = r#"{"format":1,"version":1,"made_ms":1000,"nodes":["n00","n01","n02"],"units":[["1/0",0,[2],1,1000,0],["1/1",1,[0],1,1000,0],["1/2",2,[1],1,1000,0]]}"#;

fn sample() -> Plan {
    first(&nodes(3), &loads([3, 2, 1]), &Options::default())
}

#[test]
fn a_plan_is_stored_as_earlier_versions_stored_it() {
    assert_eq!(serde_json::to_string(&sample()).unwrap(), GOLDEN);
    assert_eq!(serde_json::from_str::<Plan>(GOLDEN).unwrap(), sample());
}

#[test]
fn a_large_plan_fits_into_one_value_of_etcd() {
    let plan = first(&nodes(60), &loads([1; 4_096]), &Options::default());
    let text = serde_json::to_string(&plan).unwrap();
    assert!(text.len() < 160_000, "{} bytes", text.len());
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
}

#[test]
fn damaged_plans_are_refused_with_the_reason() {
    for (from, to, error) in [
        (r#""format":1"#, r#""format":2"#, "a stored plan has format 2, this version reads format 1"),
        (r#"["n00","n01""#, r#"["n01","n00""#, "its nodes are not in order"),
        (r#"["n00","n01","n02"]"#, r#"["n00","n01"]"#, "it points to a node that it does not name"),
        (r#""1/1""#, r#""1/0""#, "it has a unit twice"),
        (r#""version":1"#, r#""version":0"#, "a unit's owner is newer than the plan"),
        (r#""made_ms""#, r#""made_us""#, "unknown field `made_us`"),
    ] {
        assert!(GOLDEN.contains(from), "{from}");
        let refused = serde_json::from_str::<Plan>(&GOLDEN.replacen(from, to, 1)).unwrap_err();
        assert!(refused.to_string().contains(error), "{refused}");
    }
}

proptest! {
    #![proptest_config(config(2_000))]

    #[test]
    fn mutated_plans_are_read_as_plans_or_refused(
        changes in prop::collection::vec((any::<prop::sample::Index>(), "[\\[\\]{}\",:0-9na]"), 1..4),
    ) {
        let mut text: Vec<char> = GOLDEN.chars().collect();
        for (at, with) in changes {
            let at = at.index(text.len());
            text[at] = with.chars().next().unwrap();
        }
        let text: String = text.into_iter().collect();
        if let Ok(plan) = serde_json::from_str::<Plan>(&text) {
            let again = serde_json::to_string(&plan).unwrap();
            prop_assert_eq!(serde_json::from_str::<Plan>(&again).unwrap(), plan);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(serde_json::from_slice::<Plan>(&bytes).is_err());
    }
}
