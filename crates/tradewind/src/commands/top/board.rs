//! What `tradewind top` knows: things with their numbers, in the order that is wanted. It neither asks nor draws.

use super::Looked;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::time::Instant;

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Stream,
    Projection,
    Source,
    Partition,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Projection => "projection",
            Self::Source => "source",
            Self::Partition => "partition",
        }
    }
}

/// What comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Order {
    /// What does most
    Rate,
    /// What is furthest behind
    Lag,
    /// By kind and name
    Name,
}

/// A line.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    pub(super) kind: Kind,
    pub(super) name: String,
    /// Empty for what has none.
    pub(super) state: String,
    pub(super) rate: Option<f64>,
    pub(super) lag_ms: Option<u64>,
    pub(super) lag_events: Option<u64>,
    /// How many events a partition holds.
    pub(super) held: Option<u64>,
    /// The offset after the last event of a partition.
    pub(super) end: Option<u64>,
    /// On disk; of a source, how far it is ahead.
    pub(super) bytes: Option<u64>,
    pub(super) note: String,
}

impl Item {
    pub(super) fn new(kind: Kind, name: &str) -> Self {
        Self {
            kind,
            name: name.to_owned(),
            state: String::new(),
            rate: None,
            lag_ms: None,
            lag_events: None,
            held: None,
            end: None,
            bytes: None,
            note: String::new(),
        }
    }

    /// Whether a person should look at it.
    pub(super) fn is_bad(&self) -> bool {
        matches!(self.state.as_str(), "failed" | "unknown" | "retrying")
    }

    /// The series of its rate.
    fn series(&self) -> Option<String> {
        match self.kind {
            Kind::Stream => Some(format!("stream_events_per_second/{}", self.name)),
            Kind::Projection => Some(format!("projection_events_per_second/{}", self.name)),
            Kind::Source | Kind::Partition => None,
        }
    }
}

/// See the module's text.
pub(super) struct Board {
    order: Order,
    all: bool,
    state: String,
    troubles: Vec<String>,
    items: Vec<Item>,
    /// When it was looked last.
    at: Option<Instant>,
    curves: HashMap<String, Vec<(u64, f64)>>,
}

impl Board {
    pub(super) fn new(order: Order, all: bool) -> Self {
        Self {
            order,
            all,
            state: String::new(),
            troubles: Vec::new(),
            items: Vec::new(),
            at: None,
            curves: HashMap::new(),
        }
    }

    /// Takes what the node said at a time.
    pub(super) fn take(&mut self, looked: Looked, at: Instant) {
        let Looked { state, troubles, mut items } = looked;
        let passed = self.at.map(|before| at.saturating_duration_since(before).as_secs_f64());
        let before: HashMap<&str, u64> =
            self.items.iter().filter_map(|item| Some((item.name.as_str(), item.end?))).collect();
        for item in items.iter_mut().filter(|item| item.kind == Kind::Partition) {
            let grown = item.end.zip(before.get(item.name.as_str()));
            let grown = grown.map(|(end, before)| end.saturating_sub(*before) as f64);
            item.rate =
                grown.zip(passed.filter(|passed| *passed > 0.0)).map(|(grown, passed)| grown / passed);
        }
        (self.state, self.troubles, self.items, self.at) = (state, troubles, items, Some(at));
        self.sort();
    }

    /// Takes curves by the names of their series.
    pub(super) fn take_curves(&mut self, curves: Vec<(String, Vec<(u64, f64)>)>) {
        self.curves = curves.into_iter().collect();
    }

    pub(super) fn sort_by(&mut self, order: Order) {
        self.order = order;
        self.sort();
    }

    pub(super) fn toggle_all(&mut self) {
        self.all = !self.all;
    }

