//! Lock sessions: locks for clients that are not processes of ours, and keep their leases themselves.
//!
//! A session is a lease, and the key `lock-sessions/LEASE` under it. Nothing else is remembered anywhere, so any node serves
//! any session. While a request waits, the node that serves it keeps the lease; then the client has to renew it, and one that
//! is gone loses what it holds when its lease has ended.
//!
//! Sessions cannot deadlock, in whatever order they ask for locks. Several that are asked for together are taken in the order
//! of their names. Beyond that it is wound-wait (Rosenkrantz, Stearns, Lewis: System Level Concurrency Control for
//! Distributed Database Systems, 1978): see [`turn`].

mod record;
mod turn;

use crate::line::{Line, Place};
use crate::{Coordination, Error, Guard, Key, Lease, LeaseId, LeaseOptions, Outcome, Result, Revision};
use crate::{Transaction, Waiter, line};
use record::{Book, SessionV1};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use turn::{Turn, Wounds};

/// How long before its end a lease is given up while a request waits, in percent.
const MARGIN_PERCENT: u32 = 10;
/// The longest name of a lock, in bytes.
const NAME_BYTES_MAX: usize = 200;
/// The longest text that says who holds a lock, in bytes.
const OWNER_BYTES_MAX: usize = 200;

/// The bounds of lock sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LockOptions {
    /// How long a lock session may last without a renewal, in milliseconds: 1,000 to 600,000. Default 600,000.
    pub ttl_ms_max: u64,
    /// How long one request may wait for locks, in milliseconds: 0 to 3,600,000. Default 600,000.
    pub wait_ms_max: u64,
    /// How many locks one session may hold: 1 to 100. Default 64.
    pub names_max: u32,
    /// How long a session that was refused to wait, because an older one waits for what it holds, has to release that before
    /// it is taken away, in milliseconds: 0 to 600,000. Default 10,000.
    pub grace_ms: u64,
}

impl Default for LockOptions {
    fn default() -> Self {
        Self { ttl_ms_max: 600_000, wait_ms_max: 600_000, names_max: 64, grace_ms: 10_000 }
    }
}

impl LockOptions {
    /// Checks every bound.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn check(&self) -> Result<()> {
        let checks = [
            ("ttl_ms_max", self.ttl_ms_max, 1_000..=600_000, "1,000 to 600,000"),
            ("wait_ms_max", self.wait_ms_max, 0..=3_600_000, "0 to 3,600,000"),
            ("names_max", self.names_max.into(), 1..=100, "1 to 100"),
            ("grace_ms", self.grace_ms, 0..=600_000, "0 to 600,000"),
        ];
        for (option, value, bounds, rule) in checks {
            if !bounds.contains(&value) {
                return Err(Error::InvalidOption { option, value: value.to_string(), rule });
            }
        }
        Ok(())
    }
}

/// A lock session as it was at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockSession {
    /// Its number.
    pub id: LeaseId,
    /// Who it is, in its own words.
    pub owner: String,
    /// How long it lasts without a renewal.
    pub ttl: Duration,
    /// Until when it lasts for certain, on the clock of [`Coordination::time`].
    pub until: Duration,
    /// What it holds, with fencing tokens, by name.
    pub locks: BTreeMap<String, Revision>,
    /// What of that older sessions wait for: this one must not wait for more before it has released it.
    pub wounded: Vec<String>,
}

/// A lock, who holds it, and who waits for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockQueue {
    /// Its name.
    pub name: String,
    /// The holder, followed by those who wait, in their order; nobody if it is free.
    pub line: Vec<Waiter>,
}

/// The lock sessions of a cluster.
#[derive(Debug, Clone)]
pub struct LockSessions {
    coordination: Arc<dyn Coordination>,
    book: Book,
    options: LockOptions,
}

