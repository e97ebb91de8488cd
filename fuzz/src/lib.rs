//! What several targets need.

use tw_wire::cloudevents::{CloudEvent, write_event};

/// Writes `event` as JSON as if it were stored, without the attributes that say where.
pub fn write(out: &mut Vec<u8>, event: &CloudEvent<'_>) {
    let stored = tw_types::StoredRef {
        event: event.as_ref(),
        offset: tw_types::Offset(0),
        version: tw_types::Version(1),
        hlc: tw_types::Hlc::ZERO,
        origin: tw_types::Origin::default(),
    };
    write_event(out, &stored, tw_types::PartitionId(0));
    let place = br#","twposition":"0:0","twversion":"1","twhlc":"0.0","tworigin":"0.0.0""#;
    // Values of attributes cannot contain it: their quotes are escaped. Data comes after it.
    if let Some(at) = out.windows(place.len()).position(|window| window == place) {
        out.drain(at..at + place.len());
    }
}
