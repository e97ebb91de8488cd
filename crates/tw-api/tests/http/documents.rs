//! What the interface says about itself is true: its description, and the page that explains the codes.

use crate::support::World;
use http::Method;
use serde_json::Value;
use std::collections::BTreeSet;
use tw_api::Code;

#[tokio::test]
async fn every_example_of_the_description_is_accepted() {
    let world = World::start().await;
    world.control.add_source("shop");
    let document = world.get("/v1/openapi.json").send().await.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    // Definitions come first, so that what the other examples speak of exists.
    let mut requests = Vec::new();
    world.post("/v1/lock-sessions").json(r#"{"names":["held"]}"#).send().await;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            for (media_type, content) in operation["requestBody"]["content"].as_object().into_iter().flatten()
            {
                requests.push((method != "put", path, method, operation, media_type, &content["example"]));
            }
        }
    }
    requests.sort_by_key(|request| request.0);
    assert_eq!(requests.len(), 31);
    for (_, path, method, operation, media_type, example) in requests {
        let mut path = path.clone();
        for parameter in operation["parameters"].as_array().unwrap_or(&Vec::new()) {
            let place = format!("{{{}}}", parameter["name"].as_str().unwrap());
            let example = match parameter["name"].as_str() {
                // The one that was opened above.
                Some("session") => "s0",
                _ => parameter["example"].as_str().unwrap_or_default(),
            };
            path = path.replace(&place, example);
        }
        let body = example.as_str().map_or_else(|| example.to_string(), str::to_owned);
        let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
        let media_type: &'static str = media_type.clone().leak();
        let reply = world
            .call(method.clone(), &path)
            .header("content-type", media_type)
            .body(body.clone())
            .send()
            .await;
        // There are no regions, rights, claims and groups here, which is told only of what was read.
        let is_elsewhere = ["/v1/regions", "/v1/routing", "/v1/route", "/v1/groups"]
            .iter()
            .any(|start| path.starts_with(start));
        let is_of_regions = (is_elsewhere
            || ["/rights", "/claims", "/settled"].iter().any(|end| path.ends_with(end)))
            && reply.status == 409;
        assert!(
            reply.status < 300 || is_of_regions && reply.code() == "wrong_state",
            "{method} {path} {media_type} {body}: {}",
            reply.text()
        );
    }
}

#[tokio::test]
async fn whatever_is_described_is_served() {
    let world = World::start().await;
    let document = world.get("/v1/openapi.json").send().await.json();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys().filter(|_| path != "/v1/live") {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let reply = world.call(method.clone(), &path.replace(['{', '}'], "")).send().await;
            assert!(reply.status != 404 || reply.code() != "no_route", "{method} {path}");
        }
    }
}

#[tokio::test]
async fn every_code_is_explained_and_every_explanation_has_its_code() {
    let world = World::start().await;
    let page = world.get(tw_api::DOCS_PATH).send().await;
    assert_eq!(page.header("content-type"), "text/markdown; charset=utf-8");
    let mut explained = BTreeSet::new();
    for section in page.text().split("\n### ").skip(1) {
        let (code, text) = section.split_once("\n\n").unwrap();
        let known = Code::from_text(code)
            .unwrap_or_else(|| panic!("`{code}` is explained, but there is no such code"));
        assert!(text.starts_with(&format!("{}. ", known.status().as_u16())), "`{code}` has another status");
        assert!(text.trim().len() > 40, "`{code}` is hardly explained");
        assert!(explained.insert(code.to_owned()), "`{code}` is explained twice");
    }
    let codes: BTreeSet<String> = Code::ALL.iter().map(|code| code.as_str().to_owned()).collect();
    assert_eq!(explained, codes);
}

#[tokio::test]
async fn a_problem_leads_to_its_explanation() {
    let world = World::start().await;
    let reply = world.get("/v1/nothing").send().await;
    assert_eq!(reply.code(), "no_route");
    let problem: Value = reply.json();
    let (path, anchor) = problem["type"].as_str().unwrap().split_once('#').unwrap();
    let page = world.get(path).send().await;
    assert!(page.text().contains(&format!("\n### {anchor}\n")));
}

#[tokio::test]
async fn a_method_that_is_not_allowed_is_told_which_are() {
    let world = World::start().await;
    let reply = world.call(Method::DELETE, "/v1/streams/a/events").send().await;
    assert_eq!((reply.code().as_str(), reply.header("allow")), ("method_not_allowed", "POST, GET"));
}
