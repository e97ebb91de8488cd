//! Who may call: no web page of another origin, neither openly nor under a name that it points at us.

use crate::support::{World, event, options};
use tw_api::{Error, Options, Server};

const EVENTS: &str = "/v1/streams/orders/events";

#[tokio::test]
async fn a_request_under_a_foreign_name_is_refused() {
    let world = World::with(Options { hosts: vec!["db.lan".into()], ..options() }).await;
    for host in ["evil.example", "evil.example:7070", "localhost.evil.example", ""] {
        let reply = world.get("/v1/streams").set("host", host).send().await;
        assert_eq!(reply.code(), "foreign_host", "{host}");
    }
    for host in ["localhost", "localhost:7070", "127.0.0.1:1", "[::1]:7070", "DB.lan:7070"] {
        assert_eq!(world.get("/v1/streams").set("host", host).send().await.status, 200, "{host}");
    }
}

#[tokio::test]
async fn a_foreign_page_changes_nothing_and_gets_no_permission() {
    let world = World::start().await;
    world.stream("orders", 1).await;
    for origin in ["http://evil.example", "http://localhost:3000", "null"] {
        let reply = world.post(EVENTS).header("origin", origin).event(&event("1", "")).send().await;
        assert_eq!(reply.code(), "foreign_origin", "{origin}");
        assert_eq!(
            world.post("/v1/sql").header("origin", origin).body("DROP STREAM orders").send().await.code(),
            "foreign_origin"
        );
        let reply = world.get(EVENTS).header("origin", origin).send().await;
        assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, ""));
    }
    let own = format!("http://{}", world.address());
    assert_eq!(world.post(EVENTS).header("origin", &own).event(&event("1", "")).send().await.status, 200);
}

#[tokio::test]
async fn an_address_that_others_can_reach_is_refused() {
    let world = World::start().await;
    let options = Options { listen: "0.0.0.0:0".parse().unwrap(), ..options() };
    let refused = Server::start(options.clone(), world.parts.clone()).await.unwrap_err();
    assert!(refused.to_string().contains("not authenticated"), "{refused}");
    let server =
        Server::start(Options { insecure_no_auth: true, ..options }, world.parts.clone()).await.unwrap();
    server.shutdown().await;
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let world = World::start().await;
    let options = Options { listen: world.address(), ..options() };
    let error = Server::start(options, world.parts.clone()).await.unwrap_err();
    assert!(matches!(error, Error::Listen { address, .. } if address == world.address()));
}

#[tokio::test]
async fn a_good_request_id_is_kept_and_a_bad_one_is_not() {
    let world = World::start().await;
    let id = |sent: &'static str| {
        let call = world.get("/healthz").header("x-request-id", sent);
        async move { call.send().await.header("x-request-id").to_owned() }
    };
    assert_eq!(id("my-request.1").await, "my-request.1");
    for bad in ["", "has space", "0123456789012345678901234567890123456789012345678901234567890123456789"] {
        let given = id(bad).await;
        assert!(given.len() == 16 && given != bad, "{bad}");
    }
}