impl LockSessions {
    /// The lock sessions that this coordination holds.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn new(coordination: Arc<dyn Coordination>, options: LockOptions) -> Result<Self> {
        options.check()?;
        Ok(Self { book: Book::new(coordination.clone())?, coordination, options })
    }

    /// Opens a session that holds all of these locks, or fails and leaves nothing behind. Waits in line for them, for at most
    /// `wait`. Dropping the future ends the session. From then on the caller has to [renew](Self::renew) it.
    ///
    /// # Errors
    /// [`Error::Waited`] after `wait`; [`Error::InvalidLock`], [`Error::InvalidKey`], [`Error::NoLease`],
    /// [`Error::Unavailable`], [`Error::Unknown`] (nothing is held), [`Error::Refused`].
    pub async fn open(
        &self,
        owner: &str,
        names: &[String],
        ttl: Duration,
        wait: Duration,
    ) -> Result<LockSession> {
        let names = self.checked(names)?;
        if owner.is_empty() || owner.len() > OWNER_BYTES_MAX || owner.chars().any(char::is_control) {
            return Err(invalid("owner", owner, "1 to 200 bytes without control characters"));
        }
        if !(Duration::from_secs(1)..=Duration::from_millis(self.options.ttl_ms_max)).contains(&ttl) {
            return Err(invalid("ttl_ms", &ttl.as_millis().to_string(), "1000 to `ttl_ms_max` of [locks]"));
        }
        let deadline = self.deadline(wait)?;
        let options = LeaseOptions { ttl_ms: ttl.as_millis() as u64, margin_percent: MARGIN_PERCENT };
        // Dropped here, it is revoked.
        let lease = Lease::new(self.coordination.clone(), &options).await?;
        let taken = async {
            let age = self.book.open(&lease, owner).await?;
            self.take_all(&lease, owner, age, names, wait, deadline).await
        };
        match taken.await {
            Ok(session) => Ok(session),
            Err(error) => {
                if let Err(error) = lease.revoke().await {
                    tracing::info!("a lock session that came to nothing ends by itself: {error}");
                }
                Err(error)
            }
        }
    }

    /// Takes further locks in a session, all or none of them; what it holds already stays. Waits in line as
    /// [`LockSessions::open`] does. Dropping the future gives up the places; the session stays.
    ///
    /// # Errors
    /// [`Error::Wounded`] when an older session waits for what this one holds, [`Error::NoSession`], and those of
    /// [`LockSessions::open`].
    pub async fn take(&self, id: LeaseId, names: &[String], wait: Duration) -> Result<LockSession> {
        let mut names = self.checked(names)?;
        let deadline = self.deadline(wait)?;
        let (age, record) = self.book.get(id).await?;
        let adopted = Lease::adopt(self.coordination.clone(), id, MARGIN_PERCENT).await;
        let lease = adopted.map_err(|error| gone(error, id))?;
        let held = self.held(id, &record).await?;
        names.retain(|name| !held.contains_key(name));
        let count = held.len() + names.len();
        if count > self.options.names_max as usize {
            return Err(invalid(
                "names",
                &format!("{count} names"),
                "together at most `names_max` of [locks]",
            ));
        }
        self.take_all(&lease, &record.owner, age, names, wait, deadline).await
    }

    /// Starts the session's time anew, and tells what it holds.
    ///
    /// # Errors
    /// [`Error::NoSession`], [`Error::Unavailable`], [`Error::Refused`].
    pub async fn renew(&self, id: LeaseId) -> Result<LockSession> {
        let (age, record) = self.book.get(id).await?;
        let grant = self.coordination.renew(id).await.map_err(|error| gone(error, id))?;
        let locks = self.held(id, &record).await?;
        let wounded = Wounds::of(&self.coordination, id, age, &record).await?.real;
        let SessionV1 { owner, .. } = record;
        Ok(LockSession { id, owner, ttl: grant.ttl, until: grant.until, locks, wounded })
    }

    /// Ends a session and releases all that it holds, at once.
    ///
    /// # Errors
    /// [`Error::NoSession`], [`Error::Unavailable`], [`Error::Refused`].
    pub async fn close(&self, id: LeaseId) -> Result<()> {
        self.book.get(id).await?;
        self.coordination.revoke(id).await
    }

    /// Releases one lock of a session.
    ///
    /// # Errors
    /// [`Error::NoSession`], [`Error::NotHeld`], [`Error::InvalidKey`], and those of [`Coordination::commit`].
    pub async fn release(&self, id: LeaseId, name: &str) -> Result<()> {
        self.book.get(id).await?;
        let read = self.coordination.read(parent(name)?.below(), None).await?;
        let line = line::waiting(&read.entries);
        let Some((entry, _)) = line.first().filter(|(entry, _)| entry.lease == Some(id)) else {
            return Err(Error::NotHeld { name: name.to_owned() });
        };
        let free = Transaction::new().when(Guard::Created(entry.key.clone(), entry.created));
        if let Outcome::Failed { .. } = self.coordination.commit(free.delete(&entry.key)).await? {
            return Err(Error::NotHeld { name: name.to_owned() });
        }
        self.book.change(id, &[], |record| record.forget([name])).await.map(drop)
    }

    /// All locks that somebody holds or waits for, in the order of their names.
    ///
    /// # Errors
    /// Those of [`Coordination::read`].
    pub async fn list(&self) -> Result<Vec<LockQueue>> {
        let read = self.coordination.read(Key::new(["locks"])?.below(), None).await?;
        let mut locks: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for entry in read.entries {
            let name = entry.key.segments().nth(1).unwrap_or_default().into_owned();
            locks.entry(name).or_default().push(entry);
        }
        let lines = locks.into_iter().map(|(name, entries)| {
            let line = line::waiting(&entries).into_iter().map(|(_, waiter)| waiter).collect();
            LockQueue { name, line }
        });
        Ok(lines.filter(|lock| !lock.line.is_empty()).collect())
    }

    /// A lock; nobody holds it if it is not known.
    ///
    /// # Errors
    /// [`Error::InvalidKey`], and those of [`Coordination::read`].
    pub async fn show(&self, name: &str) -> Result<LockQueue> {
        let line = Line::new(self.coordination.clone(), parent(name)?).waiters().await?;
        Ok(LockQueue { name: name.to_owned(), line })
    }

    /// Takes the locks in the order of their names, and leaves the lease to the client. None is kept after an error.
    async fn take_all(
        &self,
        lease: &Lease,
        owner: &str,
        age: Revision,
        names: Vec<String>,
        wait: Duration,
        deadline: Duration,
    ) -> Result<LockSession> {
        let mut taken: BTreeMap<String, Place> = BTreeMap::new();
        while let Some(name) = names.iter().find(|name| !taken.contains_key(*name)) {
            let line = Line::new(self.coordination.clone(), parent(name)?);
            let place = line.enter_as(lease, owner, Some(age)).await?;
            let turn = Turn {
                coordination: &self.coordination,
                book: &self.book,
                line: &line,
                place: &place,
                name,
                age,
                grace: Duration::from_millis(self.options.grace_ms),
            };
            match turn.within(wait, deadline).await {
                Ok(()) => drop(taken.insert(name.clone(), place)),
                Err(error) => {
                    place.leave().await?;
                    let wounded = match &error {
                        Error::Wounded { names } => names.as_slice(),
                        _ => &[],
                    };
                    // What it holds from earlier requests is the client's to release.
                    let is_ours = !wounded.is_empty() && wounded.iter().all(|name| taken.contains_key(name));
                    for place in taken.values() {
                        place.leave().await?;
                    }
                    let left: Vec<&str> = taken.keys().map(String::as_str).collect();
                    self.book.change(lease.id(), &[], |record| record.forget(left.clone())).await?;
                    taken.clear();
                    if !is_ours {
                        return Err(error);
                    }
                }
            }
        }
        self.hand_over(lease, taken).await
    }

    /// Writes down what the session holds now, and leaves it to the client.
    async fn hand_over(&self, lease: &Lease, taken: BTreeMap<String, Place>) -> Result<LockSession> {
        let guards: Vec<Guard> = taken.values().map(Place::guard).collect();
        let tokens = || taken.iter().map(|(name, place)| (name.clone(), place.token().0));
        let noted = |record: &mut SessionV1| {
            record.forget(taken.keys().map(String::as_str));
            record.locks.extend(tokens());
        };
        let record = self.book.change(lease.id(), &guards, noted).await?;
        let record = record.ok_or(Error::NoLease(lease.id()))?;
        let locks = self.held(lease.id(), &record).await?;
        let grant = lease.hand_over().await?;
        taken.values().for_each(Place::hand_over);
        let (id, owner, wounded) = (lease.id(), record.owner, Vec::new());
        Ok(LockSession { id, owner, ttl: grant.ttl, until: grant.until, locks, wounded })
    }

    /// What of its locks a session still holds.
    async fn held(&self, id: LeaseId, record: &SessionV1) -> Result<BTreeMap<String, Revision>> {
        let mut held = BTreeMap::new();
        for (name, token) in &record.locks {
            let holder = self.show(name).await?.line.into_iter().next();
            let is_held = |holder: &Waiter| holder.lease == Some(id) && holder.token.0 == *token;
            if let Some(holder) = holder.filter(is_held) {
                held.insert(name.clone(), holder.token);
            }
        }
        Ok(held)
    }

    /// The names in their order, each once.
    fn checked(&self, names: &[String]) -> Result<Vec<String>> {
        let count = names.len();
        if !(1..=self.options.names_max as usize).contains(&count) {
            return Err(invalid("names", &format!("{count} names"), "1 to `names_max` of [locks]"));
        }
        if let Some(name) = names.iter().find(|name| !is_name(name)) {
            return Err(invalid("name", name, "1 to 200 bytes without control characters"));
        }
        let mut names = names.to_vec();
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    fn deadline(&self, wait: Duration) -> Result<Duration> {
        if wait > Duration::from_millis(self.options.wait_ms_max) {
            return Err(invalid(
                "wait_ms",
                &wait.as_millis().to_string(),
                "at most `wait_ms_max` of [locks]",
            ));
        }
        Ok(self.coordination.time().now().saturating_add(wait))
    }
}

fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// The key of a lock's line.
fn parent(name: &str) -> Result<Key> {
    if !is_name(name) {
        return Err(invalid("name", name, "1 to 200 bytes without control characters"));
    }
    Key::new(["locks", name])
}

fn invalid(what: &'static str, value: &str, rule: &'static str) -> Error {
    Error::InvalidLock {
        what,
        value: value.chars().take(80).collect::<String>().escape_debug().to_string(),
        rule,
    }
}

/// The end of a lease is the end of its session.
fn gone(error: Error, id: LeaseId) -> Error {
    match error {
        Error::NoLease(_) => Error::NoSession(id.to_string()),
        error => error,
    }
}
