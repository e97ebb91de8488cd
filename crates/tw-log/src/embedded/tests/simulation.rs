//! Long random histories, crashed at every boundary.

use super::super::options::Options;
use super::super::shared::Shared;
use super::super::verify::verify;
use super::model::{Model, ModelStream, Number, Parts, Pending};
use super::origins::{Others, settled};
use super::rig::{FOLDER, Rig, small};
use crate::{Append, Definition, Foreign, NewStream};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex};
use tw_env::sim::{Fault, Rates, Sim, SimRandom};
use tw_env::{Clock, Random};
use tw_testing::cases;
use tw_types::{Cleanup, Compression, Offset, StreamName, StreamOptions, StreamPartition};

/// A log, what must be true of it, and the choices that make up its history.
struct History {
    rig: Rig,
    options: Options,
    model: Arc<Mutex<Model>>,
    /// The log as readers see it now, for whoever observes the disk.
    visible: Arc<Mutex<Arc<Shared>>>,
    pending: Pending,
    random: SimRandom,
    others: Others,
    next_number: u64,
    next_stream: u32,
}

/// LOG-4: what a reader could see when the power went is there.
fn check_visible(visible: &Shared, crashed: &Shared) -> u64 {
    let (before, after) = (settled(visible), settled(crashed));
    assert!(after >= before, "a reader was told that {before} is settled, now it is {after}");
    let mut seen = 0;
    for (at, partition) in &*visible.partitions.read() {
        let end = partition.bounds().end;
        // A stream that is being dropped may be gone.
        if let Ok(there) = crashed.partition(*at) {
            let there = there.bounds().end;
            assert!(there >= end, "LOG-4: {at} ended at {end} for readers, and ends at {there}");
            seen += end.0;
        }
    }
    seen
}

impl History {
    fn new(seed: u64) -> Self {
        let sim = Sim::new(seed);
        let options = small();
        let rig = Rig::open(&sim, &options).unwrap();
        let visible = rig.shared.clone();
        let random = SimRandom::new(seed.wrapping_mul(77));
        let mut history = Self {
            rig,
            options,
            model: Arc::default(),
            visible: Arc::new(Mutex::new(visible)),
            pending: Pending::default(),
            random,
            others: Others::new(1),
            next_number: 0,
            next_stream: 0,
        };
        history.rig.prepare();
        for kind in 0..3 {
            history.create(kind);
        }
        history
    }

    fn below(&self, bound: u64) -> u64 {
        self.random.below(bound)
    }

    /// One random thing that users, time or the log's own threads do.
    fn step(&mut self) {
        match self.below(100) {
            0..45 => self.append_some(),
            45..60 => self.commit(),
            60..66 => self.trim(),
            66..80 => self.rig.prepare(),
            80..88 => {
                self.commit();
                self.rig.tidy();
                self.observe_starts();
            }
            88..92 => self.rig.sim.clock.advance(self.below(3_000)),
            92..94 => {
                let kind = self.below(4);
                self.create(kind);
            }
            94 => self.drop_stream(),
            95 => self.rig.sim.clock.set_wall(1_700_000_000_000 + self.below(100_000)),
            _ => self.reopen(),
        }
    }

    fn partitions(&self) -> Vec<StreamPartition> {
        self.model.lock().unwrap().streams.values().flat_map(|stream| stream.partitions.clone()).collect()
    }

    fn numbers(&mut self, count: u64) -> Vec<Number> {
        let first = self.next_number;
        self.next_number += count;
        (first..self.next_number).map(Number).collect()
    }

