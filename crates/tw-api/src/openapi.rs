//! The description of the interface, OpenAPI 3.1, made from the table of routes and the types that are sent.
//!
//! [`operations::describe`] has an arm for every [`Route`], so none can be forgotten.

mod doc;
mod operations;
pub(crate) mod schemas;

use crate::problem;
use crate::route::Route;
use doc::{Doc, Schemas};
use http::Method;
use utoipa::openapi::path::{HttpMethod, Operation, PathItem, Paths};
use utoipa::openapi::tag::Tag;
use utoipa::openapi::{Components, InfoBuilder, License, OpenApi, OpenApiBuilder};

const DESCRIPTION: &str = "Events in and out, SQL, and the state of everything.

Every answer names its request in `X-Request-Id`. What is refused is answered with a problem (RFC 9457) whose `code` is stable;
`/docs/errors` explains each. An append answers with a token, and a read that sends it as `Tradewind-Token` sees that append,
or fails after `timeout_ms`. Any request can be refused with `foreign_host`, `headers_too_large`, `overloaded`, and any that
changes something with `foreign_origin`.";

/// The description as JSON.
pub(crate) fn json() -> Vec<u8> {
    // Texts and maps always have a JSON form.
    serde_json::to_vec(&document()).unwrap_or_default()
}

fn document() -> OpenApi {
    let mut schemas = Schemas::default();
    schemas.add::<problem::Sent<'_>>();
    let mut paths = Paths::new();
    for route in Route::ALL {
        let operation = operations::describe(*route, Doc::new(&mut schemas)).operation(*route);
        add(&mut paths, *route, operation);
    }
    let mut components = Components::new();
    components.schemas = schemas.finish();
    let info = InfoBuilder::new()
        .title("Tradewind")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(DESCRIPTION))
        .license(Some(License::new("Apache-2.0")))
        .build();
    let tags = [
        ("events", "Events in and out, and the histories of subjects"),
        ("sql", "Statements"),
        ("streams", "Definitions of streams"),
        ("sources", "Databases that are captured"),
        ("projections", "SQL views that are kept up to date"),
        ("parked", "Events that could not be processed"),
        ("cluster", "The nodes of a cluster, who has what, and who is to have it"),
        ("regions", "The links of this region with others"),
        ("groups", "Consumer groups of Kafka: other programs that read streams from the brokers"),
        ("locks", "Locks with fencing tokens, held by sessions that their clients renew"),
        ("config", "Options that change while nodes run"),
        ("system", "The node and the interface itself"),
    ];
    let tags = tags.map(|(name, description)| {
        let mut tag = Tag::new(name);
        tag.description = Some(description.to_owned());
        tag
    });
    OpenApiBuilder::new().info(info).paths(paths).components(Some(components)).tags(Some(tags)).build()
}

fn add(paths: &mut Paths, route: Route, operation: Operation) {
    let method = match route.method() {
        Method::POST => HttpMethod::Post,
        Method::PUT => HttpMethod::Put,
        Method::PATCH => HttpMethod::Patch,
        Method::DELETE => HttpMethod::Delete,
        _ => HttpMethod::Get,
    };
    let item = PathItem::new(method, operation);
    match paths.paths.get_mut(route.path()) {
        Some(known) => known.merge_operations(item),
        None => {
            paths.paths.insert(route.path().to_owned(), item);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;
    use serde_json::Value;

    fn described() -> Value {
        serde_json::from_slice(&json()).unwrap()
    }

    #[test]
    fn every_route_is_described_and_nothing_else() {
        let document = described();
        let mut found = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                found.push(format!("{} {path}", method.to_uppercase()));
                assert!(operation["summary"].as_str().is_some_and(|s| !s.is_empty()), "{path}");
                let captures = path.split('/').filter(|part| part.starts_with('{')).count();
                let in_path = |p: &&Value| {
                    p["in"] == "path" && path.contains(&format!("{{{}}}", p["name"].as_str().unwrap()))
                };
                let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
                assert_eq!(parameters.iter().filter(in_path).count(), captures, "{method} {path}");
            }
        }
        let mut expected: Vec<_> = Route::ALL.iter().map(|route| route.name().to_owned()).collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(members) => {
                    found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
                    members.values().for_each(|value| references(value, found));
                }
                Value::Array(items) => items.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let document = described();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 50);
        for reference in found {
            assert!(document.pointer(reference.strip_prefix('#').unwrap()).is_some(), "{reference}");
        }
    }

    #[test]
    fn every_code_belongs_to_an_operation_or_to_all() {
        let text = serde_json::to_string(&described()).unwrap();
        for code in Code::ALL {
            assert!(text.contains(&format!("`{}`", code.as_str())), "{} is nowhere described", code.as_str());
        }
    }
}
