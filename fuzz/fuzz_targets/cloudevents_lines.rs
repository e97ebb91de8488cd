//! Events in lines: any bytes are read or refused, each line as it would be alone.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tw_wire::cloudevents::{Limits, read_event, read_lines};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { events_max: 100, ..Limits::default() };
    let Ok(lines) = read_lines(bytes, &limits) else { return };
    let alone: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    for event in lines {
        let Ok((line, event)) = event else { continue };
        assert_eq!(read_event(alone[line as usize - 1], &limits).as_ref(), Ok(&event));
    }
});
