//! The plan by which users are spread over regions: a change is decided where that is decided, in one hop.

use crate::support::regions::One;
use crate::support::{World, options};
use std::sync::Arc;
use tw_api::parts::{Regions, RoutingStep};
use tw_env::Env;
use tw_log::MemoryLog;

pub(crate) async fn world(other: u16, is_there: bool) -> (World, Arc<One>) {
    let one = One::new(other, is_there);
    let regions: Arc<dyn Regions> = one.clone();
    let log = Arc::new(MemoryLog::new(Env::real()));
    (World::over(options(), log, |parts| parts.regions = Some(regions)).await, one)
}

#[tokio::test]
async fn changes_of_the_plan_are_decided_with_their_conditions() {
    let (world, one) = world(1, true).await;
    let view = world.get("/v1/routing").send().await.json();
    assert_eq!(view["generation"], 4);
    let shift = r#"{"from": 1, "to": 2, "permille": 100, "if_generation": 4}"#;
    let done = world.post("/v1/routing/shift").json(shift).send().await.json();
    assert_eq!((&done["done"], &done["generation"]), (&true.into(), &5.into()));
    assert_eq!(done["change"], "shift 100 of region 1 to region 2");
    for (path, body) in [
        ("drain", r#"{"region": 2, "dry_run": true}"#),
        ("weigh", r#"{"region": 2, "weight": 500}"#),
        ("rollback", r#"{"to": 2}"#),
    ] {
        let reply = world.post(&format!("/v1/routing/{path}")).json(body).send().await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let asked: Vec<RoutingStep> = one.decided.lock().iter().map(|change| change.step.clone()).collect();
    assert_eq!(asked[1], RoutingStep::Drain { region: 2, permille: 1_000 });
    assert_eq!(asked[3], RoutingStep::RollBack { to: 2 });
    assert!(one.decided.lock()[1].dry_run && one.sent.lock().is_empty());
    // Who comes second learns what is in effect.
    let late = world.post("/v1/routing/rollback").json(r#"{"to": 1, "if_generation": 3}"#).send().await;
    assert_eq!((late.status, late.code()), (409, "routing_overtaken".to_owned()));
    assert_eq!(late.json()["generation"], 4);
    for (path, body) in [("shift", r#"{"from": 1}"#), ("weigh", r#"{"region": 1, "weight": 1, "x": 1}"#)] {
        let refused = world.post(&format!("/v1/routing/{path}")).json(body).send().await;
        assert_eq!(refused.code(), "invalid_body", "{body}");
    }
    assert_eq!(world.get("/v1/routing/load").send().await.json()["served_milli_per_s"], 1_500);
}

#[tokio::test]
async fn a_change_goes_where_it_is_decided_in_one_hop() {
    let (here, one) = world(2, true).await;
    let body = r#"{"region": 1, "weight": 900}"#;
    let answer = here.post("/v1/routing/weigh").json(body).send().await;
    assert_eq!(answer.json()["generation"], 9);
    let sent = one.sent.lock().clone();
    assert_eq!((sent.len(), sent[0].region, sent[0].what.as_str()), (1, 2, "POST /v1/routing/weigh"));
    assert_eq!(sent[0].body, body);
    let hop = here.post("/v1/routing/weigh").header("tradewind-hop", "1").json(body).send().await;
    assert_eq!((hop.code(), one.sent.lock().len()), ("not_home".to_owned(), 1), "it is sent no further");
    let (here, _) = world(2, false).await;
    let refused = here.post("/v1/routing/weigh").json(body).send().await;
    assert_eq!(refused.code(), "not_ready");
    assert!(refused.text().contains("nothing was changed"), "{}", refused.text());
}

#[tokio::test]
async fn what_a_client_has_measured_is_taken_or_refused_with_the_rule() {
    let (world, one) = world(2, true).await;
    let report = |body: &str| world.post("/v1/route/measured").json(body);
    let body = r#"{"network": "198.51.100.0/24", "rtts": [{"region": 2, "rtt_ms": 23}]}"#;
    assert_eq!(report(body).send().await.status, 204);
    assert_eq!(report(body).header("tradewind-hop", "1").send().await.status, 204);
    let hops: Vec<bool> = one.measured.lock().iter().map(|(_, is_hop)| *is_hop).collect();
    assert_eq!((hops, one.measured.lock()[0].0.rtts[0].rtt_ms), (vec![false, true], 23));
    for network in ["198.51.100.0/33", "here", "::1/129", "1.2.3"] {
        let refused = report(&body.replace("198.51.100.0/24", network)).send().await;
        assert_eq!(refused.code(), "invalid_parameter", "{network}");
    }
    assert_eq!(world.get("/v1/route?network=2001:db8::/48").send().await.status, 200);
    assert_eq!(world.get("/v1/route?network=x").send().await.code(), "invalid_parameter");
}
