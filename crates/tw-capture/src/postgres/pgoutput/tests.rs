//! Two decoders, our own and another crate's, on messages that are whole, damaged or noise.
#![allow(clippy::indexing_slicing, reason = "tests stop at the first surprise")]

use super::*;
use pg_walstream::{ColumnData, LogicalReplicationMessage as Theirs, LogicalReplicationParser, TupleData};
use proptest::prelude::*;

/// One message as text, so that two decoders can be compared.
fn ours(bytes: &[u8], in_stream: bool) -> Option<(Option<u32>, String)> {
    let (xid, message) = decode(bytes, in_stream).ok()?;
    let tuple = |tuple: Tuple<'_>| {
        let values = tuple.values().map(|value| match value {
            Value::Null => "null".to_owned(),
            Value::Unchanged => "unchanged".to_owned(),
            Value::Text(text) => format!("{text:?}"),
        });
        format!("({})", values.collect::<Vec<_>>().join(","))
    };
    let old = |old: Old<'_>| match old {
        Old::Key(row) => format!("K{}", tuple(row)),
        Old::Full(row) => format!("O{}", tuple(row)),
    };
    let text = match message {
        Message::Begin { commit_lsn, committed_micros, xid } => {
            format!("begin {} {committed_micros} {xid}", commit_lsn.0)
        }
        Message::Commit(commit) => format!("commit {} {} {}", commit.lsn.0, commit.end.0, commit.micros),
        Message::Origin => "origin".into(),
        Message::Relation(relation) => {
            let columns: Vec<_> = relation.columns().collect();
            format!(
                "relation {} {} {} {} {columns:?}",
                relation.id, relation.schema, relation.name, relation.identity
            )
        }
        Message::Type { id, schema, name } => format!("type {id} {schema} {name}"),
        Message::Insert { relation, new } => format!("insert {relation} {}", tuple(new)),
        Message::Update { relation, old: before, new } => {
            format!("update {relation} {:?} {}", before.map(old), tuple(new))
        }
        Message::Delete { relation, old: before } => format!("delete {relation} {}", old(before)),
        Message::Truncate(relations) => format!("truncate {:?}", relations.iter().collect::<Vec<_>>()),
        Message::Logical { transactional, lsn, prefix, content } => {
            format!(
                "message {transactional} {} {} {content:?}",
                lsn.0,
                String::from_utf8(prefix.to_vec()).ok()?
            )
        }
        Message::StreamStart { xid, first } => format!("start {xid} {first}"),
        Message::StreamStop => "stop".into(),
        Message::StreamCommit { xid, commit } => {
            format!("stream commit {xid} {} {} {}", commit.lsn.0, commit.end.0, commit.micros)
        }
        Message::StreamAbort { xid, subxid } => format!("abort {xid} {subxid}"),
    };
    Some((xid, text))
}

