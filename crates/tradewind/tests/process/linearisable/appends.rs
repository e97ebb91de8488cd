//! Clients that append to the same subjects with the version that they know, and read them.

use super::history::History;
use super::http::Answer;
use super::{Clients, Random};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use todc_utils::Specification;
use tw_testing::eventually;

/// How many answers a subject gets, and how many may stay away, before clients go on to a new one.
const ANSWERED_MAX: usize = 24;
const UNANSWERED_MAX: usize = 4;
/// How many subjects clients meet at.
const SUBJECTS: usize = 2;

/// What one subject is: the ids of its events, in order. Its version is how many there are.
pub(super) struct Subject;

#[derive(Debug, Clone)]
pub(super) enum Operation {
    /// Append an event if the subject has this version.
    Append { id: u64, expected: u64, told: Option<Told> },
    /// Read the events.
    Read(Vec<u64>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    Stored { version: u64 },
    Conflict { actual: u64 },
}

impl Specification for Subject {
    type State = Vec<u64>;
    type Operation = Operation;

    fn init() -> Vec<u64> {
        Vec::new()
    }

    fn apply(operation: &Operation, events: &Vec<u64>) -> (bool, Vec<u64>) {
        let version = events.len() as u64;
        match operation {
            Operation::Read(seen) => (seen == events, events.clone()),
            Operation::Append { id, expected, told } if *expected == version => {
                let is_right =
                    told.as_ref().is_none_or(|told| *told == Told::Stored { version: version + 1 });
                (is_right, events.iter().copied().chain(is_right.then_some(*id)).collect())
            }
            Operation::Append { told, .. } => {
                let is_right = told.as_ref().is_none_or(|told| *told == Told::Conflict { actual: version });
                (is_right, events.clone())
            }
        }
    }
}

/// The subjects of a run.
pub(super) struct Appends<'c> {
    clients: &'c Clients,
    /// Whether the expected version, which is in the history, is in the request too.
    sends_expectations: bool,
    /// Whether subjects are read meanwhile, too.
    reads: bool,
    subjects: Mutex<Vec<Arc<Kept>>>,
}

/// A subject and what was seen of it.
struct Kept {
    name: String,
    history: History<Subject>,
    /// Events of which was said that they are not stored.
    refused: Mutex<BTreeSet<u64>>,
}

/// How much was done.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) subjects: usize,
    pub(super) answered: usize,
    pub(super) unanswered: usize,
    /// The histories that nothing correct can have.
    pub(super) wrong: Vec<String>,
}

impl<'c> Appends<'c> {
    pub(super) fn new(clients: &'c Clients, sends_expectations: bool) -> Self {
        Self { clients, sends_expectations, reads: true, subjects: Mutex::default() }
    }

    /// The same, where whoever is asked may not know of everything yet: subjects are read in the end only.
    pub(super) fn without_reads(self) -> Self {
        Self { reads: false, ..self }
    }

    /// One of the subjects at which clients meet now.
    fn choose(&self, random: &mut Random) -> Arc<Kept> {
        let mut subjects = self.subjects.lock().unwrap();
        let is_full = |kept: &Kept| {
            let (answered, unanswered) = kept.history.count();
            answered >= ANSWERED_MAX || unanswered >= UNANSWERED_MAX
        };
        let mut open: Vec<_> =
            subjects.iter().rev().take(2 * SUBJECTS).filter(|kept| !is_full(kept)).cloned().collect();
        while open.len() < SUBJECTS {
            let name = format!("s{}", subjects.len());
            let kept = Arc::new(Kept { name, history: History::default(), refused: Mutex::default() });
            subjects.push(kept.clone());
            open.push(kept);
        }
        open.swap_remove(random.below(open.len() as u64) as usize)
    }

    /// One client, until the run is over.
    pub(super) fn work(&self, number: u64) {
        let mut random = Random::new(number);
        let mut known: HashMap<String, u64> = HashMap::new();
        let mut id = number << 32;
        while self.clients.goes_on() {
            let kept = self.choose(&mut random);
            let version = known.get(&kept.name).copied().unwrap_or(0);
            id += 1;
            let seen = match random.below(4) {
                0 if self.reads => self.read(&kept, &mut random),
                _ => self.append(&kept, id, version, &mut random),
            };
            known.extend(seen.map(|version| (kept.name.clone(), version)));
        }
    }

