//! The formats as a whole: what the specification shows is read, what breaks a rule is refused with the rule, what is
//! written reads back, and no bytes make a reader panic.
#![allow(clippy::indexing_slicing, reason = "test code")]

mod arbitrary;

use super::*;
use expect_test::{Expect, expect};
use tw_types::{
    Data, Epoch, EventRef, ExtensionValue, Hlc, Offset, Origin, PartitionId, RegionId, Sequence, StoredRef,
    Version,
};

const SMALL: &str = r#""specversion":"1.0","id":"1","source":"/s","type":"t""#;

fn read(json: &str) -> Result<CloudEvent<'_>, Error> {
    read_event(json.as_bytes(), &Limits::default())
}

/// The error of one event with the minimal attributes and `members`.
fn refused(members: &str, expected: Expect) {
    let json = format!("{{{SMALL},{members}}}");
    expected.assert_eq(&read(&json).unwrap_err().to_string());
}

fn batch(json: &str, limits: &Limits) -> Result<Vec<String>, Error> {
    let mut ids = Vec::new();
    read_batch(json.as_bytes(), limits, |event| -> Result<(), Error> {
        ids.push(event.id.into_owned());
        Ok(())
    })?;
    Ok(ids)
}

fn lines(json: &str, limits: &Limits) -> Result<Vec<String>, Error> {
    read_lines(json.as_bytes(), limits)?.map(|event| Ok(event?.1.id.into_owned())).collect()
}

