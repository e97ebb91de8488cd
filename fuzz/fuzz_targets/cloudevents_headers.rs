//! An event in headers: any names and values are read or refused, and what is read is an event in JSON too.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tw_wire::cloudevents::{Limits, read_binary, read_event};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits::default();
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let (head, body) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let headers = head.split(|byte| *byte == b'\n').filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        Some((std::str::from_utf8(&line[..colon]).ok()?, &line[colon + 1..]))
    });
    let required =
        [("ce-specversion", &b"1.0"[..]), ("ce-id", b"1"), ("ce-source", b"/s"), ("ce-type", b"t")];
    if let Ok(event) = read_binary(required.into_iter().chain(headers), body, &limits) {
        let mut json = Vec::new();
        fuzz::write(&mut json, &event);
        read_event(&json, &limits).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&json)));
    }
});