/// The same, by another decoder.
fn theirs(bytes: &[u8], in_stream: bool) -> Option<(Option<u32>, String)> {
    let mut parser = LogicalReplicationParser::with_protocol_version(2);
    if in_stream {
        parser.parse_wal_message(&[b'S', 0, 0, 0, 9, 1]).unwrap();
    }
    let parsed = parser.parse_wal_message(bytes).ok()?;
    let value = |column: &ColumnData| match column.data_type {
        b'n' => "null".to_owned(),
        b'u' => "unchanged".to_owned(),
        _ => format!("{:?}", column.as_bytes()),
    };
    let tuple =
        |row: &TupleData| format!("({})", row.columns.iter().map(value).collect::<Vec<_>>().join(","));
    let text = match &parsed.message {
        Theirs::Begin { final_lsn, timestamp, xid } => format!("begin {final_lsn} {timestamp} {xid}"),
        Theirs::Commit { commit_lsn, end_lsn, timestamp, .. } => {
            format!("commit {commit_lsn} {end_lsn} {timestamp}")
        }
        Theirs::Origin { .. } => "origin".into(),
        Theirs::Relation { relation_id, namespace, relation_name, replica_identity, columns } => {
            let columns: Vec<_> = columns
                .iter()
                .map(|column| RelationColumn {
                    key: column.is_key(),
                    name: &column.name,
                    type_id: column.type_id,
                    type_modifier: column.type_modifier,
                })
                .collect();
            format!("relation {relation_id} {namespace} {relation_name} {replica_identity} {columns:?}")
        }
        Theirs::Type { type_id, namespace, type_name } => format!("type {type_id} {namespace} {type_name}"),
        Theirs::Insert { relation_id, tuple: new } => format!("insert {relation_id} {}", tuple(new)),
        Theirs::Update { relation_id, old_tuple, new_tuple, key_type } => {
            let old = old_tuple.as_ref().zip(*key_type).map(|(old, kind)| format!("{kind}{}", tuple(old)));
            format!("update {relation_id} {old:?} {}", tuple(new_tuple))
        }
        Theirs::Delete { relation_id, old_tuple, key_type } => {
            format!("delete {relation_id} {key_type}{}", tuple(old_tuple))
        }
        Theirs::Truncate { relation_ids, .. } => format!("truncate {relation_ids:?}"),
        Theirs::Message { flags, lsn, prefix, content } => {
            format!("message {} {lsn} {prefix} {:?}", flags & 1 != 0, &content[..])
        }
        Theirs::StreamStart { xid, first_segment } => format!("start {xid} {first_segment}"),
        Theirs::StreamStop => "stop".into(),
        Theirs::StreamCommit { xid, commit_lsn, end_lsn, timestamp, .. } => {
            format!("stream commit {xid} {commit_lsn} {end_lsn} {timestamp}")
        }
        Theirs::StreamAbort { xid, subtransaction_xid, .. } => format!("abort {xid} {subtransaction_xid}"),
        other => format!("{other:?}"),
    };
    let named = matches!(bytes.first(), Some(b'R' | b'Y' | b'I' | b'U' | b'D' | b'T' | b'M'));
    Some((parsed.xid.filter(|_| in_stream && named), text))
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    "[a-zü\"]{0,8}".prop_map(|text| text.bytes().chain([0]).collect())
}

fn number<const N: usize>() -> impl Strategy<Value = Vec<u8>> {
    proptest::array::uniform::<_, N>(any::<u8>()).prop_map(Vec::from)
}

fn tuple() -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![
        Just(vec![b'n']),
        Just(vec![b'u']),
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(|text| {
            let length = (text.len() as u32).to_be_bytes();
            [b't'].into_iter().chain(length).chain(text).collect::<Vec<u8>>()
        }),
    ];
    proptest::collection::vec(value, 0..6).prop_map(|values| {
        let count = (values.len() as u16).to_be_bytes();
        count.into_iter().chain(values.concat()).collect()
    })
}

fn columns() -> impl Strategy<Value = Vec<u8>> {
    let column =
        (0u8..2, text(), number::<8>()).prop_map(|(flags, name, rest)| [vec![flags], name, rest].concat());
    proptest::collection::vec(column, 0..5)
        .prop_map(|columns| [(columns.len() as u16).to_be_bytes().to_vec(), columns.concat()].concat())
}

