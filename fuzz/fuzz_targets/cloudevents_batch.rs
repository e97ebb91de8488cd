//! A batch of events in JSON: any bytes are read or refused, and the count is right.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tw_wire::cloudevents::{Error, Limits, read_batch};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { events_max: 100, ..Limits::default() };
    let mut seen = 0;
    let each = |_| -> Result<(), Error> {
        seen += 1;
        Ok(())
    };
    if let Ok(count) = read_batch(bytes, &limits, each) {
        assert_eq!(count, seen);
    }
    assert!(seen <= limits.events_max);
});
