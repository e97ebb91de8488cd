//! Configuration values.

use crate::support::{in_time, on_both_engines};
use serde_json::json;
use tw_cluster::conformance::{Disturbance, Engine};
use tw_cluster::{Configuration, ConfigurationOptions, ConfigurationWatch, Error, Setting};

on_both_engines!(
    values_have_versions_that_are_compared_and_set,
    versions_are_kept_up_to_a_limit_and_brought_back,
    fewer_versions_are_kept_from_the_next_change_on,
    of_many_who_set_a_value_each_makes_a_version,
    a_watch_tells_every_value_through_an_interruption,
);

fn open(engine: &dyn Engine, versions_max: u32) -> Configuration {
    Configuration::new(engine.connect(), &ConfigurationOptions { versions_max }).unwrap()
}

fn line(setting: &Setting) -> String {
    let value = setting.value.as_ref().map_or("unset".into(), ToString::to_string);
    format!("{} v{} {value} by {} {:?}", setting.name, setting.version, setting.author, setting.restored)
}

async fn values_have_versions_that_are_compared_and_set(engine: &dyn Engine) {
    let config = open(engine, 10);
    let name = "log.retention/ms";
    assert_eq!(config.get(name).await.unwrap(), None);
    let first = config.set(name, Some(json!(1000)), Some(0), "ann").await.unwrap();
    assert_eq!(line(&first), "log.retention/ms v1 1000 by ann None");
    assert!(first.at_ms > 1_600_000_000_000);
    let error = config.set(name, Some(json!(5)), Some(0), "bob").await.unwrap_err();
    assert!(matches!(error, Error::OtherVersion { expected: 0, actual: 1, .. }), "{error:?}");
    let error = config.set("other", None, Some(3), "bob").await.unwrap_err();
    assert_eq!(error.to_string(), "`other` is at version 0, not at 3: look at what was set, then try again");
    let second = config.set(name, Some(json!({"deep": [1, null]})), Some(1), "bob").await.unwrap();
    assert_eq!(config.get(name).await.unwrap(), Some(second.clone()));
    // Without an expectation, and unset in either way.
    let third = config.set(name, Some(json!(null)), None, "ann").await.unwrap();
    assert_eq!(config.get(name).await.unwrap().as_ref(), Some(&third));
    assert_eq!(line(&third), "log.retention/ms v3 unset by ann None");
    config.set("b", Some(json!("x")), None, "ann").await.unwrap();
    let listed: Vec<_> = config.list().await.unwrap().iter().map(line).collect();
    assert_eq!(listed, ["b v1 \"x\" by ann None", "log.retention/ms v3 unset by ann None"]);
    assert_eq!(config.history(name).await.unwrap(), [third, second, first]);
    assert_eq!(config.history("other").await.unwrap(), []);
}

async fn versions_are_kept_up_to_a_limit_and_brought_back(engine: &dyn Engine) {
    let config = open(engine, 3);
    for n in 1..=5 {
        config.set("a", Some(json!(n)), Some(n - 1), "ann").await.unwrap();
    }
    let versions = |history: Vec<Setting>| history.iter().map(|setting| setting.version).collect::<Vec<_>>();
    assert_eq!(versions(config.history("a").await.unwrap()), [5, 4, 3]);
    let error = config.rollback("a", 2, None, "bob").await.unwrap_err();
    assert_eq!(error.to_string(), "there is no version 2 of `a`: versions 3 to 5 are kept");
    let error = config.rollback("never", 1, None, "bob").await.unwrap_err();
    assert_eq!(error.to_string(), "there is no version 1 of `never`: it was never set");
    let error = config.rollback("a", 3, Some(4), "bob").await.unwrap_err();
    assert!(matches!(error, Error::OtherVersion { expected: 4, actual: 5, .. }), "{error:?}");
    let back = config.rollback("a", 3, Some(5), "bob").await.unwrap();
    assert_eq!(line(&back), "a v6 3 by bob Some(3)");
    assert_eq!(config.get("a").await.unwrap(), Some(back));
    assert_eq!(versions(config.history("a").await.unwrap()), [6, 5, 4]);
}

async fn fewer_versions_are_kept_from_the_next_change_on(engine: &dyn Engine) {
    let (many, few) = (open(engine, 1000), open(engine, 1));
    for n in 1..=100 {
        many.set("a", Some(json!(n)), None, "ann").await.unwrap();
    }
    // At most 64 are removed at once.
    few.set("a", Some(json!("few")), None, "ann").await.unwrap();
    assert_eq!(few.history("a").await.unwrap().len(), 101 - 64);
    few.set("a", Some(json!("few")), None, "ann").await.unwrap();
    let last = few.set("a", Some(json!("last")), None, "ann").await.unwrap();
    assert_eq!(few.history("a").await.unwrap(), [last]);
}

async fn of_many_who_set_a_value_each_makes_a_version(engine: &dyn Engine) {
    let mut authors = tokio::task::JoinSet::new();
    for author in 0..4 {
        let config = open(engine, 100);
        authors.spawn(async move {
            for n in 0..10 {
                config.set("a", Some(json!(n)), None, &author.to_string()).await.unwrap();
            }
        });
    }
    in_time(engine, async { while authors.join_next().await.is_some_and(|done| done.is_ok()) {} }).await;
    let history = open(engine, 100).history("a").await.unwrap();
    let versions: Vec<_> = history.iter().rev().map(|setting| setting.version).collect();
    assert_eq!(versions, (1..=40).collect::<Vec<_>>());
    for author in 0..4 {
        let own = history.iter().rev().filter(|setting| setting.author == author.to_string());
        let values: Vec<_> = own.filter_map(|setting| setting.value.clone()).collect();
        assert_eq!(values, (0..10).map(|n| json!(n)).collect::<Vec<_>>(), "a value of {author} was lost");
    }
}

async fn next(engine: &dyn Engine, watch: &mut ConfigurationWatch) -> String {
    line(&in_time(engine, watch.next()).await.unwrap())
}

async fn a_watch_tells_every_value_through_an_interruption(engine: &dyn Engine) {
    let config = open(engine, 10);
    config.set("a", Some(json!(1)), None, "ann").await.unwrap();
    config.set("b", Some(json!(1)), None, "ann").await.unwrap();
    let mut watch = open(engine, 10).watch();
    assert_eq!(next(engine, &mut watch).await, "a v1 1 by ann None");
    assert_eq!(next(engine, &mut watch).await, "b v1 1 by ann None");
    config.set("b", Some(json!(2)), None, "ann").await.unwrap();
    assert_eq!(next(engine, &mut watch).await, "b v2 2 by ann None");
    tokio::task::block_in_place(|| engine.disturb(Disturbance::Kill));
    let on = engine.connect();
    for n in 2..=4 {
        while config.set("a", Some(json!(n)), Some(n - 1), "bob").await.is_err() {}
    }
    let key = tw_cluster::Key::new(["config", "a"]).unwrap();
    on.compact(on.read(key.alone(), None).await.unwrap().revision).await.unwrap();
    let mut last = String::new();
    while last != "a v4 4 by bob None" {
        last = next(engine, &mut watch).await;
        assert!(last.starts_with("a v"), "a value that did not change was told: {last}");
    }
    config.rollback("a", 1, None, "ann").await.unwrap();
    assert_eq!(next(engine, &mut watch).await, "a v5 1 by ann Some(1)");
}
