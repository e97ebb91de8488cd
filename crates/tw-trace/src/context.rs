//! To which trace something belongs, and under which span (W3C Trace Context, section 3.2).

use serde::{Deserialize, Serialize};
use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};
use std::str::FromStr;

/// A trace: 32 hexadecimal digits, not all of them 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TraceId(NonZeroU128);

/// A span of a trace: 16 hexadecimal digits, not all of them 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SpanId(NonZeroU64);

/// What a `traceparent` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// The trace.
    pub trace: TraceId,
    /// The span under which the next ones are.
    pub span: SpanId,
    /// Whether it is recorded.
    pub is_sampled: bool,
}

/// A text that is none of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no {what}: it must be {rule}, in lower case")]
pub struct InvalidContext {
    what: &'static str,
    rule: &'static str,
}

/// The value of a text of exactly so many hexadecimal digits in lower case.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    (text.len() == digits && text.bytes().all(is_digit)).then(|| u128::from_str_radix(text, 16).ok())?
}

impl TraceId {
    /// A new one of random bits.
    pub fn new(high: u64, low: u64) -> Self {
        Self(NonZeroU128::new(u128::from(high) << 64 | u128::from(low)).unwrap_or(NonZeroU128::MIN))
    }
}

impl SpanId {
    /// A new one of random bits.
    pub fn new(bits: u64) -> Self {
        Self(NonZeroU64::new(bits).unwrap_or(NonZeroU64::MIN))
    }
}

impl FromStr for TraceId {
    type Err = InvalidContext;

    fn from_str(text: &str) -> Result<Self, InvalidContext> {
        let invalid = InvalidContext { what: "trace", rule: "32 hexadecimal digits, not all of them 0" };
        hex(text, 32).and_then(NonZeroU128::new).map(Self).ok_or(invalid)
    }
}

impl FromStr for SpanId {
    type Err = InvalidContext;

    fn from_str(text: &str) -> Result<Self, InvalidContext> {
        let invalid = InvalidContext { what: "span", rule: "16 hexadecimal digits, not all of them 0" };
        let bits = hex(text, 16).and_then(|bits| u64::try_from(bits).ok());
        bits.and_then(NonZeroU64::new).map(Self).ok_or(invalid)
    }
}

impl FromStr for Context {
    type Err = InvalidContext;

    fn from_str(text: &str) -> Result<Self, InvalidContext> {
        let invalid = InvalidContext {
            what: "traceparent",
            rule: "`version-trace-span-flags` of 2, 32, 16 and 2 hexadecimal digits",
        };
        let mut parts = text.split('-');
        let mut next = || parts.next().ok_or(invalid);
        let (version, trace, span, flags) = (next()?, next()?, next()?, next()?);
        let version = hex(version, 2).ok_or(invalid)?;
        let flags = hex(flags, 2).ok_or(invalid)?;
        // Later versions may add parts, which are passed over; this one has none.
        if version == 0xff || version == 0 && parts.next().is_some() {
            return Err(invalid);
        }
        Ok(Self { trace: trace.parse()?, span: span.parse()?, is_sampled: flags & 1 == 1 })
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.span, u8::from(self.is_sampled))
    }
}

impl From<TraceId> for String {
    fn from(id: TraceId) -> Self {
        id.to_string()
    }
}

impl From<SpanId> for String {
    fn from(id: SpanId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for TraceId {
    type Error = InvalidContext;

    fn try_from(text: String) -> Result<Self, InvalidContext> {
        text.parse()
    }
}

impl TryFrom<String> for SpanId {
    type Error = InvalidContext;

    fn try_from(text: String) -> Result<Self, InvalidContext> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_example_of_the_standard_reads_and_what_is_wrong_does_not() {
        let context: Context = VALID.parse().unwrap();
        assert_eq!((context.to_string().as_str(), context.is_sampled), (VALID, true));
        let other: Context = VALID.replace("-01", "-02").parse().unwrap();
        assert!(!other.is_sampled, "another flag");
        let later = format!("{}-more", VALID.replacen("00-", "01-", 1));
        assert_eq!(later.parse(), Ok(context), "a later version may say more");
        for wrong in [
            "",
            "00",
            &VALID.replacen("00-", "ff-", 1),
            &VALID.to_uppercase(),
            &VALID.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &VALID.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &VALID.replace("b7-", "-"),
            &format!("{VALID}-00"),
            &VALID.replace("-01", "-+1"),
        ] {
            assert!(wrong.parse::<Context>().is_err(), "{wrong}");
        }
        assert_eq!(
            "x".parse::<TraceId>().unwrap_err().to_string(),
            "it is no trace: it must be 32 hexadecimal digits, not all of them 0, in lower case"
        );
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(high: u64, low: u64, span: u64, is_sampled: bool) {
            let context = Context { trace: TraceId::new(high, low), span: SpanId::new(span), is_sampled };
            prop_assert_eq!(context.to_string().parse(), Ok(context));
            let json = serde_json::to_string(&context.trace).unwrap();
            prop_assert_eq!(serde_json::from_str::<TraceId>(&json).unwrap(), context.trace);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[0-9a-fx-]{0,60}") {
            if let Ok(context) = text.parse::<Context>() {
                let shown = context.to_string();
                prop_assert_eq!(shown.get(3..52), text.get(3..52));
            }
        }
    }
}
