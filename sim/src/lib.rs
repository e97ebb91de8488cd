//! A whole cluster in simulated time: the pure cores of its nodes, coordination and a log, with faults from a seed.
//!
//! [`run`] builds a cluster from a seed, lets it bear pauses, crashes, cut, slow, lost and doubled messages, outages, evictions,
//! drains and shifting load, and looks at every step whether the [`invariants`] hold; then the faults end, and it must heal
//! within a bound. The same seed and the same commit are the same run, step by step, so a failure is a number that can be replayed.
//!
//! What is real here: the decisions (`tw_plan::ownership`, `tw_plan::placement`), and the key space of `tw-cluster` with its
//! guards, revisions and leases. What is simulated: time, messages, processes, and a log that fences writers as Kafka does.

mod clock;
mod coordination;
mod defect;
pub mod invariants;
mod log;
mod network;
mod node;
mod profile;
mod random;
mod stored;
mod trace;
mod world;

pub use defect::Defect;
pub use invariants::Violation;
pub use profile::Kill;

use profile::Profile;
use random::Random;
use std::fmt;
use trace::Trace;
use world::World;

/// What happened in a run, counted: a simulation in which nothing goes wrong shows nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events of the simulation.
    pub steps: u64,
    /// Faults.
    pub faults: u64,
    /// Processes that were started.
    pub processes: u64,
    /// Leases that their holders gave up in time.
    pub leases_lost: u64,
    /// Plans that were stored.
    pub plans: u64,
    /// Units that were opened.
    pub opened: u64,
    /// Units that were shut in order to be given away.
    pub offers: u64,
    /// Appends that were acknowledged.
    pub acknowledged: u64,
    /// Appends that the log refused, because their writer was fenced off.
    pub refused: u64,
    /// Registrations that detection has ended.
    pub evictions: u64,
    /// Those of processes that ran.
    pub evicted_alive: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.steps += other.steps;
        self.faults += other.faults;
        self.processes += other.processes;
        self.leases_lost += other.leases_lost;
        self.plans += other.plans;
        self.opened += other.opened;
        self.offers += other.offers;
        self.acknowledged += other.acknowledged;
        self.refused += other.refused;
        self.evictions += other.evictions;
        self.evicted_alive += other.evicted_alive;
    }
}

/// A run that broke a promise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Failure {
    /// The seed that replays it.
    pub seed: u64,
    /// What was broken.
    pub violation: Violation,
    /// The last steps before.
    pub trace: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { invariant, what } = &self.violation;
        for line in &self.trace {
            writeln!(f, "{line}")?;
        }
        write!(f, "{invariant} is broken: {what}\nreplay it with TRADEWIND_SEED={}", self.seed)
    }
}

/// What came of a node that was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TakenOver {
    /// How long it took until its registration was ended, in milliseconds; none if its lease ended first.
    pub decided_ms: Option<u64>,
    /// How long it took until all of its units took writes elsewhere, in milliseconds; none if it had none.
    pub opened_ms: Option<u64>,
    /// Whether it was the leader.
    pub led: bool,
    /// How many nodes were taken for dead that were not, although none stood still for longer than a second.
    pub evicted_alive: u64,
}

/// Runs the cluster of a seed, with a deliberate error or without.
///
/// # Errors
/// The first promise that was broken, with the steps that led there.
pub fn run(seed: u64, defect: Option<Defect>) -> Result<Tally, Box<Failure>> {
    Ok(outcome(seed, |random| Profile::new(random, defect))?.tally)
}

/// Runs the cluster of a seed, with a deliberate error, until a node finds by itself that a promise is broken, as nodes that really run
/// do: what only the simulation knows does not count.
///
/// # Errors
/// The first promise that a node finds broken, with the steps that led there.
pub fn witnessed(seed: u64, defect: Defect) -> Result<Tally, Box<Failure>> {
    let profile = |random: &mut Random| Profile { nodes_judge: true, ..Profile::new(random, Some(defect)) };
    Ok(outcome(seed, profile)?.tally)
}

/// Runs a cluster whose nodes stand still now and then, and kills one of them.
///
/// # Errors
/// Those of [`run`].
pub fn kill(seed: u64, kill: Kill) -> Result<TakenOver, Box<Failure>> {
    let world = outcome(seed, |random| Profile::killing(random, kill))?;
    let takeover = &world.takeover;
    let after_ms = |at_us: u64| (at_us - takeover.killed_us) / 1000;
    Ok(TakenOver {
        decided_ms: takeover.decided_us.map(after_ms),
        opened_ms: takeover.opened_us.map(after_ms),
        led: takeover.led,
        evicted_alive: world.tally.evicted_alive,
    })
}

/// The world when everything has happened; a run that fails is repeated with a trace.
fn outcome(seed: u64, profile: impl Fn(&mut Random) -> Profile) -> Result<World, Box<Failure>> {
    let once = |is_traced: bool| {
        let mut random = Random::new(seed);
        let profile = profile(&mut random);
        let mut world = World::new(profile, random, Trace::new(is_traced));
        let outcome = world.run();
        (world, outcome)
    };
    match once(false) {
        (world, Ok(())) => Ok(world),
        (_, Err(violation)) => {
            let trace = once(true).0.trace.lines();
            Err(Box::new(Failure { seed, violation, trace }))
        }
    }
}
