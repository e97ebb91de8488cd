//! Properties over generated events and hostile bytes.

use super::super::*;
use super::stored;
use proptest::prelude::*;
use std::borrow::Cow;
use tw_types::{Data, Extension, ExtensionValue, PartitionId, Timestamp};

/// A text that an attribute may have.
fn text() -> impl Strategy<Value = Cow<'static, str>> {
    r#"[ -~äß€😀]{1,20}"#.prop_map(Cow::Owned)
}

fn uri() -> impl Strategy<Value = Cow<'static, str>> {
    r"[a-z]{1,5}:[a-zA-Z0-9/._~?#&=+-]{0,20}(%2[0-9A-F])?".prop_map(Cow::Owned)
}

fn extension() -> impl Strategy<Value = Extension<Cow<'static, str>>> {
    let value = prop_oneof![
        any::<bool>().prop_map(ExtensionValue::Bool),
        any::<i32>().prop_map(ExtensionValue::Integer),
        text().prop_map(ExtensionValue::Text),
    ];
    // No name of the specification is this long or has this prefix.
    ("x[a-z0-9]{0,18}", value).prop_map(|(name, value)| Extension { name: name.into(), value })
}

type Body = (Option<Cow<'static, str>>, Data<Cow<'static, [u8]>>);

fn body() -> impl Strategy<Value = Body> {
    let json = prop_oneof![
        Just("null".to_owned()),
        any::<f64>().prop_filter("JSON has finite numbers", |n| n.is_finite()).prop_map(|n| format!("{n:e}")),
        ".{0,20}".prop_map(|text| serde_json::to_string(&text).unwrap()),
        "[a-z\\[{\"]{0,9}"
            .prop_map(|text| format!("{{\n\"a\" : [1, {}]}}", serde_json::to_string(&text).unwrap())),
    ];
    prop_oneof![
        (json, prop_oneof![Just(None), Just(Some("application/x+json; a=b".into()))])
            .prop_map(|(json, media_type)| (media_type, Data::Json(json.into_bytes().into()))),
        ".{0,30}".prop_map(|text| (Some("text/plain".into()), Data::Text(text.into_bytes().into()))),
        prop::collection::vec(any::<u8>(), 0..50)
            .prop_map(|bytes| (Some("application/octet-stream".into()), Data::Binary(bytes.into()))),
        Just((None, Data::None)),
    ]
}

fn event() -> impl Strategy<Value = CloudEvent<'static>> {
    let attributes = (
        text(),
        uri(),
        text(),
        prop::option::of(text()),
        prop::option::of(any::<i64>()),
        prop::option::of(uri()),
    );
    (attributes, prop::collection::vec(extension(), 0..5), body()).prop_map(
        |((id, source, ty, subject, time, dataschema), mut extensions, (datacontenttype, data))| {
            extensions.sort_by(|a, b| a.name.cmp(&b.name));
            extensions.dedup_by(|a, b| a.name == b.name);
            let time = time.map(Timestamp::from_nanos);
            CloudEvent { id, source, ty, subject, time, datacontenttype, dataschema, extensions, data }
        },
    )
}

/// The event as JSON, without the attributes that only a stored one has.
fn json(event: &CloudEvent<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    write_event(&mut out, &stored(event.as_ref()), PartitionId(0));
    without_place(out)
}

fn without_place(json: Vec<u8>) -> Vec<u8> {
    let place = r#","twposition":"0:120","twversion":"3","twhlc":"1700000000000.5","tworigin":"2.4.900""#;
    let text = String::from_utf8(json).unwrap();
    let (head, tail) = text.split_once(place).unwrap();
    [head, tail].concat().into_bytes()
}