/// A well-formed message, with the number of a transaction where a stream has one.
fn message(in_stream: bool) -> impl Strategy<Value = Vec<u8>> {
    let named = move |tag: u8, body: Vec<u8>| {
        let xid: &[u8] = if in_stream { &[0, 0, 2, 7] } else { &[] };
        [&[tag], xid, &body].concat()
    };
    let row =
        || (prop_oneof![Just(None), Just(Some(b'K')), Just(Some(b'O'))], tuple(), tuple(), number::<4>());
    prop_oneof![
        number::<20>().prop_map(|body| [vec![b'B'], body].concat()),
        number::<25>().prop_map(|body| [vec![b'C'], body].concat()),
        (number::<8>(), text()).prop_map(|(lsn, name)| [vec![b'O'], lsn, name].concat()),
        (number::<4>(), text(), text(), columns())
            .prop_map(move |(id, a, b, columns)| named(b'R', [id, a, b, vec![b'd'], columns].concat())),
        (number::<4>(), text(), text()).prop_map(move |(id, a, b)| named(b'Y', [id, a, b].concat())),
        (number::<4>(), tuple()).prop_map(move |(id, new)| named(b'I', [id, vec![b'N'], new].concat())),
        row().prop_map(move |(kind, old, new, id)| {
            let old = kind.map_or(Vec::new(), |kind| [vec![kind], old].concat());
            named(b'U', [id, old, vec![b'N'], new].concat())
        }),
        row().prop_map(move |(kind, old, _, id)| named(b'D', [id, vec![kind.unwrap_or(b'K')], old].concat())),
        proptest::collection::vec(any::<u32>(), 0..5).prop_map(move |ids| {
            let ids_bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_be_bytes()).collect();
            named(b'T', [(ids.len() as u32).to_be_bytes().to_vec(), vec![0], ids_bytes].concat())
        }),
        (0u8..2, number::<8>(), text(), proptest::collection::vec(any::<u8>(), 0..20)).prop_map(
            move |(flags, lsn, prefix, content)| {
                let length = (content.len() as u32).to_be_bytes().to_vec();
                named(b'M', [vec![flags], lsn, prefix, length, content].concat())
            }
        ),
        (number::<4>(), 0u8..2).prop_map(|(xid, first)| [vec![b'S'], xid, vec![first]].concat()),
        Just(vec![b'E']),
        number::<29>().prop_map(|body| [vec![b'c'], body].concat()),
        number::<8>().prop_map(|body| [vec![b'A'], body].concat()),
    ]
}

fn message_and_mode() -> impl Strategy<Value = (Vec<u8>, bool)> {
    any::<bool>().prop_flat_map(|in_stream| (message(in_stream), Just(in_stream)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn two_decoders_agree_on_every_message((bytes, in_stream) in message_and_mode()) {
        let read = ours(&bytes, in_stream);
        prop_assert!(read.is_some());
        prop_assert_eq!(read, theirs(&bytes, in_stream));
    }

    #[test]
    fn what_is_still_understood_after_damage_is_understood_alike(
        (mut bytes, in_stream) in message_and_mode(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut: Option<prop::sample::Index>,
    ) {
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()) + 1);
        }
        // The other decoder takes some messages that are too long or of kinds that were not asked for.
        if let Some(read) = ours(&bytes, in_stream) {
            prop_assert_eq!(Some(read), theirs(&bytes, in_stream));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100), in_stream: bool) {
        let _understood_or_not = ours(&bytes, in_stream);
    }
}

#[test]
fn a_count_that_lies_is_an_error() {
    for bytes in [
        &b"T\xff\xff\xff\xff\0\0\0\0\x01"[..],
        b"I\0\0\0\x01N\xff\xff",
        b"I\0\0\0\x01N\0\x01t\xff\xff\xff\xff",
        b"R\0\0\0\x01s\0t\0d\xff\xff",
    ] {
        assert_eq!(
            decode(bytes, false),
            Err(if bytes[0] == b'R' {
                Malformed("has a name that is not UTF-8, or ends too early")
            } else {
                SHORT
            })
        );
    }
}

#[test]
fn what_was_not_asked_for_is_an_error() {
    for bytes in [&b"I\0\0\0\x01N\0\x01b\0\0\0\0"[..], b"Z", b"E\0", b"I\0\0\0\x01X\0\0", b"D\0\0\0\x01N\0\0"]
    {
        assert!(decode(bytes, false).is_err(), "{bytes:?}");
    }
}
