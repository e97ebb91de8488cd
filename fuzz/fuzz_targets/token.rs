//! A token, as readers send it back: any text is read or refused, and what is read is written and reads back the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tw_types::{ClientToken, Token};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(token) = text.parse::<Token>() {
        let written = token.to_string();
        assert_eq!(written.parse::<Token>().as_ref(), Ok(&token), "{written}");
    }
    if let Ok(token) = text.parse::<ClientToken>() {
        let written = token.to_string();
        assert_eq!(written.parse::<ClientToken>().as_ref(), Ok(&token), "{written}");
    }
});
