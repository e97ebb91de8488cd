//! One operation while it is described.

use crate::Code;
use crate::route::Route;
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::ToSchema;
use utoipa::openapi::path::{Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBody;
use utoipa::openapi::schema::{Ref, Schema, Type};
use utoipa::openapi::{Content, HeaderBuilder, ObjectBuilder, RefOr, Required, ResponseBuilder};

/// The schemas of everything that is sent.
#[derive(Default)]
pub(super) struct Schemas(BTreeMap<String, RefOr<Schema>>);

impl Schemas {
    /// Adds a type and those that it consists of, and refers to it.
    pub(super) fn add<T: ToSchema>(&mut self) -> Ref {
        let name = T::name().into_owned();
        if !self.0.contains_key(&name) {
            self.0.insert(name.clone(), T::schema());
            let mut parts = Vec::new();
            T::schemas(&mut parts);
            self.0.extend(parts);
        }
        Ref::from_schema_name(name)
    }

    pub(super) fn finish(self) -> BTreeMap<String, RefOr<Schema>> {
        self.0
    }
}

/// What is said of an operation.
pub(super) struct Doc<'s> {
    schemas: &'s mut Schemas,
    builder: OperationBuilder,
    parameters: Vec<Parameter>,
    request: Option<RequestBody>,
    responses: BTreeMap<u16, ResponseBuilder>,
    codes: BTreeMap<u16, Vec<Code>>,
}

impl<'s> Doc<'s> {
    pub(super) fn new(schemas: &'s mut Schemas) -> Self {
        let (builder, codes) = (OperationBuilder::new(), BTreeMap::new());
        Self { schemas, builder, parameters: Vec::new(), request: None, responses: BTreeMap::new(), codes }
    }

    /// Its group, and what it does in one line.
    pub(super) fn about(mut self, tag: &str, summary: &str) -> Self {
        self.builder = self.builder.tag(tag).summary(Some(summary));
        self
    }

    /// What else is to be known.
    pub(super) fn details(mut self, text: &str) -> Self {
        self.builder = self.builder.description(Some(text));
        self
    }

    /// A parameter of the query.
    pub(super) fn query(self, name: &str, text: &str, example: impl Into<Value>) -> Self {
        self.parameter(ParameterIn::Query, name, text, example.into())
    }

    /// A header of the request.
    pub(super) fn header(self, name: &str, text: &str, example: &str) -> Self {
        self.parameter(ParameterIn::Header, name, text, example.into())
    }

    /// A captured segment of the path.
    pub(super) fn path(self, name: &str, text: &str, example: impl Into<Value>) -> Self {
        self.parameter(ParameterIn::Path, name, text, example.into())
    }

    fn parameter(mut self, place: ParameterIn, name: &str, text: &str, example: Value) -> Self {
        let ty = match &example {
            Value::Number(_) => Type::Integer,
            Value::Bool(_) => Type::Boolean,
            _ => Type::String,
        };
        let required = if place == ParameterIn::Path { Required::True } else { Required::False };
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(place)
            .required(required)
            .description(Some(text))
            .schema(Some(ObjectBuilder::new().schema_type(ty)))
            .example(Some(example))
            .build();
        self.parameters.push(parameter);
        self
    }

    /// A body of this type and media type, with an example.
    pub(super) fn body<T: ToSchema>(self, media_type: &str, example: Value) -> Self {
        let schema = self.schemas.add::<T>();
        self.add_body(media_type, Content::new(Some(schema)), example)
    }

    /// A body that is text.
    pub(super) fn text_body(self, media_type: &str, example: &str) -> Self {
        self.add_body(media_type, Content::new(Some(string())), example.into())
    }

    fn add_body(mut self, media_type: &str, mut content: Content, example: Value) -> Self {
        content.example = Some(example);
        let body = self.request.get_or_insert_with(RequestBody::new);
        body.content.insert(media_type.to_owned(), RefOr::T(content));
        self
    }

    /// An answer with content of this type.
    pub(super) fn answer<T: ToSchema>(self, status: u16, media_type: &str, text: &str) -> Self {
        let schema = self.schemas.add::<T>();
        self.add_answer(status, text, |response| response.content(media_type, Content::new(Some(schema))))
    }

    /// An answer that is text.
    pub(super) fn text_answer(self, status: u16, media_type: &str, text: &str) -> Self {
        self.add_answer(status, text, |response| response.content(media_type, Content::new(Some(string()))))
    }

    /// An answer without content.
    pub(super) fn empty_answer(self, status: u16, text: &str) -> Self {
        self.add_answer(status, text, |response| response)
    }

    /// A header of an answer that is described already.
    pub(super) fn answer_header(self, status: u16, name: &str, text: &str) -> Self {
        let header = HeaderBuilder::new().schema(Some(string())).description(Some(text)).build();
        self.add_answer(status, "", |response| response.header(name, header))
    }

    fn add_answer(
        mut self,
        status: u16,
        text: &str,
        add: impl FnOnce(ResponseBuilder) -> ResponseBuilder,
    ) -> Self {
        let mut response = self.responses.remove(&status).unwrap_or_default();
        if !text.is_empty() {
            response = response.description(text);
        }
        self.responses.insert(status, add(response));
        self
    }

    /// The problems that it can answer with besides those of every operation.
    pub(super) fn problems(mut self, codes: &[Code]) -> Self {
        for code in codes {
            self.codes.entry(code.status().as_u16()).or_default().push(*code);
        }
        self
    }

    /// The operation of `route`.
    pub(super) fn operation(mut self, route: Route) -> Operation {
        let problem = || Content::new(Some(Ref::from_schema_name("Problem")));
        for (status, codes) in std::mem::take(&mut self.codes) {
            let named: Vec<String> =
                codes.iter().map(|code| format!("`{}`: {}", code.as_str(), code.title())).collect();
            self = self.add_answer(status, &named.join("; "), |response| {
                response.content("application/problem+json", problem())
            });
        }
        let mut builder = self.builder.operation_id(Some(format!("{route:?}")));
        for parameter in self.parameters {
            builder = builder.parameter(parameter);
        }
        for (status, response) in self.responses {
            builder = builder.response(status.to_string(), response.build());
        }
        let any = ResponseBuilder::new().description("Any other problem.");
        builder
            .response("default", any.content("application/problem+json", problem()).build())
            .request_body(self.request)
            .build()
    }
}

fn string() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}
