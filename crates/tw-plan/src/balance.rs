//! Balancing: which node gets a request that any node may take.
//!
//! A [`Balancer`] is the view of one sender: it is told which nodes there are, chooses one for each request, and is fed with
//! outcomes and with what nodes report of themselves. The caller hands it the time and random numbers. The README in this
//! module's folder compares the policies.

mod options;
mod policy;
mod seat;
#[cfg(test)]
mod tests;

pub use options::{Options, Policy};
pub use seat::{Outcome, Report, Target};

use crate::Error;
use crate::placement::NODES_MAX;
use seat::Seat;
use tw_types::NodeId;

/// What is asked for a node.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request<'a> {
    /// What the request is about: [`Policy::Sticky`] sends requests with the same subject to the same node.
    pub subject: Option<&'a str>,
    /// Nodes that were tried already: another one is chosen if there is one.
    pub tried: &'a [NodeId],
    /// The nodes that can take it; None: all of them.
    pub among: Option<&'a [NodeId]>,
}

/// Chooses nodes for requests. See the module's text.
#[derive(Debug, Clone)]
pub struct Balancer {
    options: Options,
    /// In the order of their names.
    seats: Vec<Seat>,
}

impl Balancer {
    /// Without nodes yet.
    ///
    /// # Errors
    /// [`Error::Option`]: an option is outside its bounds.
    pub fn new(options: Options) -> Result<Self, Error> {
        options.check()?;
        Ok(Self { options, seats: Vec::new() })
    }

    /// Puts other options into effect; what is known of the nodes is kept. Whether capacities count is in effect with the next
    /// [`Balancer::set_nodes`].
    ///
    /// # Errors
    /// [`Error::Option`]: nothing changes.
    pub fn set_options(&mut self, options: Options) -> Result<(), Error> {
        options.check()?;
        self.options = options;
        Ok(())
    }

    /// Sets the nodes; what is known of those that stay is kept.
    ///
    /// # Errors
    /// [`Error::TooMany`], [`Error::Twice`]: nothing changes.
    pub fn set_nodes(&mut self, targets: &[Target]) -> Result<(), Error> {
        if targets.len() > NODES_MAX {
            return Err(Error::TooMany { what: "nodes", count: targets.len(), max: NODES_MAX });
        }
        let mut sorted: Vec<&Target> = targets.iter().collect();
        sorted.sort_by(|a, b| a.node.cmp(&b.node));
        if let Some([one, _]) = sorted.array_windows().find(|[one, next]| one.node == next.node) {
            return Err(Error::Twice { name: one.node.to_string() });
        }
        let known = std::mem::take(&mut self.seats);
        let mut known = known.into_iter().peekable();
        for target in sorted {
            while known.next_if(|seat| seat.node < target.node).is_some() {}
            let seat = known.next_if(|seat| seat.node == target.node);
            let mut seat = seat.unwrap_or_else(|| Seat::new(&target.node));
            seat.capacity = if self.options.capacity_aware { target.capacity.max(1).into() } else { 1 };
            self.seats.push(seat);
        }
        Ok(())
    }

    /// Chooses a node for a request and counts the request as in flight there until [`Balancer::done`]. None if there are
    /// no nodes that can take it.
    ///
    /// `random` is any number that the caller drew for this request; `now_us` is monotonic, in microseconds. Nodes that
    /// were tried, or are to be left alone for a while, are taken only if there are no others.
    pub fn choose(&mut self, request: Request<'_>, random: u64, now_us: u64) -> Option<NodeId> {
        let can = |place: &usize| request.among.is_none_or(|among| among.contains(&self.seats[*place].node));
        let all = || (0..self.seats.len()).filter(can);
        let tried = |place: &usize| request.tried.contains(&self.seats[*place].node);
        let mut open: Vec<usize> =
            all().filter(|place| !tried(place) && self.seats[*place].avoid_until_us <= now_us).collect();
        if open.is_empty() {
            open = all().filter(|place| !tried(place)).collect();
        }
        if open.is_empty() {
            open = all().collect();
        }
        let place = policy::choose(&self.options, &mut self.seats, &open, request.subject, random, now_us)?;
        let seat = self.seats.get_mut(place)?;
        seat.sent();
        Some(seat.node.clone())
    }

    /// Says how a request went that [`Balancer::choose`] sent to `node`, and how long it took, in microseconds.
    pub fn done(&mut self, node: &NodeId, latency_us: u64, outcome: Outcome, now_us: u64) {
        if let Some(place) = self.place(node) {
            self.seats[place].done(&self.options, latency_us, outcome, now_us);
        }
    }

    /// Takes what a node says of itself: in answer to a probe, or along with any other answer.
    pub fn report(&mut self, node: &NodeId, report: Report, now_us: u64) {
        if let Some(place) = self.place(node) {
            self.seats[place].report(report, now_us);
        }
    }

    /// The node to probe next, if one is due: the one that has not reported for the longest time. It counts as probed.
    pub fn to_probe(&mut self, now_us: u64) -> Option<NodeId> {
        let due_us = u64::from(self.options.probe_ms) * 1_000;
        let seat = self.seats.iter_mut().min_by_key(|seat| seat.probed_us)?;
        if seat.probed_us.is_some_and(|probed_us| now_us.saturating_sub(probed_us) < due_us) {
            return None;
        }
        seat.probed_us = Some(now_us);
        Some(seat.node.clone())
    }

    /// How many requests of this sender are in flight at `node`.
    pub fn in_flight(&self, node: &NodeId) -> u32 {
        self.place(node).map_or(0, |place| self.seats[place].in_flight)
    }

    fn place(&self, node: &NodeId) -> Option<usize> {
        self.seats.binary_search_by(|seat| seat.node.cmp(node)).ok()
    }
}
