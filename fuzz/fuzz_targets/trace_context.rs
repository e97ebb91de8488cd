//! The header `traceparent` of any client: any text is a context that prints what means the same, or is refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tw_trace::Context;

fuzz_target!(|text: &str| {
    let Ok(context) = text.parse::<Context>() else { return };
    assert_eq!(context.to_string().parse(), Ok(context));
});
