//! What a person says of a source: any address and any names are taken or refused, and no refusal shows a password.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tw_capture::{Options, Secret};

fuzz_target!(|text: &str| {
    let mut lines = text.lines();
    let mut next = || lines.next().unwrap_or_default().to_owned();
    let (name, url, tables) = (next(), next(), vec![next(), next()]);
    let _taken_or_refused = Options::new(name, url.clone(), tables).check();
    let _decoded_or_refused = Secret::of_address(&url);
    let secret = Options::new("shop", format!("postgres://u:pass-{}word@h/d", url.len()), vec!["t".into()]);
    let refusal = secret.check().expect_err("addresses hold no passwords").to_string();
    assert!(!refusal.contains("pass-"), "{refusal}");
});