    /// Hands in one to four appends, some of several parts, some that expect an end.
    fn append_some(&mut self) {
        let partitions = self.partitions();
        if partitions.is_empty() {
            return;
        }
        for _ in 0..=self.below(4) {
            let parts = if self.below(4) == 0 { 1 + self.below(3) } else { 1 };
            let (mut model_parts, mut real) = (Parts::new(), Vec::new());
            for _ in 0..parts {
                let at = partitions[self.below(partitions.len() as u64) as usize];
                let count = if self.below(6) == 0 { 1 + self.below(8) } else { 1 };
                let numbers = self.numbers(count);
                let compression = if self.below(2) == 0 { Compression::None } else { Compression::Lz4 };
                let end = self.rig.shared.partition(at).map(|partition| partition.bounds().end);
                let expected_end = if self.below(5) == 0 { end.ok() } else { None };
                let foreign = self.foreign(&numbers);
                real.push(Append { at, batch: Number::batch(&numbers, compression), expected_end, foreign });
                model_parts.push((at, numbers));
            }
            let ack = self.rig.append_parts(real);
            self.pending.push(&mut self.model.lock().unwrap(), model_parts, ack);
        }
    }

    /// Where events come from that are to be another region's; None for those of this one.
    fn foreign(&mut self, numbers: &[Number]) -> Option<Foreign> {
        if self.below(3) > 0 {
            return None;
        }
        let now_ms = self.rig.sim.clock.now_ms();
        let possible = self.below(15) > 0;
        let foreign = if possible {
            self.others.accept(&self.random, now_ms, numbers.len() as u64)
        } else {
            Others::impossible(&self.random, self.options.region, now_ms)
        };
        self.model.lock().unwrap().origins.expect(numbers, foreign, possible);
        Some(foreign)
    }

    fn commit(&mut self) {
        loop {
            let more = self.rig.writer.commit_next();
            let mut model = self.model.lock().unwrap();
            self.pending.settle(&mut model);
            model.origins.observe(&self.rig.shared);
            drop(model);
            if !more {
                return;
            }
        }
    }

    fn trim(&mut self) {
        let partitions = self.partitions();
        let Some(at) = partitions.get(self.below(partitions.len().max(1) as u64) as usize).copied() else {
            return;
        };
        self.commit();
        let Ok(bounds) = self.rig.shared.partition(at).map(|partition| partition.bounds()) else { return };
        let before = Offset(bounds.start.0 + self.below(bounds.end.0 - bounds.start.0 + 1));
        let asked = |model: &mut Model| {
            let partition = model.partitions.entry(at).or_default();
            partition.start_asked = partition.start_asked.max(before);
        };
        asked(&mut self.model.lock().unwrap());
        let outcome = self.rig.trim(at, before);
        self.commit();
        if outcome.wait().is_ok() {
            let mut model = self.model.lock().unwrap();
            let partition = model.partitions.entry(at).or_default();
            partition.start = partition.start.max(before);
        }
    }

    /// What the cleaner removed is removed for good.
    fn observe_starts(&mut self) {
        let mut model = self.model.lock().unwrap();
        let retained: Vec<_> = model
            .streams
            .values()
            .filter(|stream| stream.retained)
            .flat_map(|stream| stream.partitions.clone())
            .collect();
        for at in retained {
            if let Ok(partition) = self.rig.shared.partition(at) {
                let model = model.partitions.entry(at).or_default();
                model.start = partition.bounds().start;
            }
        }
    }