    /// Appends an event; gives the version that the subject has.
    fn append(&self, kept: &Kept, id: u64, expected: u64, random: &mut Random) -> Option<u64> {
        let event = json!({ "specversion": "1.0", "id": id.to_string(), "source": "/client", "type": "put" });
        let version = format!("\"{expected}\"");
        let condition = if expected == 0 { ("If-None-Match", "*") } else { ("If-Match", version.as_str()) };
        let kind = ("Content-Type", "application/cloudevents+json");
        let headers = if self.sends_expectations { vec![kind, condition] } else { vec![kind] };
        let path = format!("/v1/streams/subjects/subjects/{}/events", kept.name);
        let begun = kept.history.begin(Operation::Append { id, expected, told: None });
        let answer = self.clients.send(random, "POST", &path, &headers, &event.to_string());
        let (told, version) = match answer {
            Answer::Told(200, body) => {
                let version = body["events"][0]["version"].as_u64().unwrap();
                (Told::Stored { version }, version)
            }
            Answer::Told(412, body) => {
                let actual = body["current_version"].as_u64().unwrap();
                (Told::Conflict { actual }, actual)
            }
            Answer::NotSent | Answer::Told(421 | 503, _) => {
                kept.history.withdraw(begun);
                kept.refused.lock().unwrap().insert(id);
                return None;
            }
            Answer::Nothing | Answer::Told(500 | 504, _) => return None,
            Answer::Told(status, body) => panic!("{status}: {body}"),
        };
        kept.history.end(begun, Operation::Append { id, expected, told: Some(told) });
        self.clients.appended.fetch_add(1, Ordering::SeqCst);
        Some(version)
    }

    /// Reads the events of a subject; gives how many there are. What is not answered has no effect.
    fn read(&self, kept: &Kept, random: &mut Random) -> Option<u64> {
        let path = format!("/v1/streams/subjects/subjects/{}/events", kept.name);
        let begun = kept.history.begin(Operation::Read(Vec::new()));
        match self.clients.send(random, "GET", &path, &[], "") {
            Answer::Told(200, body) => {
                let id = |event: &Value| event["id"].as_str().unwrap().parse().unwrap();
                let events: Vec<u64> = body["events"].as_array().unwrap().iter().map(id).collect();
                let refused = kept.refused.lock().unwrap();
                let stored: Vec<_> = events.iter().filter(|id| refused.contains(id)).collect();
                assert!(stored.is_empty(), "{}: {stored:?} were refused and are stored", kept.name);
                assert_eq!(body["version"], events.len(), "{}: {body}", kept.name);
                let count = events.len() as u64;
                kept.history.end(begun, Operation::Read(events));
                Some(count)
            }
            Answer::NotSent | Answer::Nothing | Answer::Told(500 | 503 | 504, _) => {
                kept.history.withdraw(begun);
                None
            }
            Answer::Told(status, body) => panic!("{status}: {body}"),
        }
    }

    /// Reads every subject once more, now that everything is well, and counts those whose history is wrong.
    pub(super) fn check(&self) -> Figures {
        let subjects = self.subjects.lock().unwrap();
        let mut figures = Figures { subjects: subjects.len(), ..Figures::default() };
        for kept in subjects.iter() {
            let look = || self.read(kept, &mut Random::new(0));
            eventually(look, || format!("`{}` cannot be read", kept.name));
            let (answered, unanswered) = kept.history.count();
            figures.answered += answered;
            figures.unanswered += unanswered;
            if !kept.history.is_linearisable() {
                figures.wrong.push(format!("{}:\n{}", kept.name, kept.history.tell()));
            }
        }
        figures
    }
}

#[test]
fn clu_1_what_had_no_answer_may_have_happened_or_not_but_nothing_else() {
    let is_right = |told: Told, read: &[u64]| {
        let history = History::<Subject>::default();
        history.begin(Operation::Append { id: 1, expected: 0, told: None });
        let other = history.begin(Operation::Append { id: 2, expected: 0, told: None });
        history.end(other, Operation::Append { id: 2, expected: 0, told: Some(told) });
        let reading = history.begin(Operation::Read(Vec::new()));
        history.end(reading, Operation::Read(read.to_vec()));
        history.is_linearisable()
    };
    assert!(is_right(Told::Stored { version: 1 }, &[2]), "it has not happened");
    assert!(is_right(Told::Conflict { actual: 1 }, &[1]), "it has happened");
    assert!(!is_right(Told::Stored { version: 1 }, &[1, 2]), "both have stored version 1");
    assert!(!is_right(Told::Conflict { actual: 1 }, &[]), "nobody has stored version 1");
}
