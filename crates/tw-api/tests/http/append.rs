//! Events in: every format, what is refused and how, and that repeating does no harm.

use crate::support::{World, event};
use serde_json::json;
use tw_types::{StreamName, Token};

const EVENTS: &str = "/v1/streams/orders/events";

async fn world() -> World {
    let world = World::start().await;
    world.stream("orders", 1).await;
    world
}

#[tokio::test]
async fn an_event_in_json_gets_its_place_and_a_token() {
    let world = world().await;
    let reply = world.post(EVENTS).event(&event("1", r#","subject":"order-7""#)).send().await;
    assert_eq!(reply.status, 200);
    let id = world.log.streams().get("orders").unwrap().id;
    let token = format!("tw1;{id}=0:1");
    assert_eq!(reply.json(), json!({"events": [{"position": "0:0", "version": 1}], "token": token}));
    assert_eq!(reply.header("tradewind-token"), token);
    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!(reply.header("x-request-id").len(), 16);
}

#[tokio::test]
async fn an_event_in_headers_is_stored_with_the_body_as_data() {
    let world = world().await;
    let reply = world
        .post(EVENTS)
        .header("ce-specversion", "1.0")
        .header("ce-id", "1")
        .header("ce-source", "/test")
        .header("ce-type", "order.placed")
        .header("ce-subject", "gr%C3%B6%C3%9Fe")
        .header("content-type", "application/json")
        .body("{\"total\": 12.50}\n")
        .send()
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let page = world.get(EVENTS).send().await;
    assert!(page.text().contains(r#""subject":"größe","datacontenttype":"application/json""#));
    assert!(page.text().contains(r#""data":{"total": 12.50}"#), "{}", page.text());
}

#[tokio::test]
async fn batches_and_lines_are_stored_in_order() {
    let world = world().await;
    let batch = format!("[{},{}]", event("1", ""), event("2", ""));
    let reply = world
        .post(EVENTS)
        .header("content-type", "application/cloudevents-batch+json")
        .body(batch)
        .send()
        .await;
    assert_eq!(reply.json()["events"].as_array().unwrap().len(), 2);
    let lines = format!("{}\n\n{}", event("3", ""), event("4", ""));
    let reply = world.post(EVENTS).header("content-type", "application/x-ndjson").body(lines).send().await;
    assert_eq!(reply.json()["events"][1]["position"], "0:3");
    let page = world.get(EVENTS).send().await.json();
    let ids: Vec<_> = page["events"].as_array().unwrap().iter().map(|event| event["id"].clone()).collect();
    assert_eq!(ids, ["1", "2", "3", "4"]);
}

#[tokio::test]
async fn nothing_in_a_batch_is_nothing_to_do() {
    let world = world().await;
    for (media_type, body) in [("application/cloudevents-batch+json", "[]"), ("application/x-ndjson", "\n")] {
        let reply = world.post(EVENTS).header("content-type", media_type).body(body).send().await;
        assert_eq!((reply.status, reply.text()), (200, r#"{"events":[],"token":"tw1"}"#));
    }
}

#[tokio::test]
async fn a_long_body_of_lines_is_stored_whole() {
    let world = world().await;
    let data = "x".repeat(300);
    let lines: String =
        (0..5_000).map(|n| event(&n.to_string(), &format!(r#","data":"{data}""#)) + "\n").collect();
    assert!(lines.len() > 1 << 20);
    let reply = world
        .post(EVENTS)
        .header("content-type", "application/x-ndjson")
        .header("prefer", "return=minimal")
        .body(lines)
        .send()
        .await;
    assert_eq!(reply.json()["count"], 5_000);
    let token: Token = reply.json()["token"].as_str().unwrap().parse().unwrap();
    assert_eq!(token.iter().next().unwrap().1.0, 5_000);
}

#[tokio::test]
async fn one_bad_event_refuses_all_and_says_which() {
    let world = world().await;
    let lines = format!("{}\n{}\n", event("1", ""), event("2", r#","Bad":1"#));
    let reply = world.post(EVENTS).header("content-type", "application/x-ndjson").body(lines).send().await;
    assert_eq!(reply.code(), "invalid_event");
    assert_eq!((&reply.json()["line"], &reply.json()["attribute"]), (&json!(2), &json!("Bad")));
    let batch = format!("[{},{{}}]", event("1", ""));
    let reply = world
        .post(EVENTS)
        .header("content-type", "application/cloudevents-batch+json")
        .body(batch)
        .send()
        .await;
    assert_eq!(reply.code(), "invalid_event");
    assert_eq!((&reply.json()["index"], &reply.json()["attribute"]), (&json!(1), &json!("specversion")));
    let reply = world.post(EVENTS).event(&event("1", r#","twposition":"0:0""#)).send().await;
    assert_eq!(
        reply.detail(),
        "attribute `twposition` is reserved: names that start with `tw` are the platform's, leave it out"
    );
    assert_eq!(world.get(EVENTS).send().await.json()["events"], json!([]));
}

#[tokio::test]
async fn bodies_that_are_no_events_are_refused_with_the_remedy() {
    let world = world().await;
    let reply = world.post(EVENTS).json("{}").send().await;
    assert_eq!(reply.code(), "unsupported_media_type");
    assert!(reply.detail().contains("ce-specversion"), "{}", reply.detail());
    let reply = world
        .post(EVENTS)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("ce-id", "1")
        .send()
        .await;
    assert!(reply.detail().contains("curl"), "{}", reply.detail());
    let reply = world.post(EVENTS).header("content-encoding", "gzip").event(&event("1", "")).send().await;
    assert_eq!(reply.code(), "unsupported_media_type");
}

#[tokio::test]
async fn a_stream_must_exist_and_be_ours() {
    let world = world().await;
    let reply = world.post("/v1/streams/nothing/events").event(&event("1", "")).send().await;
    assert_eq!(
        (reply.code().as_str(), reply.detail().as_str()),
        ("no_stream", "there is no stream `nothing`")
    );
    let reply = world.post("/v1/streams/$config/events").event(&event("1", "")).send().await;
    assert_eq!(reply.code(), "read_only_stream");
}

#[tokio::test]
async fn an_event_that_does_not_fit_its_stream_is_refused() {
    let world = world().await;
    let definition = r#"{"partitions":1,"columns":[{"name":"total","type":"numeric","nullable":false}],"options":{"event_bytes_max":1024}}"#;
    let reply = world.call(http::Method::PUT, "/v1/streams/typed").json(definition).send().await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    let lines = format!("{}\n{}", event("1", r#","data":{"total":1}"#), event("2", r#","data":{}"#));
    let reply = world
        .post("/v1/streams/typed/events")
        .header("content-type", "application/x-ndjson")
        .body(lines)
        .send()
        .await;
    assert_eq!((reply.code().as_str(), &reply.json()["line"]), ("event_refused", &json!(2)));
}

#[tokio::test]
async fn an_event_of_one_byte_over_the_limit_of_its_stream_is_too_large() {
    let world = world().await;
    let path = "/v1/streams/small";
    let definition = r#"{"partitions":1,"options":{"event_bytes_max":1024}}"#;
    assert_eq!(world.call(http::Method::PUT, path).json(definition).send().await.status, 201);
    let post = async |data_bytes: usize| {
        let event = event("1", &format!(r#","data":"{}""#, "x".repeat(data_bytes)));
        world.post("/v1/streams/small/events").event(&event).send().await
    };
    let over = post(1024).await;
    assert_eq!(
        (over.status, over.code().as_str(), &over.json()["limit"]),
        (413, "event_too_large", &json!(1024))
    );
    // The refusal says how large the event is in all, so how much has to go.
    let detail = over.detail();
    let bytes = detail.split("has ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    let fitting = 1024 - (bytes.parse::<usize>().unwrap() - 1024);
    let over = post(fitting + 1).await;
    assert_eq!((over.status, over.code().as_str()), (413, "event_too_large"), "{}", over.text());
    assert_eq!(post(fitting).await.status, 200);
}

#[tokio::test]
async fn the_trace_of_a_request_becomes_that_of_its_events() {
    let world = world().await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    let own = "00-11111111111111111111111111111111-2222222222222222-00";
    let batch = format!("[{},{}]", event("1", ""), event("2", &format!(r#","traceparent":"{own}""#)));
    let call = world.post(EVENTS).header("content-type", "application/cloudevents-batch+json");
    call.header("traceparent", trace).body(batch).send().await;
    world.post(EVENTS).header("traceparent", "nonsense").event(&event("3", "")).send().await;
    let page = world.get(EVENTS).send().await.json();
    let traces: Vec<_> =
        page["events"].as_array().unwrap().iter().map(|event| event["traceparent"].clone()).collect();
    assert_eq!(traces, [json!(trace), json!(own), json!(null)]);
}

#[tokio::test]
async fn what_is_done_for_a_request_is_recorded_if_its_client_wants_that() {
    let world = world().await;
    let (trace, parent) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let sent = format!("00-{trace}-{parent}-01");
    world.post(EVENTS).header("traceparent", &sent).event(&event("1", "")).send().await;
    world.post(EVENTS).header("traceparent", &sent).event("{}").send().await;
    world.post(EVENTS).header("traceparent", &sent.replace("-01", "-00")).event(&event("2", "")).send().await;
    let view = world.get(&format!("/v1/traces/{trace}")).send().await.json();
    let spans = view["spans"].as_array().unwrap();
    let told = |span: &serde_json::Value| {
        json!([span["parent"], span["name"], span["facts"]["status"], span["failed"]])
    };
    assert_eq!(
        spans.iter().map(told).collect::<Vec<_>>(),
        [
            json!([parent, "POST /v1/streams/{stream}/events", "200", null]),
            json!([parent, "POST /v1/streams/{stream}/events", "400", "invalid_event"]),
        ]
    );
    let page = world.get(EVENTS).send().await.json();
    let under = page["events"][0]["traceparent"].as_str().unwrap();
    assert_eq!(
        under,
        format!("00-{trace}-{}-01", spans[0]["span"].as_str().unwrap()),
        "its cause is the request"
    );
    let none = world.get(&format!("/v1/traces/{}", trace.replace('0', "1"))).send().await.json();
    assert_eq!(none, json!({"spans": []}));
    let refused = world.get("/v1/traces/abc").send().await;
    assert_eq!((refused.status, refused.code().as_str()), (400, "invalid_parameter"), "{}", refused.text());
}

#[tokio::test]
async fn an_event_that_is_there_already_is_told_as_a_duplicate() {
    let world = world().await;
    let body = event("1", r#","subject":"order-7""#);
    world.post(EVENTS).event(&body).send().await;
    let reply = world.post(EVENTS).event(&body).send().await;
    assert_eq!(reply.json()["events"], json!([{"position": "0:0", "version": 1, "duplicate": true}]));
    let reply = world.post(&format!("{EVENTS}?dedup=false")).event(&body).send().await;
    assert_eq!(reply.json()["events"], json!([{"position": "0:1", "version": 2}]));
    let reply = world.post(&format!("{EVENTS}?dedup=maybe")).event(&body).send().await;
    assert_eq!(reply.code(), "invalid_parameter");
}

#[tokio::test]
async fn a_repeated_request_is_told_where_its_events_are_also_after_a_restart() {
    let world = world().await;
    let key = "\"8e03978e-40d5-43dd-bc93-6894a57f9324\"";
    let send =
        |world: &World, id: &str| world.post(EVENTS).header("idempotency-key", key).event(&event(id, ""));
    let first = send(&world, "1").send().await;
    assert_eq!(first.json()["events"], json!([{"position": "0:0"}]));
    let known = json!({"events": [{"position": "0:0", "duplicate": true}], "token": first.json()["token"]});
    assert_eq!(send(&world, "1").send().await.json(), known);
    let world = world.restart(crate::support::options()).await;
    assert_eq!(send(&world, "1").send().await.json(), known);
    assert_eq!(send(&world, "2").send().await.code(), "idempotency_key_reused");
    let reply = world.post(EVENTS).header("idempotency-key", "\"\"").event(&event("1", "")).send().await;
    assert_eq!(
        (reply.code().as_str(), &reply.json()["parameter"]),
        ("invalid_parameter", &json!("Idempotency-Key"))
    );
    assert_eq!(world.get(EVENTS).send().await.json()["events"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn http2_without_tls_is_spoken_too() {
    let world = world().await;
    let reply = world.post(EVENTS).event(&event("1", "")).send_http2().await;
    assert_eq!(reply.status, 200);
    let reply = world.get(EVENTS).send_http2().await;
    assert_eq!(reply.json()["events"][0]["id"], "1");
}

#[tokio::test]
async fn names_in_a_path_are_percent_encoded() {
    let world = world().await;
    world.stream("shop.Order Lines", 1).await;
    let reply = world
        .post("/v1/streams/shop.Order%20Lines/subjects/a%2Fb%3F/events")
        .event(&event("1", ""))
        .send()
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let page = world.get("/v1/streams/shop.Order%20Lines/events").send().await.json();
    assert_eq!(page["events"][0]["subject"], "a/b?");
    assert!(StreamName::new("shop.Order Lines").is_ok());
    assert_eq!(world.get("/v1/streams/%ff/events").send().await.code(), "invalid_parameter");
}
