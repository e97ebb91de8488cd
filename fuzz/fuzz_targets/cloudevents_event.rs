//! One event in JSON: any bytes are read or refused, and what is read is written and reads back the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tw_wire::cloudevents::{Limits, read_event};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits::default();
    if let Ok(event) = read_event(bytes, &limits) {
        let mut json = Vec::new();
        fuzz::write(&mut json, &event);
        assert_eq!(read_event(&json, &limits).as_ref(), Ok(&event), "{}", String::from_utf8_lossy(&json));
    }
});
