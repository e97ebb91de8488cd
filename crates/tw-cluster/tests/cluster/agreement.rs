//! Random work on both engines at once: whatever the one answers, the other answers too.

use crate::engines::{EtcdServer, Memory};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeSet;
use std::time::Duration;
use tw_cluster::conformance::Engine;
use tw_cluster::{Change, Coordination, Entry, Error, Guard, Key, LeaseId, Outcome, Revision, Transaction};

/// One thing to do; keys, leases and revisions by number, as far as there are so many.
#[derive(Debug, Clone)]
enum Step {
    Commit { guards: Vec<(u8, u8, u64)>, writes: Vec<(u8, Option<u8>, bool)> },
    Read { key: u8, below: bool, at: Option<u64> },
    Watch { key: u8, below: bool, from: u64 },
    Grant,
    Revoke(u8),
    Compact(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let guard = (0..3u8, 0..4u8, 0..20u64);
    let write = (0..4u8, prop::option::of(0..3u8), prop::bool::weighted(0.7));
    let commit = (prop::collection::vec(guard, 0..2), prop::collection::vec(write, 0..4));
    prop_oneof![
        8 => commit.prop_map(|(guards, writes)| Step::Commit { guards, writes }),
        3 => (0..4u8, any::<bool>(), prop::option::of(0..20u64))
            .prop_map(|(key, below, at)| Step::Read { key, below, at }),
        3 => (0..4u8, any::<bool>(), 1..20u64).prop_map(|(key, below, from)| Step::Watch { key, below, from }),
        1 => Just(Step::Grant),
        1 => (0..3u8).prop_map(Step::Revoke),
        1 => (0..20u64).prop_map(Step::Compact),
    ]
}

/// An engine, counted from where it was when this began.
struct Side {
    on: std::sync::Arc<dyn Coordination>,
    /// What all keys start with.
    space: Key,
    base: u64,
    leases: Vec<LeaseId>,
}

impl Side {
    async fn new(on: std::sync::Arc<dyn Coordination>, case: u32) -> Self {
        let space = Key::new(["case", &case.to_string()]).unwrap();
        let start = Transaction::new().put(&Key::new(["start"]).unwrap(), case.to_string());
        let base = on.commit(start).await.unwrap().done().unwrap().0;
        Self { on, space, base, leases: Vec::new() }
    }

    fn key(&self, number: u8) -> Key {
        let key =
            |names: &[&str]| names.iter().fold(self.space.clone(), |key, name| key.child(name).unwrap());
        match number {
            0 => key(&["a"]),
            1 => key(&["a", "b"]),
            2 => key(&["a", "c"]),
            _ => key(&["a0"]),
        }
    }

    fn lease(&self, number: u8) -> Option<LeaseId> {
        self.leases.get(usize::from(number)).copied()
    }

    fn at(&self, revision: u64) -> Revision {
        Revision(self.base + revision)
    }

    fn shown(&self, revision: Revision) -> u64 {
        revision.0.saturating_sub(self.base)
    }

    fn entry(&self, entry: &Entry) -> String {
        let lease = entry.lease.and_then(|id| self.leases.iter().position(|known| *known == id));
        let (created, modified) = (self.shown(entry.created), self.shown(entry.modified));
        format!("{}={:?} {created} {modified} {lease:?}", entry.key, entry.value)
    }

    fn error(&self, error: &Error) -> String {
        match error {
            Error::Compacted { range, wanted } => format!("compacted {range} {}", self.shown(*wanted)),
            Error::NotYet { wanted } => format!("not yet {}", self.shown(*wanted)),
            Error::NoLease(id) => format!("no lease {:?}", self.leases.iter().position(|known| known == id)),
            error => format!("{error}"),
        }
    }

