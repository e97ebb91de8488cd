//! What another region has defined: any bytes are something that is understood, or nothing; what is understood reads back the same, and something can be
//! made of it.
//!
//! The first byte says of which type the event is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tw_merge::Stamp;
use tw_region::definitions::{Agreed, Definition};
use tw_types::{Data, Epoch, Event, Hlc, Origin, RegionId, Sequence};

const TYPES: [&str; 6] = [
    "tradewind.stream.created",
    "tradewind.stream.altered",
    "tradewind.stream.dropped",
    "tradewind.projection.defined",
    "tradewind.projection.dropped",
    "something.else",
];

fuzz_target!(|input: &[u8]| {
    let Some((first, data)) = input.split_first() else { return };
    let ty = TYPES[usize::from(*first) % TYPES.len()];
    let event = Event { ty: ty.into(), data: Data::Json(data.to_vec()), ..Event::default() };
    let Some(definition) = Definition::read(&event.as_ref()) else { return };
    let again = definition.event("1".into());
    assert_eq!(again.ty, ty);
    assert_eq!(Definition::read(&again.as_ref()), Some(definition.clone()));
    let mut agreed = Agreed::default();
    for number in 1..3 {
        let origin = Origin { region: RegionId(2), epoch: Epoch(1), sequence: Sequence(number) };
        agreed.learn(Stamp { hlc: Hlc::from_u64(number), origin }, definition.clone());
    }
    let _made = agreed.steps(&tw_log::Streams::new());
});
