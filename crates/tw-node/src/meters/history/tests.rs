//! The fold: no maximum is lost, totals are kept, memory is bounded, whatever is reported.

use super::*;
use proptest::prelude::*;

const STEP_MS: u64 = 10_000;
const EVENTS: &str = "appended_events_per_second";
const LAG: &str = "projection_lag_ms";

fn report(node: &str, step: u64, series: &[(&str, [f32; 2])]) -> Report {
    let series = series.iter().map(|(name, values)| ((*name).to_owned(), *values)).collect();
    Report { node: node.into(), start_ms: step * STEP_MS, step_ms: STEP_MS, cut: false, series }
}

fn history() -> History {
    History::new(STEP_MS, 1_000)
}

/// All steps of a series in a span.
fn steps(history: &History, name: &str, from: u64, to: u64, points: u32) -> (Span, Vec<Step>) {
    let span = history.span(from * STEP_MS, to * STEP_MS, to * STEP_MS, points);
    let steps = history.steps(name, &span);
    (span, steps)
}

#[test]
fn nodes_are_added_up_or_the_worst_of_them_holds() {
    let mut history = history();
    history.fold(&report("a", 6, &[(EVENTS, [1.0, 5.0]), (LAG, [10.0, 40.0])]));
    history.fold(&report("b", 6, &[(EVENTS, [2.0, 3.0]), (LAG, [20.0, 30.0])]));
    let (_, events) = steps(&history, EVENTS, 0, 7, 300);
    assert_eq!(events, [Step { start_ms: 60_000, mean: 3.0, max: 8.0 }]);
    let (_, lag) = steps(&history, LAG, 0, 7, 300);
    assert_eq!(lag, [Step { start_ms: 60_000, mean: 20.0, max: 40.0 }]);
}

#[test]
fn what_a_node_says_twice_counts_once() {
    let mut history = history();
    for _ in 0..2 {
        history.fold(&report("a", 6, &[(EVENTS, [1.0, 5.0])]));
    }
    assert_eq!(steps(&history, EVENTS, 0, 7, 300).1, [Step { start_ms: 60_000, mean: 1.0, max: 5.0 }]);
}

#[test]
fn steps_without_data_are_left_out_and_old_ones_are_minutes() {
    let mut history = history();
    for step in [0, 1, 2, 1_000] {
        history.fold(&report("a", step, &[(EVENTS, [step as f32, step as f32])]));
    }
    let (span, recent) = steps(&history, EVENTS, 990, 1_001, 300);
    assert_eq!((span.step_ms, recent.len()), (STEP_MS, 1));
    let (span, all) = steps(&history, EVENTS, 0, 1_001, 2_000);
    assert_eq!(span.step_ms, COARSE_MS);
    let expected = [
        Step { start_ms: 0, mean: 1.0, max: 2.0 },
        Step { start_ms: 9_960_000, mean: 1_000.0, max: 1_000.0 },
    ];
    assert_eq!(all, expected);
}

#[test]
fn an_item_that_is_not_named_did_nothing_unless_the_report_was_cut() {
    let name = "stream_events_per_second/orders";
    let mut history = history();
    history.fold(&report("a", 1, &[(name, [2.0, 4.0])]));
    history.fold(&report("a", 2, &[]));
    history.fold(&Report { cut: true, ..report("a", 3, &[]) });
    let means: Vec<f32> = steps(&history, name, 0, 4, 300).1.iter().map(|step| step.mean).collect();
    assert_eq!(means, [2.0, 0.0]);
    history.retain(|_| false);
    assert_eq!(history.names().count(), 0);
}

#[test]
fn the_item_that_was_idle_for_longest_gives_way_and_what_is_of_all_never_does() {
    let mut history = History::new(STEP_MS, 2);
    let (a, b) = ("stream_events_per_second/a", "stream_events_per_second/b");
    history.fold(&report("n", 1, &[(EVENTS, [1.0, 1.0]), (a, [1.0, 1.0])]));
    history.fold(&report("n", 2, &[(EVENTS, [1.0, 1.0]), (b, [1.0, 1.0])]));
    assert_eq!(history.names().collect::<Vec<_>>(), [EVENTS, b]);
}