    /// Does it, and tells what came of it.
    async fn take(&mut self, step: &Step) -> String {
        match step {
            Step::Commit { guards, writes } => self.commit(guards, writes).await,
            Step::Read { key, below, at } => {
                let key = self.key(*key);
                let range = if *below { key.below() } else { key.alone() };
                match self.on.read(range, at.map(|at| self.at(at))).await {
                    Ok(read) => {
                        let entries: Vec<_> = read.entries.iter().map(|entry| self.entry(entry)).collect();
                        format!("{} {entries:?}", self.shown(read.revision))
                    }
                    Err(error) => self.error(&error),
                }
            }
            Step::Watch { key, below, from } => {
                let key = self.key(*key);
                let range = if *below { key.below() } else { key.alone() };
                self.watch(range, self.at(*from)).await
            }
            Step::Grant => {
                let grant = self.on.grant(Duration::from_secs(1000)).await.unwrap();
                self.leases.push(grant.id);
                format!("{:?}", grant.ttl)
            }
            Step::Revoke(number) => match self.lease(*number) {
                Some(lease) => {
                    format!("{:?}", self.on.revoke(lease).await.map_err(|error| self.error(&error)))
                }
                None => String::new(),
            },
            Step::Compact(before) => {
                let done = self.on.compact(self.at(*before)).await;
                format!("{:?}", done.map_err(|error| self.error(&error)))
            }
        }
    }

    async fn commit(&self, guards: &[(u8, u8, u64)], writes: &[(u8, Option<u8>, bool)]) -> String {
        let mut transaction = Transaction::new();
        let mut leases = BTreeSet::new();
        for (kind, key, revision) in guards {
            let (key, revision) = (self.key(*key), self.at(*revision));
            transaction = transaction.when(match kind {
                0 => Guard::Absent(key),
                1 => Guard::Created(key, revision),
                _ => Guard::Unchanged(key, revision),
            });
        }
        for (key, lease, is_put) in writes {
            let key = self.key(*key);
            transaction = match (is_put, lease.and_then(|lease| self.lease(lease))) {
                (false, _) => transaction.delete(&key),
                (true, None) => transaction.put(&key, "plain"),
                (true, Some(lease)) => {
                    leases.insert(lease);
                    transaction.put_under(lease, &key, "leased")
                }
            };
        }
        match self.on.commit(transaction).await {
            Ok(Outcome::Done(revision)) => format!("done {}", self.shown(revision)),
            Ok(Outcome::Failed { revision, found }) => {
                let found: Vec<_> = found.iter().flatten().map(|entry| self.entry(entry)).collect();
                format!("failed {} {found:?}", self.shown(revision))
            }
            // etcd does not tell which.
            Err(Error::NoLease(_)) if leases.len() > 1 => "no lease".to_owned(),
            Err(error) => self.error(&error),
        }
    }

    /// Everything from there until now: a last change marks the end.
    async fn watch(&self, range: tw_cluster::Range, from: Revision) -> String {
        let mut watch = self.on.watch(range.clone(), from);
        let mut told = Vec::new();
        let now = self.on.read(range.clone(), None).await.unwrap();
        let last = now.entries.iter().map(|entry| entry.modified).max().unwrap_or_default();
        // Without an entry that is new enough there may be nothing to wait for.
        while last >= from && told.last().is_none_or(|(revision, _)| *revision < last) {
            match watch.next().await {
                Err(error) => return self.error(&error),
                Ok(changes) => told.extend(changes.changes.iter().map(|change| {
                    let line = match change {
                        Change::Put(entry) => self.entry(entry),
                        Change::Delete { key, revision } => format!("-{key} {}", self.shown(*revision)),
                    };
                    (change.revision(), line)
                })),
            }
        }
        told.retain(|(revision, _)| *revision <= last);
        format!("{:?}", told.into_iter().map(|(_, line)| line).collect::<Vec<_>>())
    }
}

#[test]
fn both_engines_answer_the_same() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let server = EtcdServer::start();
    let mut runner = TestRunner::new(Config { cases: tw_testing::cases(60), ..Config::default() });
    let case = std::cell::Cell::new(0);
    let steps = prop::collection::vec(step(), 1..40);
    let tested = runner.run(&steps, |steps| {
        case.set(case.get() + 1);
        runtime.block_on(async {
            let mut memory = Side::new(Memory::simulated().connect(), case.get()).await;
            let mut etcd = Side::new(server.connect(), case.get()).await;
            for step in &steps {
                let (expected, found) = (memory.take(step).await, etcd.take(step).await);
                prop_assert_eq!(expected, found, "memory, etcd: {:?}", step);
            }
            Ok(())
        })
    });
    tested.unwrap_or_else(|error| panic!("{error}"));
}
