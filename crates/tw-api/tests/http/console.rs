//! The web console beside the interface: who gets its shell, what its files are sent with, and what it never hides.

use crate::support::World;
use crate::support::client::Reply;

/// What a browser sends when somebody opens a page.
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8";

async fn page(world: &World, path: &str) -> Reply {
    world.get(path).header("accept", BROWSER).send().await
}

#[tokio::test]
async fn every_page_is_the_shell_for_a_browser() {
    let world = World::start().await;
    let shell = page(&world, "/").await;
    assert_eq!((shell.status, shell.header("content-type")), (200, "text/html; charset=utf-8"));
    assert_eq!(shell.header("cache-control"), "no-cache");
    assert!(shell.text().contains("<title>Tradewind</title>"));
    for path in
        ["/streams", "/streams/shop.orders?from=earliest", "/a/b/c/d/e/f/g/h/i/j", "/sql?q=SELECT%201"]
    {
        assert_eq!(page(&world, path).await.text(), shell.text(), "{path}");
    }
}

#[tokio::test]
async fn a_page_may_load_from_its_server_alone_and_nobody_may_frame_it() {
    let world = World::start().await;
    let shell = page(&world, "/").await;
    let policy = shell.header("content-security-policy");
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ] {
        assert!(policy.contains(part), "{part} is not in {policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
    assert_eq!(shell.header("x-content-type-options"), "nosniff");
    assert_eq!(shell.header("referrer-policy"), "no-referrer");
}

#[tokio::test]
async fn whoever_is_no_browser_and_whoever_misspells_the_interface_is_told_so() {
    let world = World::start().await;
    for accept in ["*/*", "application/json", "application/json, text/html;q=0.5"] {
        let reply = world.get("/").header("accept", accept).send().await;
        assert_eq!(reply.code(), "no_route", "{accept}");
    }
    assert_eq!(world.get("/").send().await.code(), "no_route");
    for path in ["/v1", "/v1/", "/v1/nothing", "/docs/nothing", "/healthz/x", "/assets/nothing.js"] {
        assert_eq!(page(&world, path).await.code(), "no_route", "{path}");
    }
    let health = page(&world, "/healthz").await;
    assert_eq!(health.text(), "ok\n");
    let posted = world.post("/streams").header("accept", BROWSER).send().await;
    assert_eq!(posted.code(), "no_route");
}

#[tokio::test]
async fn a_foreign_name_gets_no_page() {
    let world = World::start().await;
    let reply = world.get("/").header("accept", BROWSER).set("host", "evil.example").send().await;
    assert_eq!(reply.code(), "foreign_host");
}

#[tokio::test]
async fn a_page_that_is_known_is_not_sent_again() {
    let world = World::start().await;
    let first = page(&world, "/").await;
    let tag = first.header("etag").to_owned();
    let again = world.get("/streams").header("accept", BROWSER).header("if-none-match", &tag).send().await;
    assert_eq!((again.status, again.text().len()), (304, 0));
    assert_eq!(again.header("etag"), tag);
    let other = world.get("/").header("accept", BROWSER).header("if-none-match", "\"other\"").send().await;
    assert_eq!(other.status, 200);
}

#[tokio::test]
async fn files_are_sent_as_short_as_the_client_takes_them_and_kept_for_ever() {
    let world = World::start().await;
    let shell = page(&world, "/").await;
    let plain = shell.text();
    let paths: Vec<String> = plain
        .split("\"/assets/")
        .skip(1)
        .filter_map(|rest| Some(format!("/assets/{}", rest.split('"').next()?)))
        .collect();
    assert_eq!(paths.is_empty(), !tw_console::is_built());
    for path in paths.iter().filter(|path| path.ends_with(".js")) {
        let mut tags = Vec::new();
        for (accepted, sent) in
            [("gzip, deflate, br", "br"), ("gzip, br;q=0", "gzip"), ("GZIP", "gzip"), ("identity", "")]
        {
            let reply = world.get(path).header("accept-encoding", accepted).send().await;
            assert_eq!(reply.status, 200, "{path}");
            assert_eq!(reply.header("content-encoding"), sent, "{path} {accepted}");
            assert_eq!(reply.header("content-type"), "text/javascript; charset=utf-8");
            assert_eq!(reply.header("cache-control"), "public, max-age=31536000, immutable");
            assert!(reply.header("vary").contains("accept-encoding"));
            tags.push(reply.header("etag").to_owned());
        }
        tags.sort();
        tags.dedup();
        assert_eq!(tags.len(), 3, "each encoding has a tag of its own");
    }
}

#[tokio::test]
async fn what_keeps_the_console_is_served_where_it_reaches_all_of_it_and_looked_at_each_time() {
    let world = World::start().await;
    for (path, media_type) in [
        ("/sw.js", "text/javascript; charset=utf-8"),
        ("/manifest.webmanifest", "application/manifest+json; charset=utf-8"),
    ] {
        let reply = world.get(path).send().await;
        if !tw_console::is_built() {
            assert_eq!(reply.code(), "no_route", "{path}");
            continue;
        }
        assert_eq!((reply.status, reply.header("content-type")), (200, media_type));
        assert_eq!(reply.header("cache-control"), "no-cache", "a new version is found");
    }
}