    fn sort(&mut self) {
        let number = |a: Option<f64>, b: Option<f64>| b.partial_cmp(&a).unwrap_or(Ordering::Equal);
        let lag = |item: &Item| (item.lag_ms, item.lag_events);
        let by_name = |a: &Item, b: &Item| {
            let of_partition =
                |item: &Item| item.name.parse::<u64>().ok().filter(|_| item.kind == Kind::Partition);
            a.kind
                .cmp(&b.kind)
                .then_with(|| of_partition(a).cmp(&of_partition(b)))
                .then_with(|| a.name.cmp(&b.name))
        };
        let order = self.order;
        self.items.sort_by(|a, b| {
            let first = match order {
                Order::Rate => number(a.rate, b.rate),
                Order::Lag => lag(b).cmp(&lag(a)),
                Order::Name => Ordering::Equal,
            };
            // What is not well comes first, whatever is wanted.
            b.is_bad().cmp(&a.is_bad()).then(first).then_with(|| by_name(a, b))
        });
    }

    /// The lines, in their order.
    pub(super) fn rows(&self) -> impl Iterator<Item = &Item> {
        let is_own = |item: &Item| item.kind == Kind::Stream && item.name.starts_with('$');
        self.items.iter().filter(move |item| self.all || !is_own(item))
    }

    /// The series of the lines that are shown.
    pub(super) fn series(&self) -> Vec<String> {
        self.rows().filter_map(Item::series).collect()
    }

    /// The curve of a line.
    pub(super) fn curve(&self, item: &Item) -> &[(u64, f64)] {
        item.series().and_then(|series| self.curves.get(&series)).map_or(&[], Vec::as_slice)
    }

    pub(super) fn order(&self) -> Order {
        self.order
    }

    pub(super) fn state(&self) -> &str {
        &self.state
    }

    pub(super) fn troubles(&self) -> &[String] {
        &self.troubles
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn item(kind: Kind, name: &str, rate: Option<f64>, lag_ms: Option<u64>) -> Item {
        Item { rate, lag_ms, ..Item::new(kind, name) }
    }

    fn looked(items: Vec<Item>) -> Looked {
        Looked { state: "ready".into(), troubles: Vec::new(), items }
    }

    fn names(board: &Board) -> Vec<&str> {
        board.rows().map(|item| item.name.as_str()).collect()
    }

    #[test]
    fn lines_come_in_the_order_that_is_wanted_and_what_is_not_well_first() {
        let mut board = Board::new(Order::Rate, false);
        let failed = Item { state: "failed".into(), ..item(Kind::Projection, "broken", Some(0.0), Some(1)) };
        let items = vec![
            item(Kind::Stream, "$config", Some(900.0), None),
            item(Kind::Stream, "b", Some(2.0), None),
            item(Kind::Stream, "a", Some(10.5), None),
            item(Kind::Projection, "p", Some(3.0), Some(40)),
            item(Kind::Source, "s", None, Some(90)),
            failed,
        ];
        board.take(looked(items), Instant::now());
        assert_eq!(names(&board), ["broken", "a", "p", "b", "s"]);
        board.sort_by(Order::Lag);
        assert_eq!(names(&board), ["broken", "s", "p", "a", "b"]);
        board.sort_by(Order::Name);
        assert_eq!(names(&board), ["broken", "a", "b", "p", "s"]);
        board.toggle_all();
        assert_eq!(names(&board)[1], "$config");
        assert_eq!(board.series()[0], "projection_events_per_second/broken");
    }

    #[test]
    fn how_fast_a_partition_grows_is_known_from_the_second_look_on() {
        let mut board = Board::new(Order::Name, false);
        let at = Instant::now();
        let look = |ends: [u64; 2]| {
            let partition = |(number, end): (usize, u64)| Item {
                end: Some(end),
                ..Item::new(Kind::Partition, &(number * 10).to_string())
            };
            looked(ends.into_iter().enumerate().map(partition).collect())
        };
        board.take(look([5, 7]), at);
        assert_eq!(board.rows().next().unwrap().rate, None);
        board.take(look([25, 7]), at + Duration::from_secs(2));
        let rates: Vec<_> = board.rows().map(|item| item.rate).collect();
        assert_eq!(rates, [Some(10.0), Some(0.0)]);
        board.take(look([1, 8]), at + Duration::from_secs(3));
        assert_eq!(board.rows().next().unwrap().rate, Some(0.0), "a stream that was made anew");
    }
}
