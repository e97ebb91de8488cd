//! What regions agree on, on coordination in memory and in simulated time.

use super::*;
use std::time::Duration;
use tw_cluster::{MemoryCoordination, MemoryOptions, SystemTime};
use tw_env::Env;
use tw_merge::Seen;

const A: RegionId = RegionId(1);
const B: RegionId = RegionId(2);

fn registries() -> [Registry; 2] {
    let time = Arc::new(SystemTime::new(&Env::real()));
    let coordination = Arc::new(MemoryCoordination::new(time, &MemoryOptions::default()).unwrap());
    let options = ArbiterOptions { present_ms: 1_000, ..ArbiterOptions::default() };
    [A, B].map(|region| Registry::new(coordination.clone(), region, options.clone()))
}

fn agreed_on(home: RegionId, term: u64, is_taken: bool) -> Agreed {
    Agreed { home, term, is_taken }
}

#[test]
fn what_is_refused_is_called_by_the_name_that_it_has_in_the_configuration() {
    let options = |present_ms| ArbiterOptions {
        endpoints: vec!["http://127.0.0.1:2379".into()],
        present_ms,
        ..ArbiterOptions::default()
    };
    for wrong in [0, 5, 999, 600_001] {
        let error = options(wrong).check().unwrap_err().to_string();
        assert!(error.contains("`present_ms`") && error.contains("1,000 to 600,000"), "{error}");
    }
    for right in [1_000, 3_000, 600_000] {
        options(right).check().unwrap();
    }
}

#[tokio::test]
async fn a_home_is_agreed_on_once_and_written_by_who_it_is_agreed_on() {
    let [a, b] = registries();
    for registry in [&a, &b] {
        registry.look(&Seen::new()).await.unwrap();
    }
    assert!(!a.may_write("s", 0), "nothing is agreed");
    let first = agreed_on(A, 0, false);
    assert!(a.agree("s", None, first, None).await.unwrap());
    assert!(!b.agree("s", None, agreed_on(B, 0, false), None).await.unwrap(), "somebody was faster");
    assert!(a.may_write("s", 0) && !a.may_write("s", 1) && !a.may_write("other", 0) && !b.may_write("s", 0));
    assert_eq!(b.agreed("s").await.unwrap(), Some(first));
    let look = b.look(&Seen::from_iter([(A, Hlc::new(7, 0))])).await.unwrap();
    assert_eq!(look.agreed, BTreeMap::from([("s".to_owned(), first)]));
    assert_eq!(look.present.keys().copied().collect::<Vec<_>>(), [A, B]);
    assert_eq!(look.present[&B].of(A), Hlc::new(7, 0));
    // Given to the other one: from the moment at which it may be agreed on, this one does not write.
    assert!(a.agree("s", Some(first), agreed_on(B, 1, false), None).await.unwrap());
    assert!(!a.may_write("s", 0) && !b.may_write("s", 1), "the other one has not heard of it");
    b.agreed("s").await.unwrap();
    assert!(b.may_write("s", 1));
}

#[tokio::test]
async fn a_stream_is_taken_only_from_a_region_that_is_gone_and_that_does_not_write_by_then() {
    let [a, b] = registries();
    a.look(&Seen::new()).await.unwrap();
    b.look(&Seen::new()).await.unwrap();
    let (first, taken) = (agreed_on(A, 0, false), agreed_on(B, 1, true));
    a.agree("s", None, first, None).await.unwrap();
    assert!(!b.agree("s", Some(first), taken, Some(A)).await.unwrap(), "it is there");
    // Its process stands still: nobody renews the lease.
    let lease = a.state.lock().lease.take().unwrap();
    lease.hand_over().await.unwrap();
    drop(lease);
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    let gone = async {
        while b.look(&Seen::new()).await.unwrap().present.contains_key(&A) {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.unwrap();
    assert!(b.agree("s", Some(first), taken, Some(A)).await.unwrap());
    assert!(b.may_write("s", 1));
    // It is back, with another lease: what it knew does not count.
    a.look(&Seen::new()).await.unwrap();
    assert!(!a.may_write("s", 0));
    assert_eq!(a.agreed("s").await.unwrap(), Some(taken));
    assert!(!a.may_write("s", 0) && !a.may_write("s", 1));
}
