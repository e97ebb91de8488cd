//! Every part of an event that all regions share counts, and nothing else does.

use super::*;
use tw_types::{
    Epoch, Event, Extension, Hlc, Offset, Origin, RegionId, Sequence, Stored, Timestamp, Version,
};
use xxhash_rust::xxh3::xxh3_128;

fn stored() -> Stored {
    let text = |name: &str, value: &str| Extension {
        name: name.to_owned(),
        value: ExtensionValue::Text(value.to_owned()),
    };
    Stored {
        event: Event {
            id: "e-1".into(),
            source: "/shop".into(),
            ty: "order.placed".into(),
            subject: Some("order-7".into()),
            time: Some(Timestamp::from_nanos(5)),
            datacontenttype: Some("application/json".into()),
            dataschema: Some("/schema".into()),
            extensions: vec![
                text("traceparent", "00-a"),
                Extension { name: "n".into(), value: ExtensionValue::Integer(1) },
            ],
            data: Data::Json(b"{}".to_vec()),
        },
        position: tw_types::Position { partition: PartitionId(3), offset: Offset(9) },
        version: Version(2),
        hlc: Hlc::new(1_780_000_000_000, 4),
        origin: Origin { region: RegionId(2), epoch: Epoch(1), sequence: Sequence(6) },
    }
}

fn hash(stored: &Stored) -> u128 {
    let borrowed = StoredRef {
        event: stored.event.as_ref(),
        offset: stored.position.offset,
        version: stored.version,
        hlc: stored.hlc,
        origin: stored.origin,
    };
    let mut out = b"what was there before".to_vec();
    write(&mut out, stored.position.partition, &borrowed);
    xxh3_128(&out)
}

/// What is changed, and how.
type Change = (&'static str, fn(&mut Stored));

#[test]
fn reg_1_a_changed_byte_anywhere_changes_the_hash() {
    let before = hash(&stored());
    let changes: [Change; 22] = [
        ("partition", |one| one.position.partition = PartitionId(4)),
        ("region", |one| one.origin.region = RegionId(3)),
        ("epoch", |one| one.origin.epoch = Epoch(2)),
        ("sequence", |one| one.origin.sequence = Sequence(7)),
        ("timestamp", |one| one.hlc = one.hlc.plus(1)),
        ("id", |one| one.event.id = "e-2".into()),
        ("source", |one| one.event.source = "/shoq".into()),
        ("type", |one| one.event.ty = "order.placef".into()),
        ("subject", |one| one.event.subject = Some("order-8".into())),
        ("no subject", |one| one.event.subject = None),
        ("time", |one| one.event.time = Some(Timestamp::from_nanos(6))),
        ("no time", |one| one.event.time = None),
        ("media type", |one| one.event.datacontenttype = None),
        ("schema", |one| one.event.dataschema = Some("/schemb".into())),
        ("extension", |one| one.event.extensions[0].value = ExtensionValue::Text("00-b".into())),
        ("its name", |one| one.event.extensions[0].name = "traceparens".into()),
        ("its kind", |one| one.event.extensions[1].value = ExtensionValue::Bool(true)),
        ("fewer", |one| drop(one.event.extensions.pop())),
        ("data", |one| one.event.data = Data::Json(b"[]".to_vec())),
        ("kind of data", |one| one.event.data = Data::Text(b"{}".to_vec())),
        ("no data", |one| one.event.data = Data::None),
        // Where one text ends and the next one begins counts, too.
        ("border", |one| (one.event.id, one.event.source) = ("e-1/".into(), "shop".into())),
    ];
    for (what, change) in changes {
        let mut other = stored();
        change(&mut other);
        assert_ne!(hash(&other), before, "{what}");
    }
}

#[test]
fn reg_1_what_is_of_one_region_does_not_count() {
    let mut other = stored();
    other.position.offset = Offset(1_000);
    other.version = Version(77);
    assert_eq!(hash(&other), hash(&stored()));
}

#[test]
fn a_hash_is_the_same_in_every_build() {
    assert_eq!(format!("{:032x}", hash(&stored())), "a4a8cc3e0edf9b9d1e7a0d0512e1e53f");
}
