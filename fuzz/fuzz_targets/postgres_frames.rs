//! The protocol's messages: however the bytes are cut up on the way, the same messages come out, or the same error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tw_capture::postgres::cut;

const FRAME_BYTES_MAX: usize = 64 << 10;

fuzz_target!(|bytes: &[u8]| {
    let Some((&piece, bytes)) = bytes.split_first() else { return };
    let messages = |piece: usize| {
        let mut messages = Vec::new();
        let outcome = cut(bytes, piece, FRAME_BYTES_MAX, |tag, body| messages.push((tag, body.to_vec())));
        (messages, outcome.map_err(|error| error.to_string()))
    };
    let (whole, outcome) = messages(bytes.len());
    assert_eq!(messages(usize::from(piece)), (whole.clone(), outcome.clone()));
    if let Ok(rest) = outcome {
        assert_eq!(rest + whole.iter().map(|(_, body)| body.len() + 5).sum::<usize>(), bytes.len());
    }
});