/// The event as headers.
fn headers(event: &CloudEvent<'_>) -> Vec<(String, Vec<u8>)> {
    let encode = |text: &str| -> Vec<u8> {
        let safe = |b: &u8| matches!(b, 0x21..=0x7e) && !b"\"%".contains(b);
        text.bytes().flat_map(|b| if safe(&b) { vec![b] } else { format!("%{b:02x}").into_bytes() }).collect()
    };
    let mut headers = vec![("ce-specversion".to_owned(), b"1.0".to_vec())];
    let mut add = |name: &str, text: &str| headers.push((format!("ce-{name}"), encode(text)));
    add("id", &event.id);
    add("source", &event.source);
    add("type", &event.ty);
    event.subject.iter().for_each(|text| add("subject", text));
    event.dataschema.iter().for_each(|text| add("dataschema", text));
    event.time.iter().for_each(|time| add("time", &time.to_string()));
    for extension in &event.extensions {
        match &extension.value {
            ExtensionValue::Bool(value) => add(&extension.name, &value.to_string()),
            ExtensionValue::Integer(value) => add(&extension.name, &value.to_string()),
            ExtensionValue::Text(text) => add(&extension.name, text),
        }
    }
    event
        .datacontenttype
        .iter()
        .for_each(|text| headers.push(("content-type".into(), text.as_bytes().to_vec())));
    headers
}

fn no_panic(bytes: &[u8]) {
    let limits = Limits { events_max: 10, ..Limits::default() };
    let _ = read_event(bytes, &limits);
    let _ = read_batch(bytes, &limits, |_| -> Result<(), Error> { Ok(()) });
    let _ = read_lines(bytes, &limits).map(Iterator::count);
    let headers = bytes.split(|b| *b == b'\n').filter_map(|line| {
        let mut parts = line.splitn(2, |b| *b == b':');
        Some((std::str::from_utf8(parts.next()?).ok()?, parts.next()?))
    });
    let _ = read_binary(headers, bytes, &limits);
}

proptest! {
    #[test]
    fn an_event_in_json_reads_back(event in event()) {
        let json = json(&event);
        prop_assert_eq!(read_event(&json, &Limits::default()).unwrap(), event);
    }

    #[test]
    fn several_events_read_back_in_order(events in prop::collection::vec(event(), 0..5)) {
        let all: Vec<_> = events.iter().map(json).collect();
        let mut read = Vec::new();
        let batch = [b"[".as_slice(), &all.join(&b","[..]), b"]"].concat();
        let mut take = |event: CloudEvent<'_>| -> Result<(), Error> {
            read.push(json(&event));
            Ok(())
        };
        prop_assert_eq!(read_batch(&batch, &Limits::default(), &mut take).unwrap() as usize, events.len());
        prop_assert_eq!(&read, &all);
    }

    #[test]
    fn events_on_one_line_each_read_back(events in prop::collection::vec(event(), 0..5)) {
        let mut lines = Vec::new();
        for event in &events {
            let mut line = Vec::new();
            write_event_on_one_line(&mut line, &stored(event.as_ref()), PartitionId(0));
            prop_assert!(!line.contains(&b'\n') && !line.contains(&b'\r'));
            lines.extend_from_slice(&without_place(line));
            lines.push(b'\n');
        }
        let read = read_lines(&lines, &Limits::default()).unwrap();
        let ids: Vec<_> = read.map(|event| event.unwrap().1.id.into_owned()).collect();
        prop_assert_eq!(ids, events.iter().map(|event| event.id.clone().into_owned()).collect::<Vec<_>>());
    }

    #[test]
    fn an_event_in_headers_reads_back(event in event()) {
        let headers = headers(&event);
        let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        let body = event.data.bytes().to_vec();
        let read = read_binary(headers, &body, &Limits::default()).unwrap();
        // Headers carry no types: every extension comes back as the text that it was sent as.
        for (read, sent) in read.extensions.iter().zip(&event.extensions) {
            let sent = match &sent.value {
                ExtensionValue::Bool(value) => value.to_string(),
                ExtensionValue::Integer(value) => value.to_string(),
                ExtensionValue::Text(text) => text.clone().into_owned(),
            };
            prop_assert_eq!(&read.value, &ExtensionValue::Text(sent.into()));
        }
        prop_assert_eq!((&read.id, &read.source, &read.ty), (&event.id, &event.source, &event.ty));
        prop_assert_eq!((&read.subject, read.time, &read.dataschema), (&event.subject, event.time, &event.dataschema));
        prop_assert_eq!(read.data.bytes(), event.data.bytes());
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        no_panic(&bytes);
    }

    #[test]
    fn events_with_changed_bytes_are_read_or_refused(
        event in event(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)
    ) {
        let mut bytes = json(&event);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        no_panic(&bytes);
        no_panic(&[b"ce-id:", bytes.as_slice()].concat());
    }
}