#[test]
fn names_that_nobody_measures_are_not_taken() {
    let mut history = history();
    history.fold(&report("n", 1, &[("x", [1.0, 1.0]), ("log_bytes/x", [1.0, 1.0]), (LAG, [f32::NAN, 1.0])]));
    assert_eq!(history.names().count(), 0);
}

/// Reports of two nodes, in the order of their steps.
fn reports() -> impl Strategy<Value = Vec<(bool, u64, f32, f32)>> {
    let one = (any::<bool>(), 1_u64..4, 0.0_f32..1e6, 0.0_f32..1e6);
    prop::collection::vec(one, 1..400).prop_map(|all| {
        let mut step = 0;
        let all = all.into_iter().map(|(of_b, ahead, mean, more)| {
            step += ahead;
            (of_b, step, mean, mean + more)
        });
        all.collect()
    })
}

proptest! {
    #[test]
    fn no_maximum_is_lost_and_the_total_is_kept(reports in reports(), points in 2_u32..500) {
        let mut history = history();
        for (of_b, step, mean, max) in &reports {
            history.fold(&report(if *of_b { "b" } else { "a" }, *step, &[(EVENTS, [*mean, *max])]));
        }
        let end = reports.iter().map(|(_, step, ..)| step + 1).max().unwrap_or_default();
        let (span, shown) = steps(&history, EVENTS, 0, end, points);
        prop_assert!(shown.len() <= points as usize && span.from_ms == 0 && span.to_ms >= end * STEP_MS);
        // Steps have different numbers here, so that nothing is added up.
        let most = reports.iter().map(|(.., max)| *max).fold(0.0, f32::max);
        prop_assert_eq!(shown.iter().map(|step| step.max).fold(0.0, f32::max), most);
        let mut total = 0.0;
        for step in &shown {
            let within = |at: &u64| (step.start_ms..step.start_ms + span.step_ms).contains(&(at * STEP_MS));
            total += f64::from(step.mean) * reports.iter().filter(|(_, at, ..)| within(at)).count() as f64;
        }
        let expected: f64 = reports.iter().map(|(_, _, mean, _)| f64::from(*mean)).sum();
        prop_assert!((total - expected).abs() <= expected * 1e-5 + 1e-3, "{} instead of {}", total, expected);
    }

    #[test]
    fn memory_is_bounded_whatever_is_reported(
        reports in prop::collection::vec((0_u8..3, 0_u64..5_000, prop::collection::vec((0_u8..30, any::<f32>()), 0..10)), 0..300),
    ) {
        let mut history = History::new(STEP_MS, 12);
        for (node, step, series) in reports {
            let series: Vec<_> =
                series.into_iter().map(|(item, value)| (format!("stream_events_per_second/{item}"), [value, value])).collect();
            let series: Vec<_> = series.iter().map(|(name, values)| (name.as_str(), *values)).collect();
            history.fold(&report(&node.to_string(), step, &series));
        }
        prop_assert!(history.series.len() <= 12);
        for series in history.series.values() {
            prop_assert!(series.fine.len() as u64 <= FINE_SLOTS && series.coarse.len() as u64 <= COARSE_SLOTS);
        }
    }

    #[test]
    fn any_span_is_told_in_steps_that_fit(from in 0_u64..100_000_000, length in 1_u64..90_000_000, ago in 0_u64..90_000_000, points in 1_u32..2_001) {
        let to = from + length;
        let span = history().span(from, to, to + ago, points);
        prop_assert!(span.from_ms <= from && span.to_ms >= to && span.from_ms.is_multiple_of(span.step_ms));
        let count = (span.to_ms - span.from_ms) / span.step_ms;
        prop_assert!(count <= u64::from(points).max(2), "{} steps", count);
    }
}
