//! Messages of logical replication: any bytes are decoded or refused, and all of what is decoded can be looked at.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tw_capture::postgres::pgoutput::{Message, Old, Tuple, Value, decode};

fn look(tuple: Tuple<'_>, within: usize) {
    let length = |value| if let Value::Text(text) = value { text.len() } else { 0 };
    assert!(tuple.values().map(length).sum::<usize>() <= within);
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&first, bytes)) = bytes.split_first() else { return };
    let Ok((_, message)) = decode(bytes, first & 1 == 1) else { return };
    let old = |old: Old<'_>| look(old.tuple(), bytes.len());
    match message {
        Message::Insert { new, .. } => look(new, bytes.len()),
        Message::Update { old: before, new, .. } => {
            before.map(old);
            look(new, bytes.len());
        }
        Message::Delete { old: before, .. } => old(before),
        Message::Relation(relation) => assert!(relation.columns().count() <= bytes.len()),
        Message::Truncate(relations) => assert!(relations.iter().count() <= bytes.len()),
        _ => {}
    }
});