    fn create(&mut self, kind: u64) {
        let name = StreamName::new(&format!("stream-{}", self.next_stream)).unwrap();
        self.next_stream += 1;
        let options = match kind {
            0 => StreamOptions::default(),
            1 => StreamOptions { cleanup: Cleanup::Compact, ..StreamOptions::default() },
            2 => StreamOptions {
                retention_bytes: Some(1 << 20),
                retention_ms: Some(4_000),
                compression: Compression::None,
                ..StreamOptions::default()
            },
            _ => StreamOptions { retention_ms: Some(1_000), ..StreamOptions::default() },
        };
        let stream = ModelStream {
            cleanup: options.cleanup,
            retained: options.retention_ms.is_some(),
            certain: false,
            partitions: Vec::new(),
        };
        self.model.lock().unwrap().streams.insert(name.clone(), stream);
        let partitions = 1 + self.below(3) as u32;
        let new = NewStream { options, ..NewStream::plain(name.clone(), partitions) };
        let outcome = self.rig.define(Definition::Create(new));
        self.commit();
        let mut model = self.model.lock().unwrap();
        match outcome.wait() {
            Ok(def) => {
                let stream = model.streams.get_mut(&name).unwrap();
                stream.certain = true;
                stream.partitions = super::super::publish::partitions_of(&def).collect();
                let partitions = stream.partitions.clone();
                model.partitions.extend(partitions.into_iter().map(|at| (at, Default::default())));
            }
            Err(crate::Error::Unknown(_)) => {}
            Err(_) => {
                model.streams.remove(&name);
            }
        }
    }

    fn drop_stream(&mut self) {
        self.commit();
        let names: Vec<_> = self.model.lock().unwrap().streams.keys().cloned().collect();
        if names.len() < 3 {
            return;
        }
        let name = names[self.below(names.len() as u64) as usize].clone();
        {
            let mut model = self.model.lock().unwrap();
            let stream = model.streams.get_mut(&name).unwrap();
            stream.certain = false;
        }
        let outcome = self.rig.define(Definition::Drop(name.clone()));
        self.commit();
        let mut model = self.model.lock().unwrap();
        match outcome.wait() {
            Ok(_) => {
                let stream = model.streams.remove(&name).unwrap();
                model.partitions.retain(|at, _| !stream.partitions.contains(at));
            }
            Err(crate::Error::Unknown(_)) => {}
            Err(_) => {
                let stream = model.streams.get_mut(&name).unwrap();
                stream.certain = true;
            }
        }
    }

    /// Closes the log cleanly and opens it again.
    fn reopen(&mut self) {
        self.commit();
        self.rig.sim.disk.process_loss();
        self.recover();
    }

    /// Opens the log on the machine as it is, and checks it.
    fn recover(&mut self) {
        self.pending.settle(&mut self.model.lock().unwrap());
        self.pending.forget();
        // Whatever a crash leaves is sound.
        let found = verify(Path::new(FOLDER), &self.rig.sim.env()).unwrap();
        assert_eq!(found.problems, [], "a log that lost nothing is called damaged");
        self.rig = Rig::open(&self.rig.sim, &self.options).unwrap();
        *self.visible.lock().unwrap() = self.rig.shared.clone();
        self.model.lock().unwrap().check_opened(&self.rig);
    }

    /// A copy of this history on a copy of the machine, which has just lost its power.
    fn crashed(sim: &Sim, model: &Model, options: &Options, next_number: u64, seed: u64) -> Self {
        let sim = sim.fork(seed);
        sim.disk.power_loss();
        if seed.is_multiple_of(3) {
            // The clock of a machine may be worse after it has started again.
            sim.clock.set_wall(1_700_000_000_000 - 60_000);
        }
        let rig = Rig::open(&sim, options).unwrap();
        let mut model = model.clone();
        model.check_opened(&rig);
        Self {
            visible: Arc::new(Mutex::new(rig.shared.clone())),
            rig,
            options: options.clone(),
            model: Arc::new(Mutex::new(model)),
            pending: Pending::default(),
            random: SimRandom::new(seed),
            others: Others::new(500),
            next_number,
            next_stream: 1_000,
        }
    }

    /// Goes on for a few steps, with the power going at a random moment.
    fn go_on_and_crash(&mut self) {
        let disk = self.rig.sim.disk.clone();
        let number = disk.operations() + self.below(60);
        disk.fault_at(number, Fault::Crash);
        for _ in 0..6 {
            self.step_unless_down();
        }
        self.rig.sim.disk.power_loss();
        self.recover();
    }

