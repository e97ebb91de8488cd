//! Histories of concurrent clients, recorded while nodes are killed and paused and Kafka and etcd are restarted, and checked for
//! linearisability by somebody else's checker. `TRADEWIND_CASES` is how many rounds of faults there are, 1 unless told.
//!
//! A client says of each operation when it began, when it ended, and with which answer. What had no answer may have happened
//! at any later time, or not at all. Subjects and locks are given up after some dozen operations, so that the checker ends.
//!
//! That the checker finds errors is shown by the same clients with a system that has them: one that is not sent
//! the expected versions, and one without locks.

mod appends;
mod history;
mod http;
mod locks;
mod regions;

use crate::support::{Cluster, Node};
use appends::Appends;
use http::Answer;
use locks::Updates;
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use tw_testing::{Random, cases, eventually};

/// How many clients append, and how many change numbers.
const APPENDERS: u64 = 4;
const UPDATERS: u64 = 4;
/// How often a node that did not answer is passed over before a client turns to it again.
const PASSED_OVER: u32 = 12;
/// How much of either has to be done between two faults.
const APPENDED: u64 = 60;
const UPDATED: u64 = 8;

/// What the clients share.
struct Clients {
    /// Where nodes serve.
    urls: Mutex<Vec<String>>,
    /// Those that did not answer, and how often they are still passed over: otherwise most clients wait for a paused node most
    /// of the time.
    silent: Mutex<HashMap<String, u32>>,
    is_over: AtomicBool,
    /// How many appends and how many changes were answered.
    appended: AtomicU64,
    updated: AtomicU64,
}

impl Clients {
    fn new(urls: Vec<String>) -> Self {
        let (silent, is_over, appended, updated) = Default::default();
        Self { urls: Mutex::new(urls), silent, is_over, appended, updated }
    }

    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::SeqCst)
    }

    /// Sends a request to any node; it may be dead.
    fn send(
        &self,
        random: &mut Random,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let url = self.url(random);
        let answer = http::send(&url, method, path, headers, body);
        if matches!(answer, Answer::Nothing) {
            self.silent.lock().unwrap().insert(url, PASSED_OVER);
        }
        answer
    }

    fn url(&self, random: &mut Random) -> String {
        let urls = self.urls.lock().unwrap();
        let mut silent = self.silent.lock().unwrap();
        let (from, count) = (random.below(urls.len() as u64) as usize, urls.len());
        let mut pass_over = |url: &&String| match silent.get_mut(*url) {
            Some(left @ 1..) => {
                *left -= 1;
                true
            }
            _ => false,
        };
        let mut any = (0..count).map(|step| &urls[(from + step) % count]);
        any.find(|url| !pass_over(url)).unwrap_or(&urls[from]).clone()
    }

    /// Waits until much has been done after this call.
    fn go_on(&self) {
        let done = || [&self.appended, &self.updated].map(|done| done.load(Ordering::SeqCst));
        let [appended, updated] = done();
        let is_enough = |[a, u]: [u64; 2]| a >= appended + APPENDED && u >= updated + UPDATED;
        eventually(
            || is_enough(done()).then_some(()),
            || format!("{:?} after {appended}, {updated}", done()),
        );
    }

    /// Has all clients work while something goes on.
    fn while_working(&self, appends: &Appends<'_>, updates: &Updates<'_>, something: impl FnOnce()) {
        let work = |number| match number {
            1..=APPENDERS => appends.work(number),
            number => updates.work(number - APPENDERS),
        };
        self.while_all(APPENDERS + UPDATERS, work, something);
    }

    /// Has so many clients work, by their numbers from 1, while something goes on.
    fn while_all(&self, count: u64, work: impl Fn(u64) + Sync, something: impl FnOnce()) {
        struct Over<'c>(&'c AtomicBool);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        thread::scope(|scope| {
            // Also when it panics: otherwise the clients go on for ever.
            let _over = Over(&self.is_over);
            let work = &work;
            (1..=count).for_each(|number| drop(scope.spawn(move || work(number))));
            something();
        });
    }
}

/// Everything that may go wrong, once.
fn faults(cluster: &mut Cluster, clients: &Clients, round: usize) {
    let restart = |cluster: &mut Cluster, victim: usize| {
        cluster.kill(victim);
        clients.go_on();
        cluster.start_again(victim);
        clients.urls.lock().unwrap()[victim] = cluster.node(victim).url.clone();
        clients.go_on();
    };
    let [first, second, third] = [0, 1, 2].map(|number| (number + round) % 3);
    clients.go_on();
    restart(cluster, first);
    // Paused past its lease, and woken up with requests at its door.
    cluster.node(second).send("-STOP");
    cluster.registered(first, second, false);
    clients.go_on();
    cluster.node(second).send("-CONT");
    clients.go_on();
    cluster.kafka.kill();
    cluster.kafka.start_again();
    restart(cluster, third);
    cluster.etcd.kill();
    cluster.etcd.start_again();
    clients.go_on();
    restart(cluster, second);
}

#[test]
fn clu_1_concurrent_appends_and_updates_under_locks_are_linearisable_while_everything_fails() {
    let rounds = cases(1) as usize;
    let mut cluster = Cluster::start(3);
    cluster.node(0).ok(&["sql", "CREATE STREAM subjects WITH (partitions = 6)"]);
    let clients = Clients::new((0..3).map(|number| cluster.node(number).url.clone()).collect());
    let (appends, updates) = (Appends::new(&clients, true), Updates::new(&clients, true));
    clients.while_working(&appends, &updates, || {
        (0..rounds).for_each(|round| faults(&mut cluster, &clients, round));
    });
    let (appends, updates) = (appends.check(), updates.check());
    assert!(appends.wrong.is_empty(), "CLU-1: {}", appends.wrong[0]);
    assert!(updates.wrong.is_empty(), "CLU-1: {}", updates.wrong[0]);
    assert!(appends.unanswered > 0 && updates.late > 0, "{appends:?}, {updates:?}");
    println!(
        "{} operations on {} subjects, {} more without an answer; {} changes of {} numbers, {} refused because they were late",
        appends.answered,
        appends.subjects,
        appends.unanswered,
        updates.changes,
        updates.numbers,
        updates.late
    );
}

#[test]
fn clu_1_the_checker_finds_expected_versions_that_are_ignored_and_updates_without_a_lock() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    node.ok(&["sql", "CREATE STREAM subjects WITH (partitions = 6)"]);
    for is_right in [true, false] {
        let clients = Clients::new(vec![node.url.clone()]);
        let (appends, updates) = (Appends::new(&clients, is_right), Updates::new(&clients, is_right));
        clients.while_working(&appends, &updates, || (0..5).for_each(|_| clients.go_on()));
        let (appends, updates) = (appends.check(), updates.check());
        assert_eq!(appends.wrong.is_empty(), is_right, "{appends:?}");
        assert_eq!(updates.wrong.is_empty(), is_right, "{updates:?}");
    }
}
