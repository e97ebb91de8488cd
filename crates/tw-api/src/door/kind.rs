//! What kind of work a request is: its class, and how much it matters.

use crate::endpoints::{EventFormat, FORMATS};
use crate::headers::{self, HOP};
use crate::route::Route;
use http::{HeaderMap, HeaderName};
use tw_plan::overload::Priority;

/// RFC 9218, section 4.
const PRIORITY: HeaderName = HeaderName::from_static("priority");
/// What a client says that says nothing: RFC 9218, section 4.1.
const URGENCY: u8 = 3;
/// What nobody waits for, in the words of the same section.
const URGENCY_LAST: u8 = 7;

/// Requests that take about as long as each other, and have a limit of their own: what is quick must not be refused because
/// something else is slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Events in.
    Appends,
    /// Events out.
    Reads,
    /// Statements.
    Queries,
}

impl Class {
    pub(crate) const ALL: [Self; 3] = [Self::Appends, Self::Reads, Self::Queries];

    /// Its name in metrics, logs and problems.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Appends => "appends",
            Self::Reads => "reads",
            Self::Queries => "queries",
        }
    }
}

/// A request that has to pass a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) class: Class,
    pub(crate) priority: Priority,
    /// Whether the time until its answer begins says how busy the node is: it does not where the work is done while the
    /// answer is sent, at the pace of the client.
    pub(crate) is_measured: bool,
}

impl Kind {
    /// The kind of a request; None for what is always served: whoever watches over the node or operates it, locks, and what
    /// another node asks for on behalf of a query that it has let in.
    pub(crate) fn of(route: Route, headers: &HeaderMap) -> Option<Self> {
        let class = match route {
            Route::AppendEvents | Route::AppendSubject => Class::Appends,
            Route::ReadEvents | Route::ReadSubject => Class::Reads,
            Route::Sql => Class::Queries,
            _ => return None,
        };
        // Tails and exports go on by themselves for as long as the client likes.
        let is_bulk = route == Route::ReadEvents
            && matches!(headers::accept(headers, &FORMATS), Ok(EventFormat::Lines | EventFormat::Live));
        let urgency = urgency(headers).unwrap_or(if is_bulk { URGENCY_LAST } else { URGENCY });
        let priority = priority(urgency, headers.contains_key(&HOP));
        Some(Self { class, priority, is_measured: !is_bulk })
    }
}

/// How much a request of this urgency matters. What another node has let in and sent here matters more than what comes from
/// outside, in the same order: the work that was done for it there would be lost.
fn priority(urgency: u8, is_hop: bool) -> Priority {
    let step = URGENCY_LAST.saturating_sub(urgency);
    let number = if is_hop { u8::from(Priority::HIGH) + step / 2 } else { step };
    Priority::try_from(number).unwrap_or(Priority::NORMAL)
}

/// The urgency that a client states, 0 to 7; the last one counts, and what does not read is as if it was not there
/// (RFC 9218, section 4; RFC 8941, section 3.2).
fn urgency(headers: &HeaderMap) -> Option<u8> {
    let values = headers.get_all(PRIORITY).iter().filter_map(|value| value.to_str().ok());
    let mut members = values.flat_map(|value| value.split(',')).filter_map(|member| {
        let number = member.trim().strip_prefix("u=")?;
        let number = number.split(';').next().unwrap_or_default().trim();
        number.parse().ok().filter(|urgency| *urgency <= URGENCY_LAST)
    });
    members.next_back()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
        pairs.collect()
    }

    fn number(route: Route, pairs: &[(&'static str, &str)]) -> u8 {
        Kind::of(route, &headers(pairs)).unwrap().priority.into()
    }

    #[test]
    fn who_watches_or_operates_the_node_passes_no_door() {
        let counted = Route::ALL.iter().filter(|route| Kind::of(**route, &HeaderMap::new()).is_some());
        let counted: Vec<_> = counted.collect();
        let expected =
            [Route::AppendEvents, Route::AppendSubject, Route::Sql, Route::ReadSubject, Route::ReadEvents];
        assert_eq!(counted, expected.iter().collect::<Vec<_>>());
    }

    #[test]
    fn tails_and_exports_matter_least_and_what_another_node_sends_most() {
        let live = ("accept", "text/event-stream");
        assert_eq!(Priority::NORMAL, Kind::of(Route::Sql, &HeaderMap::new()).unwrap().priority);
        assert_eq!(number(Route::ReadEvents, &[]), 4);
        assert_eq!(number(Route::ReadEvents, &[live]), 0);
        assert_eq!(number(Route::ReadEvents, &[("accept", "application/x-ndjson")]), 0);
        assert_eq!(number(Route::ReadSubject, &[("accept", "application/x-ndjson")]), 4);
        assert_eq!(number(Route::AppendEvents, &[("tradewind-hop", "1")]), 10);
        assert_eq!(number(Route::AppendEvents, &[("tradewind-hop", "1"), ("priority", "u=7")]), 8);
        assert!(!Kind::of(Route::ReadEvents, &headers(&[live])).unwrap().is_measured);
        assert!(Kind::of(Route::ReadEvents, &HeaderMap::new()).unwrap().is_measured);
    }

    #[test]
    fn clients_say_how_urgent_it_is_as_rfc_9218_says() {
        let priority = |text| number(Route::AppendEvents, &[("priority", text)]);
        let cases = [("u=7", 0), ("u=0, i", 7), ("i, u=5", 2), (" u=1;x=2 ", 6), ("u=1,u=4", 3)];
        for (text, expected) in cases {
            assert_eq!(priority(text), expected, "{text}");
        }
        for text in ["", "u=8", "u=-1", "u", "u=", "U=7", "urgent", "u=7.5", "xu=7"] {
            assert_eq!(priority(text), 4, "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_said_a_request_from_outside_stays_below_one_from_another_node(
            text in "[ -~]{0,40}|(u=[0-9;, i]{0,3}[,;]?){1,4}",
        ) {
            let outside = number(Route::Sql, &[("priority", text.as_str())]);
            let hop = number(Route::Sql, &[("priority", text.as_str()), ("tradewind-hop", "1")]);
            prop_assert!(outside < u8::from(Priority::HIGH) && hop >= u8::from(Priority::HIGH));
            prop_assert!(hop < u8::from(Priority::CRITICAL));
        }
    }
}
