//! The format as a whole: it reads back, its bytes are fixed, and no damage goes unnoticed.
#![allow(clippy::indexing_slicing, reason = "test code")]

use super::*;
use bytes::Bytes;
use expect_test::expect;
use proptest::prelude::*;
use tw_types::{
    Compression, Data, Epoch, Event, Extension, ExtensionValue, Hlc, Offset, PartitionId, RegionId, Sequence,
    StreamId, StreamPartition, Timestamp, Version,
};

fn place() -> Placement {
    Placement {
        at: StreamPartition::new(StreamId(7), PartitionId(3)),
        base_offset: Offset(1000),
        first_hlc: Hlc::new(1_700_000_000_000, 5),
        region: RegionId(2),
        epoch: Epoch(4),
        base_sequence: Sequence(900),
    }
}

fn sample() -> Event {
    Event {
        id: "e-1".into(),
        source: "/shop".into(),
        ty: "order.placed".into(),
        subject: Some("order-7".into()),
        time: Some(Timestamp::from_millis(1_700_000_000_000)),
        datacontenttype: Some("application/json".into()),
        dataschema: None,
        extensions: vec![
            Extension { name: "traceparent".into(), value: ExtensionValue::Text("00-abc".into()) },
            Extension { name: "retries".into(), value: ExtensionValue::Integer(-2) },
            Extension { name: "urgent".into(), value: ExtensionValue::Bool(true) },
        ],
        data: Data::Json(br#"{"total":12}"#.to_vec()),
    }
}

fn block_of(events: &[Event], compression: Compression) -> Block {
    let mut builder = BatchBuilder::new();
    for (index, event) in events.iter().enumerate() {
        builder.push_versioned(&event.as_ref(), Version(index as u64 + 1));
    }
    Block::new(&builder.finish(compression).unwrap(), &place())
}

fn events_of(block: &Block) -> Vec<Event> {
    block.records().unwrap().iter().unwrap().map(|record| record.unwrap().event.to_owned()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .chunks(16)
        .map(|row| row.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ") + "\n")
        .collect()
}

#[test]
fn golden_bytes_of_version_1() {
    let second = Event { id: "e-2".into(), source: "/shop".into(), ty: "ping".into(), ..Event::default() };
    let block = block_of(&[sample(), second], Compression::Lz4);
    expect![[r#"
        54 57 42 31 76 5b 13 9a 80 68 e8 44 d3 00 00 00
        07 00 00 00 03 00 00 00 e8 03 00 00 00 00 00 00
        02 00 00 00 81 00 00 00 81 00 00 00 00 01 02 00
        04 00 00 00 01 00 00 00 84 03 00 00 00 00 00 00
        05 00 00 68 e5 cf 8b 01 06 00 00 68 e5 cf 8b 01
        07 05 2f 73 68 6f 70 0c 6f 72 64 65 72 2e 70 6c
        61 63 65 64 10 61 70 70 6c 69 63 61 74 69 6f 6e
        2f 6a 73 6f 6e 0b 74 72 61 63 65 70 61 72 65 6e
        74 07 72 65 74 72 69 65 73 06 75 72 67 65 6e 74
        04 70 69 6e 67 33 37 00 01 02 03 03 03 06 30 30
        2d 61 62 63 04 02 03 05 01 07 6f 72 64 65 72 2d
        37 03 65 2d 31 00 00 2a 36 fe 9c 97 17 7b 22 74
        6f 74 61 6c 22 3a 31 32 7d 07 00 00 06 03 65 2d
        32 01 02
    "#]]
    .assert_eq(&hex(&block.to_bytes()));
}

#[test]
fn records_carry_place_time_and_origin() {
    let block = block_of(&[sample(), sample(), sample()], Compression::None);
    let block = Block::read(&block.to_bytes()).unwrap();
    let records = block.records().unwrap();
    let last = records.iter().unwrap().last().unwrap().unwrap();
    assert_eq!((last.offset, last.version), (Offset(1002), Version(3)));
    assert_eq!(last.hlc, Hlc::new(1_700_000_000_000, 7));
    assert_eq!(last.origin.to_string(), "2.4.902");
    assert_eq!(block.header().end_offset(), Offset(1003));
}

#[test]
fn a_block_whose_offsets_sequences_or_times_run_out_is_refused() {
    let mut builder = BatchBuilder::new();
    (0..3).for_each(|_| builder.push(&sample().as_ref()));
    let batch = builder.finish(Compression::None).unwrap();
    let read = |place: &Placement| Block::read(&Block::new(&batch, place).to_bytes());
    let fits = Placement {
        base_offset: Offset(u64::MAX - 3),
        first_hlc: Hlc::from_u64(u64::MAX - 2),
        base_sequence: Sequence(u64::MAX - 3),
        ..place()
    };
    read(&fits).unwrap();
    for over in [
        Placement { base_offset: fits.base_offset.next(), ..fits },
        Placement { first_hlc: fits.first_hlc.plus(1), ..fits },
        Placement { base_sequence: Sequence(fits.base_sequence.0 + 1), ..fits },
    ] {
        assert!(matches!(read(&over), Err(Error::Malformed(_))), "{over:?}");
    }
}

#[test]
fn merged_batches_hold_the_same_events() {
    let mut other = sample();
    other.source = "/elsewhere".into();
    other.dataschema = Some("urn:schema".into());
    let mut merged = BatchBuilder::new();
    for event in [sample(), other.clone(), sample()] {
        let mut single = BatchBuilder::new();
        single.push_versioned(&event.as_ref(), Version(9));
        merged.push_batch(&single.finish(Compression::None).unwrap()).unwrap();
    }
    let block = Block::new(&merged.finish(Compression::None).unwrap(), &place());
    assert_eq!(events_of(&block), [sample(), other, sample()]);
}

/// Merging copies the records where both sides know the same texts by the same numbers, and only there.
#[test]
fn merged_batches_of_alike_and_other_events_hold_the_same_events() {
    let kinds = ["a", "b", "a", "a", "c", "b", "a"];
    let events: Vec<Event> = kinds.iter().map(|ty| Event { ty: (*ty).into(), ..sample() }).collect();
    let mut merged = BatchBuilder::new();
    for pair in events.chunks(2) {
        let mut batch = BatchBuilder::new();
        pair.iter().for_each(|event| batch.push(&event.as_ref()));
        merged.push_batch(&batch.finish(Compression::None).unwrap()).unwrap();
    }
    assert_eq!(merged.count(), 7);
    let block = Block::new(&merged.finish(Compression::None).unwrap(), &place());
    assert_eq!(events_of(&block), events);
    assert_eq!(block.header().end_offset(), Offset(1007));
}

#[test]
fn a_batch_knows_whether_kafka_can_hold_its_events_and_what_they_say() {
    let mut named = sample();
    named.extensions[0].name = "nul\0".into();
    let mut builder = BatchBuilder::new();
    let mut batch = |events: &[&Event]| {
        events.iter().for_each(|event| builder.push(&event.as_ref()));
        builder.finish(Compression::None).unwrap()
    };
    let (unfit, fit) = (batch(&[&sample(), &named, &sample()]), batch(&[&sample()]));
    assert_eq!((unfit.fits_kafka(), fit.fits_kafka()), (false, true));
    let mut merged = BatchBuilder::new();
    [&fit, &unfit, &fit].into_iter().for_each(|batch| merged.push_batch(batch).unwrap());
    let merged = merged.finish(Compression::Lz4).unwrap();
    assert!(!merged.fits_kafka());
    let records = merged.records().unwrap();
    let offsets: Vec<_> = records.iter().unwrap().map(|record| record.unwrap().offset.0).collect();
    assert_eq!(offsets, [0, 1, 2, 3, 4]);
    assert_eq!(records.iter().unwrap().nth(2).unwrap().unwrap().event.to_owned(), named);
}

#[test]
fn what_compaction_keeps_stays_at_its_offset() {
    let events: Vec<Event> = (0..5).map(|i| Event { id: format!("e-{i}"), ..sample() }).collect();
    let block = block_of(&events, Compression::Lz4);
    let kept = block.retain(Compression::Lz4, |r| r.offset.0 % 2 == 1).unwrap().unwrap();
    let kept = Block::read(&kept.to_bytes()).unwrap();
    let seen: Vec<_> = kept
        .records()
        .unwrap()
        .iter()
        .unwrap()
        .map(|r| r.map(|r| (r.offset.0, r.version.0, r.origin.sequence.0, r.event.id.to_owned())).unwrap())
        .collect();
    assert_eq!(seen, [(1001, 2, 901, "e-1".to_owned()), (1003, 4, 903, "e-3".to_owned())]);
    assert!(block.retain(Compression::None, |_| false).unwrap().is_none());
}

#[test]
fn skipping_lands_on_the_offset() {
    let block = block_of(&vec![sample(); 10], Compression::None);
    let records = block.records().unwrap();
    let mut iter = records.iter().unwrap();
    iter.skip_before(Offset(1007)).unwrap();
    let rest: Vec<_> = iter.map(|r| r.map(|r| (r.offset.0, r.version.0)).unwrap()).collect();
    assert_eq!(rest, [(1007, 8), (1008, 9), (1009, 10)]);
}

#[test]
fn a_batch_over_the_limit_is_refused() {
    let mut builder = BatchBuilder::new();
    let data = vec![b'x'; BLOCK_BYTES_MAX];
    builder.push(&tw_types::EventRef { id: "big", data: Data::Text(&data), ..Default::default() });
    assert!(matches!(builder.finish(Compression::None), Err(Error::TooLarge { .. })));
}

/// LOG-5: whichever byte of a block is changed, the block is refused.
#[test]
fn log_5_every_changed_byte_is_noticed() {
    let block = block_of(&[sample(), sample()], Compression::Lz4).to_bytes();
    for at in 0..block.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = block.to_vec();
            bytes[at] ^= flip;
            assert!(Block::read(&Bytes::from(bytes)).is_err(), "byte {at} xor {flip:02x}");
        }
    }
    for cut in 0..block.len() {
        assert!(Block::read(&block.slice(..cut)).is_err(), "cut at {cut}");
    }
}

fn any_text() -> impl Strategy<Value = String> {
    proptest::string::string_regex("[a-zäß/]{0,12}").unwrap()
}

fn any_event() -> impl Strategy<Value = Event> {
    let data = prop_oneof![
        Just(Data::None),
        any_text().prop_map(|t| Data::Json(format!("\"{t}\"").into_bytes())),
        any_text().prop_map(|t| Data::Text(t.into_bytes())),
        proptest::collection::vec(any::<u8>(), 0..600).prop_map(Data::Binary),
    ];
    let value = prop_oneof![
        any::<bool>().prop_map(ExtensionValue::Bool),
        any::<i32>().prop_map(ExtensionValue::Integer),
        any_text().prop_map(ExtensionValue::Text),
    ];
    let extensions = proptest::collection::vec(
        (any_text(), value).prop_map(|(name, value)| Extension { name, value }),
        0..3,
    );
    let texts = (any_text(), any_text(), any_text(), proptest::option::of(any_text()));
    let options = (proptest::option::of(any_text()), proptest::option::of(any_text()), any::<Option<i64>>());
    (texts, options, extensions, data).prop_map(
        |((id, source, ty, subject), (ct, schema, time), extensions, data)| {
            let time = time.map(Timestamp::from_nanos);
            Event { id, source, ty, subject, time, datacontenttype: ct, dataschema: schema, extensions, data }
        },
    )
}

/// A batch that could be written but not read would be lost with all that is in its block.
#[test]
fn the_most_texts_read_back_and_one_more_is_refused() {
    let event_with = |texts: usize| {
        let mut event = Event { extensions: Vec::new(), ..sample() };
        // Source, type and content type are texts, too.
        let name = |n: usize| Extension { name: format!("{n:x}"), value: ExtensionValue::Bool(true) };
        event.extensions.extend((3..texts).map(name));
        event
    };
    let mut builder = BatchBuilder::new();
    let event = event_with(TEXTS_MAX);
    builder.push(&event.as_ref());
    assert_eq!(builder.texts(), TEXTS_MAX);
    let block = Block::new(&builder.finish(Compression::Lz4).unwrap(), &place());
    assert_eq!(events_of(&block), [event]);
    builder.push(&event_with(TEXTS_MAX + 1).as_ref());
    let refused = builder.finish(Compression::Lz4).unwrap_err();
    assert_eq!(refused, Error::TooManyTexts { texts: TEXTS_MAX + 1, texts_max: TEXTS_MAX });
    // The builder can be used again.
    builder.push(&sample().as_ref());
    assert_eq!(builder.finish(Compression::None).unwrap().count(), 1);
}

proptest! {
    #[test]
    fn events_read_back(events in proptest::collection::vec(any_event(), 1..40), lz4 in any::<bool>()) {
        let compression = if lz4 { Compression::Lz4 } else { Compression::None };
        let block = Block::read(&block_of(&events, compression).to_bytes()).unwrap();
        prop_assert_eq!(events_of(&block), events);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Block::read(&Bytes::from(bytes));
    }

    /// A block whose checksums are right but whose content is not: as a hostile peer would send it.
    #[test]
    fn hostile_content_is_refused_without_panic(
        events in proptest::collection::vec(any_event(), 1..6),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let block = block_of(&events, Compression::None);
        let mut bytes = block.to_bytes().to_vec();
        for (at, value) in changes {
            let at = 12 + at.index(bytes.len() - 12);
            bytes[at] = value;
        }
        let body_crc = crc32c::crc32c(&bytes[HEADER_BYTES..]);
        bytes[8..12].copy_from_slice(&body_crc.to_le_bytes());
        let header_crc = crc32c::crc32c(&bytes[8..HEADER_BYTES]);
        bytes[4..8].copy_from_slice(&header_crc.to_le_bytes());
        if let Ok(block) = Block::read(&Bytes::from(bytes))
            && let Ok(records) = block.records()
            && let Ok(iter) = records.iter()
        {
            for record in iter {
                let _ = record;
            }
        }
    }
}
