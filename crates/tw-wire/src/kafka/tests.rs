//! Records read back as they were, and nothing that is read panics.

use super::*;
use expect_test::expect;
use proptest::prelude::*;
use tw_types::Event;

const PARTITION: PartitionId = PartitionId(3);

type Headers = Vec<(String, Vec<u8>)>;

fn place() -> Place {
    let origin = Origin { region: RegionId(2), epoch: Epoch(4), sequence: Sequence(900) };
    Place { offset: Offset(1000), hlc: Hlc::new(1_700_000_000_000, 5), origin, version: Some(Version(7)) }
}

fn write(event: &Event, place: &Place) -> Headers {
    let stored = StoredRef {
        event: event.as_ref(),
        offset: place.offset,
        version: place.version.unwrap_or_default(),
        hlc: place.hlc,
        origin: place.origin,
    };
    let mut headers = Headers::new();
    write_headers(PARTITION, &stored, place.version.is_some(), &mut |name, value| {
        headers.push((name.to_owned(), value.to_vec()));
    });
    headers
}

fn read_back<'a>(headers: &'a Headers, value: Option<&'a [u8]>) -> Result<Record<'a>, Malformed> {
    read(PARTITION, headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())), value)
}

fn sample() -> Event {
    let extension = |name: &str, value| Extension { name: name.to_owned(), value };
    Event {
        id: "e-1".into(),
        source: "/shop".into(),
        ty: "order.placed".into(),
        subject: Some("order-7".into()),
        time: Some(Timestamp::from_millis(1_700_000_000_000)),
        datacontenttype: Some("application/json".into()),
        dataschema: Some("urn:x".into()),
        extensions: vec![
            extension("traceparent", ExtensionValue::Text("00-abc".into())),
            extension("retries", ExtensionValue::Integer(-2)),
            extension("urgent", ExtensionValue::Bool(true)),
        ],
        data: Data::Json(br#"{"total":12}"#.to_vec()),
    }
}

#[test]
fn headers_of_an_event() {
    let lines: String = write(&sample(), &place())
        .iter()
        .map(|(name, value)| format!("{name} = {}\n", String::from_utf8_lossy(value)))
        .collect();
    expect![[r#"
        ce_twposition = 3:1000
        ce_twhlc = 1700000000000.5
        ce_tworigin = 2.4.900
        ce_twversion = 7
        ce_twform = jSDCTsib
        ce_specversion = 1.0
        ce_id = e-1
        ce_source = /shop
        ce_type = order.placed
        ce_subject = order-7
        ce_dataschema = urn:x
        content-type = application/json
        ce_time = 2023-11-14T22:13:20Z
        ce_traceparent = 00-abc
        ce_retries = -2
        ce_urgent = true
    "#]]
    .assert_eq(&lines);
}

#[test]
fn an_event_without_a_subject_has_a_key_of_its_own() {
    let check = |event: Event, expected: &[u8]| {
        let Place { hlc, origin, .. } = place();
        let stored =
            StoredRef { event: event.as_ref(), offset: Offset(5), version: Version::NONE, hlc, origin };
        assert_eq!(key(PARTITION, &stored, &mut Vec::new()), expected);
    };
    check(sample(), b"order-7");
    check(Event { subject: None, ..sample() }, b"\x003:5");
}

#[test]
fn the_end_of_an_emptied_partition_reads_back() {
    let mut headers = Headers::new();
    write_trimmed(PARTITION, &place(), &mut |name, value| headers.push((name.to_owned(), value.to_vec())));
    let expected = Place { version: None, ..place() };
    assert_eq!(read_back(&headers, None), Ok(Record::Trimmed(expected)));
}

#[test]
fn records_of_others_are_told_by_the_header_that_is_wrong() {
    let headers = write(&sample(), &place());
    let check = |name: &str, value: &str, header: &'static str| {
        let mut changed = headers.clone();
        for (_, old) in changed.iter_mut().filter(|(other, _)| other == name) {
            *old = value.as_bytes().to_vec();
        }
        assert_eq!(read_back(&changed, Some(b"1")), Err(Malformed { header }), "{name} = {value}");
    };
    check("ce_twposition", "4:1000", "ce_twposition");
    check("ce_twposition", "3:18446744073709551615", "ce_twposition");
    check("ce_twhlc", "281474976710656.0", "ce_twhlc");
    check("ce_tworigin", "2.4.900.1", "ce_tworigin");
    check("ce_twversion", "-1", "ce_twversion");
    check("ce_twform", "x", "ce_twform");
    check("ce_twform", "n", "ce_twform");
    check("ce_twform", "jDCTsib", "ce_dataschema");
    check("ce_twform", "jSDCTsibs", "ce_twform");
    check("ce_twform", "jSDCTssz", "ce_twform");
    check("ce_time", "now", "ce_time");
    assert_eq!(read_back(&Headers::new(), None), Err(Malformed { header: "ce_twposition" }));
}

/// Any text, among them names of our own headers.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9]{0,8}",
        any::<String>(),
        prop::sample::select(&["twform", "subject", "time", "id", "twposition"][..]).prop_map(str::to_owned),
    ]
}

fn events() -> impl Strategy<Value = Event> {
    let value = prop_oneof![
        any::<bool>().prop_map(ExtensionValue::Bool),
        any::<i32>().prop_map(ExtensionValue::Integer),
        text().prop_map(ExtensionValue::Text),
    ];
    let extensions = (text(), value).prop_map(|(name, value)| Extension { name, value });
    let data = prop_oneof![
        Just(Data::None),
        text().prop_map(|text| Data::Text(text.into_bytes())),
        Just(Data::Json(b"{}".to_vec())),
        prop::collection::vec(any::<u8>(), 0..9).prop_map(Data::Binary),
    ];
    let optional = || prop::option::of(text());
    let time = prop::option::of(any::<i64>().prop_map(Timestamp::from_nanos));
    (
        (text(), text(), text()),
        (optional(), optional(), optional(), time),
        prop::collection::vec(extensions, 0..4),
        data,
    )
        .prop_map(
            |((id, source, ty), (subject, datacontenttype, dataschema, time), extensions, data)| Event {
                id,
                source,
                ty,
                subject,
                time,
                datacontenttype,
                dataschema,
                extensions,
                data,
            },
        )
}

proptest! {
    #[test]
    fn every_event_reads_back_as_it_was(event in events(), versioned: bool, added in text()) {
        let place = Place { version: versioned.then_some(Version(7)), ..place() };
        let mut headers = write(&event, &place);
        // By a tool on the way.
        headers.push((added, vec![255]));
        let data = event.data.bytes().to_vec();
        let value = Some(data.as_slice()).filter(|data| !data.is_empty());
        prop_assert_eq!(read_back(&headers, value), Ok(Record::Event(place, event.as_ref())));
    }

    #[test]
    fn headers_of_any_kind_do_no_harm(
        event in events(),
        changes in prop::collection::vec((0usize..20, any::<Vec<u8>>(), any::<bool>()), 0..4),
        value in prop::option::of(any::<Vec<u8>>()),
    ) {
        let mut headers = write(&event, &place());
        for (index, bytes, remove) in changes {
            if remove && index < headers.len() {
                headers.remove(index);
            } else if let Some((_, value)) = headers.get_mut(index) {
                *value = bytes;
            }
        }
        if let Ok(Record::Event(place, event)) = read_back(&headers, value.as_deref()) {
            // What is read can be written, and is read as the same again.
            let headers = write(&event.to_owned(), &place);
            prop_assert_eq!(read_back(&headers, value.as_deref()), Ok(Record::Event(place, event)));
        }
    }
}