fn stored(event: EventRef<'_>) -> StoredRef<'_> {
    StoredRef {
        event,
        offset: Offset(120),
        version: Version(3),
        hlc: Hlc::new(1_700_000_000_000, 5),
        origin: Origin { region: RegionId(2), epoch: Epoch(4), sequence: Sequence(900) },
    }
}

fn written(event: &CloudEvent<'_>) -> String {
    let mut out = Vec::new();
    write_event(&mut out, &stored(event.as_ref()), PartitionId(7));
    String::from_utf8(out).unwrap()
}

#[test]
fn attributes_come_in_any_order_and_null_means_absent() {
    let event = read(
        r#" { "data" : {"a" : 1.50, "b":[1e400]} , "type":"com.example.some", "unset": null, "subject": null,
            "number": -5, "flag": true, "time":"2018-04-05T17:31:00Z", "datacontenttype":"text/x+json",
            "id":"A234\u002d1234", "source":"/mycontext", "specversion":"1.0", "text":"\u00e9" } "#,
    )
    .unwrap();
    assert_eq!((&*event.id, &*event.source, &*event.ty), ("A234-1234", "/mycontext", "com.example.some"));
    assert_eq!(event.subject, None);
    assert_eq!(event.data.as_slice(), Data::Json(br#"{"a" : 1.50, "b":[1e400]}"#.as_slice()));
    let extensions = event.as_ref().extensions;
    let found: Vec<_> = extensions.iter().map(|e| (e.name, e.value)).collect();
    assert_eq!(
        found,
        [
            ("number", ExtensionValue::Integer(-5)),
            ("flag", ExtensionValue::Bool(true)),
            ("text", ExtensionValue::Text("é")),
        ]
    );
}

#[test]
fn data_follows_its_content_type() {
    let data = |members: &str| {
        let json = format!("{{{SMALL},{members}}}");
        let data = read(&json).unwrap().data;
        match data {
            Data::None => "none".to_owned(),
            Data::Json(b) => format!("json {}", String::from_utf8_lossy(&b)),
            Data::Text(b) => format!("text {}", String::from_utf8_lossy(&b)),
            Data::Binary(b) => format!("binary {b:?}"),
        }
    };
    assert_eq!(data(r#""data":null"#), "json null");
    assert_eq!(data(r#""data":"just a string""#), r#"json "just a string""#);
    assert_eq!(data(r#""datacontenttype":"application/xml","data":"<a b=\"c\"/>""#), r#"text <a b="c"/>"#);
    assert_eq!(data(r#""data_base64":"AAH/""#), "binary [0, 1, 255]");
    assert_eq!(data(r#""datacontenttype":"a/json","data_base64":"IHsidCI6MX0K""#), r#"json {"t":1}"#);
    assert_eq!(data(r#""x":"y""#), "none");
}

#[test]
fn each_broken_rule_of_the_attributes_is_named_with_its_remedy() {
    refused(r#""id":"2""#, expect!["attribute `id` is there twice: keep one"]);
    refused(r#""x":1,"x":1"#, expect!["attribute `x` is there twice: keep one"]);
    refused(r#""specversion":"0.3""#, expect!["attribute `specversion` is `0.3`: only 1.0 is understood"]);
    refused(
        r#""subject":"""#,
        expect!["attribute `subject` is ``: it may not be empty, leave it out instead"],
    );
    refused(r#""subject":7"#, expect!["attribute `subject` is `7`: it must be a text, put it in quotes"]);
    refused(
        r#""time":"yesterday""#,
        expect![
            "attribute `time` is `yesterday`: use RFC 3339 such as 2026-01-31T09:30:00Z, between the years 1678 and 2261"
        ],
    );
    refused(
        r#""dataschema":"v1""#,
        expect!["attribute `dataschema` is `v1`: it must be a URI with a scheme, such as https: or urn:"],
    );
    refused(
        r#""datacontenttype":"json""#,
        expect!["attribute `datacontenttype` is `json`: it must be a media type, such as application/json"],
    );
    refused(
        r#""Trace":"x""#,
        expect!["`Trace` cannot name an attribute: use 1 to 64 lower-case letters and digits"],
    );
    refused(
        r#""twposition":"0:1""#,
        expect![
            "attribute `twposition` is reserved: names that start with `tw` are the platform's, leave it out"
        ],
    );
    refused(
        r#""ratio":1.5"#,
        expect![
            "attribute `ratio` is `1.5`: it must be a text, true, false or a whole number of 32 bits; write others as text"
        ],
    );
    refused(
        r#""x":{"a":[{}]}"#,
        expect![
            "attribute `x` is `{…}`: it must be a text, true, false or a whole number of 32 bits; write others as text"
        ],
    );
    refused(
        r#""subject":[1,[2]]"#,
        expect!["attribute `subject` is `[…]`: it must be a text, put it in quotes"],
    );
    refused(
        r#""big":2147483648"#,
        expect![
            "attribute `big` is `2147483648`: it must be a text, true, false or a whole number of 32 bits; write others as text"
        ],
    );
    refused(
        r#""x":"a\nb""#,
        expect![[
            r#"attribute `x` is `a\nb`: control characters and Unicode noncharacters are not allowed, move it to the data"#
        ]],
    );
}

#[test]
fn each_broken_rule_of_the_data_is_named_with_its_remedy() {
    refused(r#""data":1,"data_base64":"AA==""#, expect!["both `data` and `data_base64` are there: keep one"]);
    refused(r#""data":1,"data":2"#, expect!["attribute `data` is there twice: keep one"]);
    refused(
        r#""data_base64":"A""#,
        expect!["attribute `data_base64` is `A`: it must be base64 as in RFC 4648, section 4, with padding"],
    );
    refused(
        r#""datacontenttype":"text/plain","data":{}"#,
        expect![
            "attribute `datacontenttype` is `text/plain`: data of this content type is a JSON string in `data`, or base64 in `data_base64`"
        ],
    );
}

#[test]
fn what_is_not_an_event_in_json_is_refused_with_line_and_column() {
    for (json, expected) in [
        ("", expect!["not an event in JSON: EOF while parsing a value at line 1 column 0"]),
        (
            "[]",
            expect![
                "not an event in JSON: invalid type: sequence, expected a JSON object with the attributes of an event at line 1 column 0"
            ],
        ),
        (r#"{"id":"1"} x"#, expect!["not an event in JSON: trailing characters at line 1 column 12"]),
        (
            r#"{"id":"\ud800"}"#,
            expect!["not an event in JSON: unexpected end of hex escape at line 1 column 14"],
        ),
        ("{}", expect!["attribute `specversion` is missing: every event says 1.0"]),
        (
            r#"{"specversion":"1.0"}"#,
            expect!["attribute `id` is missing: say what makes it unique for its source, such as a UUID"],
        ),
        (
            r#"{"specversion":"1.0","id":"1"}"#,
            expect!["attribute `source` is missing: say who the event comes from, such as /shop"],
        ),
        (
            r#"{"specversion":"1.0","id":"1","source":"/s"}"#,
            expect!["attribute `type` is missing: say what happened, such as order.placed"],
        ),
    ] {
        expected.assert_eq(&read(json).unwrap_err().to_string());
    }
    let error = read_event(b"{\"id\":\"\xff\"}", &Limits::default()).unwrap_err();
    assert_eq!(error.problem, Problem::NotUtf8(7));
}

#[test]
fn limits_hold() {
    let limits = Limits { events_max: 1, extensions_max: 1, attribute_bytes_max: 3, depth_max: 2 };
    let problem = |members: &str| {
        let json = format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t",{members}}}"#);
        read_event(json.as_bytes(), &limits).map(drop).map_err(|error| error.problem.to_string())
    };
    assert_eq!(problem(r#""a":1,"data":[[1]]"#), Ok(()));
    assert_eq!(
        problem(r#""a":1,"b":1"#).unwrap_err(),
        "more than 1 extension attributes: move some to the data"
    );
    assert_eq!(
        problem(r#""subject":"long""#).unwrap_err(),
        "attribute `subject` has 4 bytes, over the limit of 3: shorten it, or move it to the data"
    );
    assert_eq!(
        problem(r#""data":[[[]]]"#).unwrap_err(),
        "the data is nested deeper than 2 levels: make it flatter"
    );
    let two = format!("{{{SMALL}}},{{{SMALL}}}");
    let error = batch(&format!("[{two}]"), &limits).unwrap_err();
    assert_eq!(error.to_string(), "event [1]: more than 1 events at once: split them");
    let error = lines(&two.replace("},{", "}\n{"), &limits).unwrap_err();
    assert_eq!(error.to_string(), "line 2: more than 1 events at once: split them");
}

#[test]
fn a_batch_tells_which_event_is_wrong() {
    let limits = Limits::default();
    assert_eq!(batch(" [ ] ", &limits).unwrap(), Vec::<String>::new());
    assert_eq!(batch(&format!("[{{{SMALL}}},{{{SMALL}}}]"), &limits).unwrap(), ["1", "1"]);
    let error = |json: &str| batch(json, &limits).unwrap_err().to_string();
    expect!["event [1]: attribute `specversion` is missing: every event says 1.0"]
        .assert_eq(&error(&format!("[{{{SMALL}}},{{}}]")));
    expect!["event [1]: attribute `x` is there twice: keep one"]
        .assert_eq(&error(&format!(r#"[{{{SMALL}}},{{{SMALL},"x":1,"x":1}}]"#)));
    expect!["event [1]: not an event in JSON: trailing comma at line 1 column 58"]
        .assert_eq(&error(&format!("[{{{SMALL}}},]")));
    expect!["event [0]: not an event in JSON: invalid type: map, expected a JSON array of events at line 1 column 0"]
        .assert_eq(&error("{}"));
}

#[test]
fn lines_may_be_empty_and_errors_count_them() {
    let limits = Limits::default();
    let json = format!("\n{{{SMALL}}}\r\n  \n{{{SMALL}}}");
    assert_eq!(lines(&json, &limits).unwrap(), ["1", "1"]);
    let error = lines(&format!("{json}\n\n{{"), &limits).unwrap_err();
    assert_eq!(error.place, Place::Line(6));
}

#[test]
fn an_error_of_the_receiver_stops_the_reading() {
    #[derive(Debug, PartialEq)]
    enum Stop {
        Here(String),
        Invalid(Error),
    }
    impl From<Error> for Stop {
        fn from(error: Error) -> Self {
            Self::Invalid(error)
        }
    }
    let json = format!("[{{{SMALL}}},{{}}]");
    let each = |event: CloudEvent<'_>| Err(Stop::Here(event.id.into_owned()));
    assert_eq!(read_batch(json.as_bytes(), &Limits::default(), each), Err(Stop::Here("1".into())));
    let each = |_: CloudEvent<'_>| Ok(());
    assert!(matches!(read_batch(json.as_bytes(), &Limits::default(), each), Err(Stop::Invalid(_))));
}

fn binary(
    headers: &[(&'static str, &'static str)],
    body: &'static [u8],
) -> Result<CloudEvent<'static>, Error> {
    let required = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t")];
    let headers = required.iter().chain(headers).map(|(name, value)| (*name, value.as_bytes()));
    read_binary(headers, body, &Limits::default())
}

#[test]
fn headers_are_unquoted_and_percent_decoded_once() {
    let headers = [
        ("ce-subject", "Euro%20%E2%82%AC%20%F0%9F%98%80"),
        ("ce-quoted", r#""a \"b\" %41""#),
        ("ce-once", "%2541"),
        ("accept", "ce-nothing"),
        ("content-type", "application/json; charset=utf-8"),
    ];
    let event = binary(&headers, b" {\"a\": 1}\n").unwrap();
    assert_eq!(event.subject.as_deref(), Some("Euro € 😀"));
    assert_eq!(event.data.as_slice(), Data::Json(br#"{"a": 1}"#.as_slice()));
    let extensions: Vec<_> = event.extensions.iter().map(|e| e.value.clone()).collect();
    assert_eq!(extensions, [ExtensionValue::Text(r#"a "b" A"#.into()), ExtensionValue::Text("%41".into())]);
}

#[test]
fn a_body_becomes_json_text_or_bytes() {
    let data = |media_type, body| binary(&[("content-type", media_type)], body).unwrap().data;
    assert_eq!(data("text/plain", b"hello"), Data::Text(b"hello".as_slice().into()));
    assert_eq!(data("text/plain", b"\xff"), Data::Binary(b"\xff".as_slice().into()));
    assert_eq!(data("image/png", b"hello"), Data::Binary(b"hello".as_slice().into()));
    assert_eq!(data("application/json", b""), Data::None);
    assert_eq!(binary(&[], b"x").unwrap().data, Data::Binary(b"x".as_slice().into()));
}

#[test]
fn headers_that_break_a_rule_are_refused() {
    let error = |name, value| binary(&[(name, value)], b"{").unwrap_err().to_string();
    for (name, value, expected) in [
        ("ce-x", "%c0%a0", expect!["attribute `x` is `%c0%a0`: what it percent-encodes is not UTF-8"]),
        (
            "ce-x",
            "100%",
            expect![
                "attribute `x` is `100%`: `%` starts two hexadecimal digits, write %25 for the character itself"
            ],
        ),
        (
            "ce-x",
            "\"a",
            expect![[
                r#"attribute `x` is `"a`: the quotes do not match, write %22 for the character itself"#
            ]],
        ),
        (
            "ce-x",
            "%0a",
            expect![
                "attribute `x` is `\\n`: control characters and Unicode noncharacters are not allowed, move it to the data"
            ],
        ),
        ("ce-x_y", "a", expect!["`x_y` cannot name an attribute: use 1 to 64 lower-case letters and digits"]),
        (
            "ce-datacontenttype",
            "a/b",
            expect![
                "attribute `datacontenttype` is `a/b`: in the binary mode the header content-type says it"
            ],
        ),
        ("ce-data", "a", expect!["attribute `data` is `a`: in the binary mode the data is the body"]),
        ("ce-id", "2", expect!["attribute `id` is there twice: keep one"]),
        (
            "content-type",
            "application/json",
            expect![
                "the data is not JSON: EOF while parsing an object at line 1 column 1; correct it, or say another content type"
            ],
        ),
    ] {
        expected.assert_eq(&error(name, value));
    }
}

#[test]
fn stored_events_are_written_with_their_place() {
    let event = read(
        r#"{"specversion":"1.0","id":"e\"1","source":"/shop","type":"order.placed","subject":"größe",
            "time":"2026-01-31T09:30:00.120Z","n":-1,"b":false,"data":{"total": 12.50,
 "x":null}}"#,
    )
    .unwrap();
    expect![[r#"
        {"specversion":"1.0","id":"e\"1","source":"/shop","type":"order.placed","subject":"größe","time":"2026-01-31T09:30:00.120Z","n":-1,"b":false,"twposition":"7:120","twversion":"3","twhlc":"1700000000000.5","tworigin":"2.4.900","data":{"total": 12.50,
         "x":null}}"#]]
    .assert_eq(&written(&event));
    let mut line = Vec::new();
    write_event_on_one_line(&mut line, &stored(event.as_ref()), PartitionId(7));
    assert!(String::from_utf8(line).unwrap().ends_with(r#""data":{"total": 12.50,  "x":null}}"#));
}

#[test]
fn notes_of_the_platform_are_not_written() {
    let note = tw_types::Extension { name: "twnote".into(), value: ExtensionValue::Bool(true) };
    let event = CloudEvent { extensions: vec![note], ..CloudEvent::default() };
    assert!(!written(&event).contains("twnote"));
}

#[test]
fn bytes_are_written_as_base64() {
    let event =
        CloudEvent { data: Data::Binary(b"\0\x01\xff\xfe".as_slice().into()), ..CloudEvent::default() };
    assert!(written(&event).ends_with(r#","data_base64":"AAH//g=="}"#));
}
