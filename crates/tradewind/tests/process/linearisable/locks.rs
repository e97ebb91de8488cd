//! Clients that change a number under a lock: read it, and write one more.

use super::history::{Begun, History};
use super::http::Answer;
use super::{Clients, Random};
use serde_json::json;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use todc_utils::Specification;
use tw_testing::eventually;

/// How often a number is changed before clients go on to a new one, under a new lock.
const CHANGES_MAX: usize = 24;
/// How many numbers clients meet at.
const NUMBERS: usize = 2;
/// Short, so that a lock whose holder never learnt that it has it is soon free.
const TTL: Duration = Duration::from_secs(2);
/// How long a client waits for its turn.
const WAIT_MS: u64 = 2_000;

/// What a number is: it goes up by one, and each time the token is higher.
pub(super) struct Counter;

#[derive(Debug, Clone)]
pub(super) struct Change {
    /// What the client wrote.
    to: u64,
    /// Without a lock there is none.
    token: Option<u64>,
}

impl Specification for Counter {
    type State = (u64, Option<u64>);
    type Operation = Change;

    fn init() -> Self::State {
        (0, None)
    }

    fn apply(change: &Change, state: &Self::State) -> (bool, Self::State) {
        let (value, token) = state;
        let is_right = change.to == value + 1 && (change.token.is_none() || change.token > *token);
        (is_right, if is_right { (change.to, change.token) } else { *state })
    }
}

/// A number that remembers the highest token that it has seen, and refuses lower ones: what docs/locks.md asks of whatever is
/// changed under a lock. It is read and written in two steps.
#[derive(Default)]
struct Number {
    value: u64,
    token: Option<u64>,
    /// Who is at it under the lock, and until when the lock is its own for certain.
    inside: Option<(u64, Instant)>,
    /// Two were, at the same time.
    met: Vec<String>,
}

impl Number {
    fn lets_in(&mut self, token: Option<u64>) -> bool {
        self.token = self.token.max(token);
        self.token == token
    }

    fn enter(&mut self, token: u64, until: Instant) {
        let now = Instant::now();
        if let Some((other, theirs)) = self.inside.filter(|(_, theirs)| *theirs > now && until > now) {
            self.met.push(format!("{token} came while {other} had the lock for {:?} more", theirs - now));
        }
        self.inside = Some((token, until));
    }

    fn leave(&mut self, token: u64) {
        self.inside = self.inside.filter(|(inside, _)| *inside != token);
    }
}

struct Kept {
    lock: String,
    number: Mutex<Number>,
    history: History<Counter>,
    /// Tokens, each with when it was asked for and when it came.
    granted: Mutex<Vec<(u64, Instant, Instant)>>,
}

impl Kept {
    fn is_full(&self) -> bool {
        self.history.count().0 >= CHANGES_MAX
    }
}

/// The numbers of a run, and their locks.
pub(super) struct Updates<'c> {
    clients: &'c Clients,
    /// Whether the locks are taken.
    locks: bool,
    numbers: Mutex<Vec<Arc<Kept>>>,
    late: Mutex<usize>,
}

/// How much was done.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) numbers: usize,
    pub(super) changes: usize,
    /// Writes that came with a token that was not the highest any more.
    pub(super) late: usize,
    /// What nothing correct can have.
    pub(super) wrong: Vec<String>,
}

impl<'c> Updates<'c> {
    pub(super) fn new(clients: &'c Clients, locks: bool) -> Self {
        Self { clients, locks, numbers: Mutex::default(), late: Mutex::default() }
    }

    /// One of the numbers at which clients meet now.
    fn choose(&self, random: &mut Random) -> Arc<Kept> {
        let mut numbers = self.numbers.lock().unwrap();
        // Old ones too: somebody may hold the lock of one and wait until another has it.
        let mut open: Vec<_> = numbers.iter().filter(|kept| !kept.is_full()).cloned().collect();
        while open.len() < NUMBERS {
            let lock = format!("number-{}", numbers.len());
            let (number, history, granted) = Default::default();
            let kept = Arc::new(Kept { lock, number, history, granted });
            numbers.push(kept.clone());
            open.push(kept);
        }
        open.swap_remove(random.below(open.len() as u64) as usize)
    }

    /// One client, until the run is over.
    pub(super) fn work(&self, number: u64) {
        let mut random = Random::new(number);
        while self.clients.goes_on() {
            let kept = self.choose(&mut random);
            let begun = kept.history.begin(Change { to: 0, token: None });
            let changed = match self.locks {
                true => self.under_lock(&kept, begun, &mut random),
                false => self.change(&kept, begun, None, &mut random),
            };
            match changed {
                true => drop(self.clients.updated.fetch_add(1, Ordering::SeqCst)),
                false => kept.history.withdraw(begun),
            }
        }
    }