    /// A step that may find the machine without power.
    fn step_unless_down(&mut self) {
        match self.below(10) {
            0..5 => self.append_some(),
            5 => self.rig.prepare(),
            6 => self.trim(),
            7 => {
                self.rig.tidy();
                self.observe_starts();
            }
            _ => self.commit(),
        }
    }
}

/// Runs a history and names its seed if it fails.
fn with_seed(seed: u64, run: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
        eprintln!("the history of seed {seed} failed");
        resume_unwind(panic);
    }
}

/// LOG-1, LOG-2, LOG-4: the power goes at every single change of the disk; after each, the log is opened (and has all that
/// a reader could see), used, crashed again, opened, used, crashed a third time.
#[test]
fn log_1_log_2_log_4_a_crash_at_every_boundary_loses_nothing_and_revives_nothing() {
    for seed in 0..u64::from(cases(3)) {
        with_seed(seed, || {
            let mut history = History::new(seed);
            let (sim, model) = (history.rig.sim.clone(), history.model.clone());
            let (options, visible) = (history.options.clone(), history.visible.clone());
            let crashes = Arc::new(Mutex::new(0u64));
            let seen = Arc::new(Mutex::new(0u64));
            let (counted, seen_there) = (crashes.clone(), seen.clone());
            sim.disk.observe({
                let sim = sim.clone();
                move |operation| {
                    if operation.is_change() {
                        let mut count = counted.lock().unwrap();
                        *count += 1;
                        let seed = seed << 32 | *count;
                        let model = model.lock().unwrap().clone();
                        let mut crashed = History::crashed(&sim, &model, &options, 1 << 40, seed);
                        let visible = visible.lock().unwrap().clone();
                        *seen_there.lock().unwrap() += check_visible(&visible, &crashed.rig.shared);
                        if count.is_multiple_of(4) {
                            crashed.go_on_and_crash();
                            crashed.go_on_and_crash();
                        }
                    }
                }
            });
            for _ in 0..1_200 {
                history.step();
            }
            sim.disk.observe_no_more();
            assert!(
                history.model.lock().unwrap().origins.count() > 100,
                "few events of other regions were taken"
            );
            assert!(*crashes.lock().unwrap() > 1_000 && *seen.lock().unwrap() > 100_000);
            history.reopen();
        });
    }
}

/// Failing disks: writes and syncs that fail, disks that are full and have room again, power that goes at any moment, reads
/// and writes that are cut short.
#[test]
fn log_1_histories_on_failing_disks_lose_nothing() {
    for seed in 1_000..1_000 + u64::from(cases(40)) {
        with_seed(seed, || {
            let mut history = History::new(seed);
            let disk = history.rig.sim.disk.clone();
            disk.set_rates(Rates { short_reads: 100, short_writes: 100, interrupts: 50 });
            for _ in 0..12 {
                let number = disk.operations() + history.below(150);
                match history.below(4) {
                    0 => disk.fault_at(number, Fault::Crash),
                    1 => disk.fault_at(number, Fault::Fail(std::io::ErrorKind::Other)),
                    2 => disk.fault_at(number, Fault::Fail(std::io::ErrorKind::StorageFull)),
                    _ => disk.set_capacity(disk.used_bytes() + history.below(200_000)),
                }
                for _ in 0..25 {
                    history.step_unless_down();
                }
                disk.set_capacity(u64::MAX);
                if history.below(3) == 0 {
                    disk.process_loss();
                } else {
                    disk.power_loss();
                }
                history.recover();
                history.rig.prepare();
            }
        });
    }
}

/// The same seed gives the same run, or a printed seed would be of no use.
#[test]
fn a_history_repeats_from_its_seed() {
    let run = || {
        let mut history = History::new(5);
        for _ in 0..120 {
            history.step();
        }
        let sim = &history.rig.sim;
        (sim.disk.trace(), sim.disk.used_bytes(), sim.clock.now_ms(), sim.random.next_u64())
    };
    assert_eq!(run(), run());
}
