//! The bytes of frames, frames in pieces, and bytes that are none.

use super::*;
use expect_test::expect;
use proptest::prelude::*;
use tw_merge::Seen;
use tw_types::{Epoch, Hlc, PartitionId, RegionId, Sequence};

fn seen() -> Seen {
    [(RegionId(2), Hlc::from_u64(70)), (RegionId(3), Hlc::from_u64(u64::MAX))].into_iter().collect()
}

fn hello() -> Hello {
    let name = "orders".to_owned();
    let (kind, mode) = ("log".to_owned(), "active-active".to_owned());
    Hello {
        protocols: PROTOCOLS,
        region: RegionId(1),
        name: "north".to_owned(),
        installation: 0xab,
        epoch: Epoch(1),
        now_ms: 1_700_000_000_000,
        wanted: None,
        relays: false,
        wanted_epoch: None,
        restores: false,
        withheld: vec![],
        evicted: vec![],
        streams: vec![Stream { name, partitions: 4, kind, mode, schema_hash: u64::MAX }],
    }
}

fn block(seen: Option<Seen>) -> Block {
    let bytes = Bytes::from_static(b"stored");
    Block { stream: 3, partition: PartitionId(1), next_hlc: Hlc::from_u64(9), seen, bytes }
}

fn frames() -> Vec<Frame> {
    let pulled = Pulled {
        stream: "orders".to_owned(),
        partition: PartitionId(1),
        region: RegionId(2),
        epoch: Epoch(1),
        after: Sequence(5),
        after_hlc: Hlc::from_u64(77),
    };
    let (stream, partition) = (0, PartitionId(1));
    let epochs = vec![(Epoch(1), Sequence(5)), (Epoch(2), Sequence(0))];
    vec![
        Frame::Hello(hello()),
        Frame::Refuse(Refuse { code: "copy".into(), text: "a copy".into(), remedy: "stop it".into() }),
        Frame::Pull(Pull { entries: vec![pulled] }),
        Frame::Credit(Credit { bytes: 1 << 24 }),
        Frame::Have(Have { now_ms: 1, latest: seen() }),
        Frame::Block(block(None)),
        Frame::Block(block(Some(seen()))),
        Frame::Passed(Passed {
            stream,
            partition,
            region: RegionId(2),
            epoch: Epoch(1),
            first: Sequence(6),
            last: Sequence(9),
            hlc: Hlc::from_u64(80),
        }),
        Frame::Heartbeat(Heartbeat {
            now_ms: 2,
            until: Hlc::from_u64(90),
            seen: seen(),
            relayed: None,
            epochs: vec![Epochs { stream, partition, epochs, sent: (Epoch(1), Sequence(4)) }],
        }),
    ]
}

fn bytes_of(frames: &[Frame]) -> BytesMut {
    let mut out = BytesMut::new();
    frames.iter().for_each(|frame| frame.encode(&mut out).unwrap());
    out
}

fn decode(mut bytes: &[u8]) -> Result<Vec<Frame>, Error> {
    let (mut decoder, mut frames) = (Decoder::new(), Vec::new());
    while let Some(frame) = decoder.next(&mut bytes)? {
        frames.push(frame);
    }
    Ok(frames)
}

