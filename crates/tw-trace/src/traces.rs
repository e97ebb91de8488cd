//! The spans that a node keeps.

use crate::span::cut;
use crate::{Context, Span, SpanId, TraceId};
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tw_env::Env;

/// The spans that ended last on a node.
#[derive(Debug)]
pub struct Traces {
    env: Env,
    place: String,
    spans_max: usize,
    spans: Mutex<VecDeque<Span>>,
}

impl Traces {
    /// Keeps up to `spans_max` spans of a node that calls itself `place`. With 0, nothing is recorded.
    pub fn new(env: Env, place: &str, spans_max: usize) -> Arc<Self> {
        let place = cut(place.to_owned());
        Arc::new(Self { env, place, spans_max, spans: Mutex::new(VecDeque::new()) })
    }

    /// Begins a span under `parent`; None if that is not recorded.
    pub fn begin(self: &Arc<Self>, parent: Option<&Context>, name: impl Into<String>) -> Option<Open> {
        let parent = parent.filter(|parent| parent.is_sampled && self.spans_max > 0)?;
        let started = self.env.clock.monotonic();
        let span = self.span(parent, name.into(), self.env.clock.now_ms(), Duration::ZERO);
        Some(Open { traces: self.clone(), span, started })
    }

    /// Records what has just ended, and began at `start_ms`, by whichever clock.
    pub fn ended(&self, parent: &Context, name: &str, start_ms: u64, facts: &[(&str, String)]) {
        if !parent.is_sampled || self.spans_max == 0 {
            return;
        }
        let took = Duration::from_millis(self.env.clock.now_ms().saturating_sub(start_ms));
        let mut span = self.span(parent, name.to_owned(), start_ms, took);
        for (name, value) in facts {
            span.fact(name, value);
        }
        self.keep(span);
    }

    /// The spans of a trace that are kept here, in the order in which they began.
    pub fn of(&self, trace: TraceId) -> Vec<Span> {
        let mut spans: Vec<Span> =
            self.spans.lock().iter().filter(|span| span.trace == trace).cloned().collect();
        spans.sort_by_key(|span| span.start_ms);
        spans
    }

    fn span(&self, parent: &Context, name: String, start_ms: u64, took: Duration) -> Span {
        Span {
            trace: parent.trace,
            span: SpanId::new(self.env.random.next_u64()),
            parent: Some(parent.span),
            name,
            place: self.place.clone(),
            start_ms,
            took_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            facts: BTreeMap::new(),
            failed: None,
        }
    }

    fn keep(&self, span: Span) {
        let mut spans = self.spans.lock();
        while spans.len() >= self.spans_max {
            spans.pop_front();
        }
        spans.push_back(span.bounded());
    }
}

/// A span under way. It ends when it is dropped.
#[derive(Debug)]
pub struct Open {
    traces: Arc<Traces>,
    span: Span,
    started: Duration,
}

impl Open {
    /// What is done under it says this.
    pub fn context(&self) -> Context {
        Context { trace: self.span.trace, span: self.span.span, is_sampled: true }
    }

    /// Adds what else is known.
    pub fn fact(&mut self, name: &str, value: impl ToString) {
        self.span.fact(name, value);
    }

    /// Says that it failed, and why.
    pub fn fail(&mut self, why: impl ToString) {
        self.span.failed = Some(why.to_string());
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let took = self.traces.env.clock.monotonic().saturating_sub(self.started);
        self.span.took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.traces.keep(self.span.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tw_env::sim::Sim;

    fn context(is_sampled: bool) -> Context {
        Context { trace: TraceId::new(1, 2), span: SpanId::new(3), is_sampled }
    }

    #[test]
    fn what_is_recorded_says_what_caused_it_and_how_long_it_took() {
        let sim = Sim::new(1);
        let traces = Traces::new(sim.env(), "node a", 10);
        let mut outer = traces.begin(Some(&context(true)), "outer").unwrap();
        outer.fact("status", 200);
        let mut inner = traces.begin(Some(&outer.context()), "inner").unwrap();
        inner.fail("x".repeat(1_000));
        sim.clock.advance(5);
        drop(inner);
        sim.clock.advance(2);
        let id = outer.context().span;
        drop(outer);
        let spans = traces.of(TraceId::new(1, 2));
        let [inner, outer] = spans.as_slice() else { panic!("{spans:?}") };
        assert_eq!((outer.parent, inner.parent), (Some(SpanId::new(3)), Some(id)));
        assert_eq!((outer.took_us, inner.took_us), (7_000, 5_000));
        assert_eq!(
            (outer.place.as_str(), outer.facts.get("status").map(String::as_str)),
            ("node a", Some("200"))
        );
        assert_eq!(inner.failed.as_deref().map(str::len), Some(200), "it is cut");
        assert!(traces.of(TraceId::new(1, 3)).is_empty());
    }

    #[test]
    fn nothing_is_recorded_that_nobody_wants_and_the_oldest_goes_first() {
        let sim = Sim::new(1);
        let traces = Traces::new(sim.env(), "a", 2);
        assert!(traces.begin(None, "x").is_none());
        assert!(traces.begin(Some(&context(false)), "x").is_none());
        traces.ended(&context(false), "x", 0, &[]);
        for name in ["1", "2", "3"] {
            traces.ended(&context(true), name, sim.env().clock.now_ms(), &[("region", "2".to_owned())]);
        }
        let names: Vec<String> = traces.of(TraceId::new(1, 2)).into_iter().map(|span| span.name).collect();
        assert_eq!(names, ["2", "3"]);
        let off = Traces::new(sim.env(), "a", 0);
        assert!(off.begin(Some(&context(true)), "x").is_none());
        off.ended(&context(true), "x", 0, &[]);
        assert!(off.of(TraceId::new(1, 2)).is_empty());
    }
}
