//! What another region says about homes: any bytes are something that is understood, or nothing, and what is understood reads back the same.
//!
//! The first byte says of which type the event is, and who wrote it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tw_region::home::Saying;
use tw_types::{Data, Event, RegionId};

const TYPES: [&str; 4] =
    ["tradewind.home.moved", "tradewind.home.taken", "tradewind.home.opened", "something.else"];

fuzz_target!(|input: &[u8]| {
    let Some((first, data)) = input.split_first() else { return };
    let author = RegionId(u16::from(first >> 2));
    let ty = TYPES[usize::from(first & 3)];
    let event = Event { ty: ty.into(), data: Data::Json(data.to_vec()), ..Event::default() };
    let Some(saying) = Saying::read(&event.as_ref(), author) else { return };
    let again = saying.event(author, "1".into());
    assert_eq!(again.ty, ty);
    assert_eq!(Saying::read(&again.as_ref(), author), Some(saying));
});