#[test]
fn the_bytes_of_protocol_1_stay_as_they_are() {
    let line = |frame: &Frame| format!("{}\n", bytes_of(std::slice::from_ref(frame)).escape_ascii());
    expect![[r#"
        \x01\xfe\x00\x00\x00{\"protocols\":{\"min\":1,\"max\":4},\"region\":1,\"name\":\"north\",\"installation\":\"000000000000000000000000000000ab\",\"epoch\":1,\"now_ms\":1700000000000,\"streams\":[{\"name\":\"orders\",\"partitions\":4,\"kind\":\"log\",\"mode\":\"active-active\",\"schema_hash\":\"ffffffffffffffff\"}]}
        \x022\x00\x00\x00{\"code\":\"copy\",\"text\":\"a copy\",\"remedy\":\"stop it\"}
        \x03]\x00\x00\x00{\"entries\":[{\"stream\":\"orders\",\"partition\":1,\"region\":2,\"epoch\":1,\"after\":5,\"after_hlc\":77}]}
        \x04\x12\x00\x00\x00{\"bytes\":16777216}
        \x057\x00\x00\x00{\"now_ms\":1,\"latest\":{\"2\":70,\"3\":18446744073709551615}}
        \x10\x17\x00\x00\x00\x03\x00\x00\x00\x01\x00\x00\x00\t\x00\x00\x00\x00\x00\x00\x00\x00stored
        \x10-\x00\x00\x00\x03\x00\x00\x00\x01\x00\x00\x00\t\x00\x00\x00\x00\x00\x00\x00\x01\x02\x00\x02\x00F\x00\x00\x00\x00\x00\x00\x00\x03\x00\xff\xff\xff\xff\xff\xff\xff\xffstored
        \x11K\x00\x00\x00{\"stream\":0,\"partition\":1,\"region\":2,\"epoch\":1,\"first\":6,\"last\":9,\"hlc\":80}
        \x12\x8a\x00\x00\x00{\"now_ms\":2,\"until\":90,\"seen\":{\"2\":70,\"3\":18446744073709551615},\"epochs\":[{\"stream\":0,\"partition\":1,\"epochs\":[[1,5],[2,0]],\"sent\":[1,4]}]}
    "#]]
    .assert_eq(&frames().iter().map(line).collect::<String>());
}

#[test]
fn fields_of_later_versions_are_ignored() {
    let body = br#"{"bytes":7,"priority":{"a":[1]}}"#;
    let mut bytes = vec![CREDIT, body.len() as u8, 0, 0, 0];
    bytes.extend_from_slice(body);
    assert_eq!(decode(&bytes).unwrap(), [Frame::Credit(Credit { bytes: 7 })]);
}

#[test]
fn what_is_no_frame_is_refused_before_its_body_comes() {
    let refused = |bytes: &[u8]| decode(bytes).unwrap_err().to_string();
    assert!(refused(b"GET / HTTP/1.1").starts_with("a link has no frame of kind 71: "));
    assert!(refused(&[BLOCK, 0, 0, 0, 0xff]).contains("longer than the 67174400 that it may have"));
    assert!(refused(&[PULL, 1, 0, 0, 1]).contains("longer than the 16777216 that it may have"));
    assert!(refused(&[BLOCK, 1, 0, 0, 0, 9]).contains("it ends too early"));
    assert!(refused(b"\x04\x02\0\0\0{}").contains("the body of a frame of kind 4 cannot be read"));
    let mut many = vec![BLOCK, 19, 0, 0, 0];
    many.extend_from_slice(&[0; 16]);
    many.extend_from_slice(&[FLAG_ALL, 0, 0]);
    assert!(refused(&many).contains("a flag that is not known"));
    let length = many.len();
    many[length - 3..].copy_from_slice(&[1, 1, 4]);
    assert!(refused(&many).contains("it names too many regions"));
}

const FLAG_ALL: u8 = 0xff;

#[test]
fn what_is_too_long_is_not_encoded() {
    let mut out = BytesMut::from(&b"before"[..]);
    let bytes = Bytes::from(vec![0; FRAME_BYTES_MAX]);
    let long = Frame::Block(Block { bytes, ..block(None) }).encode(&mut out);
    assert!(matches!(long, Err(Error::TooLong { kind: BLOCK, .. })));
    let crowd: Seen = (0..1025).map(|region| (RegionId(region), Hlc::from_u64(1))).collect();
    assert!(matches!(Frame::Block(block(Some(crowd))).encode(&mut out), Err(Error::Head { .. })));
    let Frame::Pull(Pull { entries }) = &frames()[2] else { unreachable!() };
    let entries = vec![entries[0].clone(); ENTRIES_MAX + 1];
    assert!(matches!(Frame::Pull(Pull { entries }).encode(&mut out), Err(Error::TooMany { .. })));
    assert_eq!(&out[..], b"before");
}

#[test]
fn after_an_error_there_are_no_frames_any_more() {
    let mut decoder = Decoder::new();
    assert!(decoder.next(&mut &b"\0____"[..]).is_err());
    let good = bytes_of(&frames());
    assert!(decoder.next(&mut &good[..]).is_err());
    assert_eq!(decoder.buffered_bytes(), 0);
}

#[test]
fn a_length_that_is_only_announced_takes_no_memory() {
    let mut decoder = Decoder::new();
    let head = [&[BLOCK][..], &(64u32 << 20).to_le_bytes(), b"some"].concat();
    assert_eq!(decoder.next(&mut &head[..]).unwrap(), None);
    assert!(decoder.is_within_frame() && decoder.buffered_bytes() == 9);
}

proptest! {
    #![proptest_config(crate::link::testing::config(500))]

    #[test]
    fn frames_come_out_as_they_went_in_whatever_the_pieces(cuts in proptest::collection::vec(1usize..40, 1..200)) {
        let bytes = bytes_of(&frames());
        let (mut decoder, mut out, mut rest) = (Decoder::new(), Vec::new(), &bytes[..]);
        for cut in cuts.iter().cycle() {
            let (mut piece, later) = rest.split_at((*cut).min(rest.len()));
            while let Some(frame) = decoder.next(&mut piece).unwrap() {
                out.push(frame);
            }
            prop_assert!(piece.is_empty());
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(out, frames());
        prop_assert!(!decoder.is_within_frame());
    }

    #[test]
    fn no_bytes_make_it_panic(
        pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..8),
        kind in prop::sample::select(vec![1u8, 2, 3, 4, 5, 16, 17, 18]),
        length in 0u8..60,
        flipped in (any::<prop::sample::Index>(), any::<u8>()),
    ) {
        let mut damaged = bytes_of(&frames());
        let at = flipped.0.index(damaged.len());
        damaged[at] ^= flipped.1;
        let _ = decode(&damaged);
        let mut decoder = Decoder::new();
        let head = [kind, length, 0, 0, 0];
        'all: for piece in std::iter::once(&head[..]).chain(pieces.iter().map(Vec::as_slice)) {
            let mut piece = piece;
            loop {
                match decoder.next(&mut piece) {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => break 'all,
                }
            }
            prop_assert!(piece.is_empty());
            prop_assert!(decoder.buffered_bytes() < HEAD_BYTES + FRAME_BYTES_MAX);
        }
    }
}
