//! What another region says about evictions: any bytes are something that is understood, or nothing, and what is understood reads back the same.
//!
//! The first byte says of which type the event is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tw_region::eviction::Saying;
use tw_types::{Data, Event};

const TYPES: [&str; 4] =
    ["tradewind.region.evicted", "tradewind.region.closed", "tradewind.region.readmitted", "something.else"];

fuzz_target!(|input: &[u8]| {
    let Some((first, data)) = input.split_first() else { return };
    let ty = TYPES[usize::from(first & 3)];
    let event = Event { ty: ty.into(), data: Data::Json(data.to_vec()), ..Event::default() };
    let Some(saying) = Saying::read(&event.as_ref()) else { return };
    let again = saying.event("1".into());
    assert_eq!(again.ty, ty);
    assert_eq!(Saying::read(&again.as_ref()), Some(saying));
});
