//! What is sampled within one step, until the step is over. Pure.

use std::collections::BTreeMap;

/// The samples of a step, by series.
#[derive(Debug, Default)]
pub(super) struct Window(BTreeMap<String, Samples>);

#[derive(Debug, Clone, Copy)]
struct Samples {
    total: f64,
    weight: f64,
    max: f64,
}

impl Window {
    /// Notes a value that held for a while, or of so many things: it counts in the mean by that weight.
    pub(super) fn note(&mut self, name: &str, value: f64, weight: f64) {
        if !value.is_finite() || weight <= 0.0 {
            return;
        }
        let sampled = Samples { total: value * weight, weight, max: value };
        match self.0.get_mut(name) {
            Some(samples) => {
                samples.total += sampled.total;
                samples.weight += weight;
                samples.max = samples.max.max(value);
            }
            None => drop(self.0.insert(name.to_owned(), sampled)),
        }
    }

    /// Ends the step: the mean and the most of each series, and whether there were more than `series_max`. Of items those stay that did most, and
    /// none that did nothing.
    pub(super) fn close(&mut self, series_max: usize) -> (BTreeMap<String, [f32; 2]>, bool) {
        let closed = std::mem::take(&mut self.0).into_iter().map(|(name, samples)| {
            let mean = (samples.total / samples.weight) as f32;
            // Rounding is not to make a mean exceed the most.
            (name, [mean.min(samples.max as f32), samples.max as f32])
        });
        let (mut series, items): (BTreeMap<_, _>, Vec<_>) = {
            let (of_all, items): (Vec<_>, Vec<_>) = closed.partition(|(name, _)| !name.contains('/'));
            (of_all.into_iter().collect(), items)
        };
        let mut items: Vec<_> = items.into_iter().filter(|(_, [_, max])| *max > 0.0).collect();
        let room = series_max.saturating_sub(series.len());
        let is_cut = items.len() > room;
        if is_cut {
            items.sort_by(|(a_name, [a, _]), (b_name, [b, _])| {
                b.total_cmp(a).then_with(|| a_name.cmp(b_name))
            });
            items.truncate(room);
        }
        series.extend(items);
        (series, is_cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_has_the_weighted_mean_and_the_most_and_then_begins_anew() {
        let mut window = Window::default();
        window.note("x", 1.0, 3.0);
        window.note("x", 5.0, 1.0);
        window.note("x", f64::NAN, 1.0);
        let (series, is_cut) = window.close(10);
        assert_eq!((series["x"], is_cut), ([2.0, 5.0], false));
        assert_eq!(window.close(10).0.len(), 0);
    }

    #[test]
    fn the_busiest_items_stay_and_idle_ones_are_not_told() {
        let mut window = Window::default();
        for (name, value) in [("all", 0.0), ("s/a", 1.0), ("s/b", 3.0), ("s/c", 2.0), ("s/idle", 0.0)] {
            window.note(name, value, 1.0);
        }
        let (series, is_cut) = window.close(3);
        assert_eq!(series.keys().collect::<Vec<_>>(), ["all", "s/b", "s/c"]);
        assert!(is_cut);
    }
}
