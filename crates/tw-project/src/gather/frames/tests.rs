//! The bytes of answers.

use super::*;
use expect_test::expect;
use proptest::prelude::*;

fn answer() -> Vec<Bytes> {
    let mut groups = GroupsFrame::new(PartitionId(300));
    groups.entry(2, b"e", b"v");
    groups.group(b"g", b"");
    let mut rows = BytesMut::new();
    put_frame(&mut rows, Kind::Rows, b"arrow");
    let changed = Failure::OtherDefinition { view: "projection/p".into(), reads: 5 };
    vec![
        head(Some(7), "tw1;7=0:120".parse().unwrap(), Some(u64::MAX)),
        groups.finish(),
        rows.freeze(),
        failure(&changed),
        end(),
    ]
}

/// The frames of bytes that come in pieces.
fn read(bytes: &[u8], piece: usize) -> Result<Vec<Frame>, FrameError> {
    let (mut frames, mut all) = (Frames::new(1_000), Vec::new());
    for piece in bytes.chunks(piece) {
        frames.push(piece);
        while let Some(frame) = frames.take()? {
            all.push(frame);
        }
    }
    Ok(all)
}

#[test]
fn golden_bytes_of_version_1() {
    let texts: Vec<String> = answer().iter().map(|frame| frame.escape_ascii().to_string()).collect();
    expect![[r#"
        H\x00\x00\x00\x01{\"version\":1,\"held\":7,\"cut\":\"tw1;7=0:120\",\"state\":18446744073709551615}
        \r\x00\x00\x00\x02\xac\x02\x01\x02\x01e\x01v\x02\x01g\x00
        \x06\x00\x00\x00\x03arrow
        7\x00\x00\x00\x05{\"other_definition\":{\"view\":\"projection/p\",\"reads\":5}}
        \x01\x00\x00\x00\x04"#]]
    .assert_eq(&texts.join("\n"));
}

#[test]
fn a_head_has_what_there_is() {
    let head = Head { version: VERSION, held: None, cut: "tw1;7=0:120".parse().unwrap(), state: None };
    let text = serde_json::to_string(&head).unwrap();
    expect![[r#"{"version":1,"cut":"tw1;7=0:120"}"#]].assert_eq(&text);
    assert_eq!(Head::read(text.as_bytes()).unwrap(), head);
}

#[test]
fn failures_keep_their_form() {
    let failures = [
        Failure::NotHere,
        Failure::Behind,
        Failure::Gone,
        Failure::NotReadable { reason: "it is being built".into() },
        Failure::TokenTimeout,
        Failure::Timeout,
        Failure::Other { message: "no room".into() },
    ];
    let texts: Vec<String> = failures.iter().map(|failure| serde_json::to_string(failure).unwrap()).collect();
    expect![[r#"
        "not_here"
        "behind"
        "gone"
        {"not_readable":{"reason":"it is being built"}}
        "token_timeout"
        "timeout"
        {"other":{"message":"no room"}}"#]]
    .assert_eq(&texts.join("\n"));
    for (failure, text) in failures.iter().zip(&texts) {
        assert_eq!(serde_json::from_str::<Failure>(text).unwrap(), *failure);
    }
}

#[test]
fn frames_come_out_of_pieces_as_they_went_in() {
    let bytes = answer().concat();
    let whole = read(&bytes, bytes.len()).unwrap();
    assert_eq!(whole.len(), 5);
    for piece in [1, 2, 3, 50] {
        assert_eq!(read(&bytes, piece).unwrap(), whole);
    }
    let Frame::Groups(mut payload) = whole[1].clone() else { panic!("{whole:?}") };
    assert_eq!(take_partition(&mut payload).unwrap(), PartitionId(300));
    let entry = Item::Entry { aggregate: 2, key: "e".into(), value: "v".into() };
    assert_eq!(take_item(&mut payload).unwrap(), entry);
    assert_eq!(take_item(&mut payload).unwrap(), Item::Group { key: "g".into(), value: "".into() });
    assert!(payload.is_empty());
}

#[test]
fn a_frame_that_is_too_long_is_refused_before_it_is_there() {
    let error = read(&[0xff, 0xff, 0xff, 0x7f], 4).unwrap_err();
    assert!(matches!(error, FrameError::TooLong), "{error}");
}

#[test]
fn a_frame_of_no_groups_is_nothing() {
    assert!(GroupsFrame::new(PartitionId(1)).finish().is_empty());
}

proptest! {
    #[test]
    fn changed_answers_are_read_or_refused(at: proptest::sample::Index, byte: u8, piece in 1usize..40) {
        let mut bytes = answer().concat();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        for frame in read(&bytes, piece).unwrap_or_default() {
            if let Frame::Groups(mut payload) = frame {
                let _ = take_partition(&mut payload);
                while !payload.is_empty() && take_item(&mut payload).is_ok() {}
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>, piece in 1usize..40) {
        let _ = read(&bytes, piece);
        let mut payload = Bytes::from(bytes);
        while !payload.is_empty() && take_item(&mut payload).is_ok() {}
    }
}