    fn under_lock(&self, kept: &Kept, begun: Begun, random: &mut Random) -> bool {
        let asked = Instant::now();
        let request = json!({ "names": [&kept.lock], "ttl_ms": TTL.as_millis(), "wait_ms": WAIT_MS });
        let Some(session) = self.ask(random, "POST", "/v1/lock-sessions", &request.to_string()) else {
            return false;
        };
        let token = session["locks"][0]["token"].as_u64().unwrap();
        kept.granted.lock().unwrap().push((token, asked, Instant::now()));
        let path = format!("/v1/lock-sessions/{}", session["session"].as_str().unwrap());
        let renewed = Instant::now();
        if self.ask(random, "POST", &format!("{path}/renew"), "").is_none() {
            return false;
        }
        kept.number.lock().unwrap().enter(token, renewed + TTL);
        // Some holders are so late that their lock is somebody else's when they come to write.
        let is_late = random.below(16) == 0;
        let changed = match is_late {
            true => self.too_late(kept, token),
            false => self.change(kept, begun, Some(token), random),
        };
        kept.number.lock().unwrap().leave(token);
        let _lapses = self.ask(random, "DELETE", &path, "");
        changed
    }

    /// Reads the number, does something else, and writes one more; whether that was let in.
    fn change(&self, kept: &Kept, begun: Begun, token: Option<u64>, random: &mut Random) -> bool {
        let read = {
            let mut number = kept.number.lock().unwrap();
            if !number.lets_in(token) {
                return false;
            }
            number.value
        };
        let _elsewhere = self.ask(random, "GET", &format!("/v1/locks/{}", kept.lock), "");
        let mut number = kept.number.lock().unwrap();
        if !number.lets_in(token) {
            *self.late.lock().unwrap() += 1;
            return false;
        }
        number.value = read + 1;
        drop(number);
        kept.history.end(begun, Change { to: read + 1, token });
        true
    }

    /// Holds the lock until somebody else has it, which its end of time alone brings about, and tries to write then.
    fn too_late(&self, kept: &Kept, token: u64) -> bool {
        let overtaken = || {
            let is_over = !self.clients.goes_on() || kept.is_full();
            (is_over || kept.number.lock().unwrap().token > Some(token)).then_some(())
        };
        eventually(overtaken, || format!("nobody gets `{}` after {token}", kept.lock));
        let mut number = kept.number.lock().unwrap();
        if number.token > Some(token) {
            assert!(!number.lets_in(Some(token)));
            *self.late.lock().unwrap() += 1;
        }
        false
    }

    /// The answer if the request succeeded.
    fn ask(&self, random: &mut Random, method: &str, path: &str, body: &str) -> Option<serde_json::Value> {
        let headers = [("Content-Type", "application/json")];
        match self.clients.send(random, method, path, &headers, body) {
            Answer::Told(200 | 204, body) => Some(body),
            // Nobody has it, it went by, it is taken, or it cannot be had now.
            Answer::Told(404 | 409 | 423 | 500 | 503 | 504, _) | Answer::NotSent | Answer::Nothing => None,
            Answer::Told(status, body) => panic!("{method} {path}: {status}: {body}"),
        }
    }

    /// Counts what is wrong.
    pub(super) fn check(&self) -> Figures {
        let numbers = self.numbers.lock().unwrap();
        let late = *self.late.lock().unwrap();
        let mut figures = Figures { numbers: numbers.len(), late, ..Figures::default() };
        for kept in numbers.iter() {
            figures.changes += kept.history.count().0;
            if !kept.history.is_linearisable() {
                figures.wrong.push(format!("{}:\n{}", kept.lock, kept.history.tell()));
            }
            figures.wrong.append(&mut kept.number.lock().unwrap().met);
            figures.wrong.extend(falling(&kept.granted.lock().unwrap()));
        }
        figures
    }
}

/// Tokens that are not higher than one that had come before they were asked for.
fn falling(granted: &[(u64, Instant, Instant)]) -> Vec<String> {
    let earlier = |(token, asked, _): &(u64, Instant, Instant)| {
        let mut before = granted.iter().filter(|(_, _, came)| came < asked);
        before
            .find(|(before, ..)| before >= token)
            .map(|(before, ..)| format!("token {token} came after {before}"))
    };
    granted.iter().filter_map(earlier).collect()
}
