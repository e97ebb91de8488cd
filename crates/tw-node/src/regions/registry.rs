//! Who is the home of each stream, agreed on in an etcd that all regions reach: three servers in three fault domains, of which one need have no region.
//!
//! ```text
//! regions/present/2        under the lease of region 2     {"seen": {"1": 111411200000000000}}
//! regions/homes/orders     for ever                        {"home": 2, "term": 3, "taken": false}
//! ```
//!
//! A region may write what it is the home of while its lease holds for certain. Whoever takes a stream from it does so in a transaction that demands that its entry
//! under `present` is gone, and that goes with the lease.

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tw_cluster::{
    Coordination, Entry, Error, EtcdOptions, EtcdTls, Guard, Key, Lease, LeaseOptions, Transaction,
};
use tw_region::service::{Agreed, Answer, Arbiter, Look, NoAnswer};
use tw_types::{Hlc, RegionId};

/// Where regions agree on who is the home of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ArbiterOptions {
    /// The client URLs of an etcd that all regions reach, with servers in three fault domains, such as `http://10.0.0.1:2379`: up to 32. Without any a failover is
    /// a person's decision, and a home that is cut off writes on. Default none.
    pub endpoints: Vec<String>,
    /// What all keys start with: 1 to 200 bytes, the same in all regions. Default `tradewind-regions`.
    pub namespace: String,
    /// How long a region that says nothing counts as there, in milliseconds: 1,000 to 600,000, in whole seconds. A region that cannot renew that stops writing
    /// before it ends. Default 3,000.
    pub present_ms: u64,
    /// Whether a region that is gone is replaced without being asked, by the one that knows most of what it has accepted. Default true.
    pub automatic: bool,
    /// Encrypted connections, to endpoints with `https://`.
    pub tls: EtcdTls,
}

impl Default for ArbiterOptions {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            namespace: "tradewind-regions".into(),
            present_ms: 3_000,
            automatic: true,
            tls: EtcdTls::default(),
        }
    }
}

impl ArbiterOptions {
    /// Checks every bound.
    ///
    /// # Errors
    /// The first one that does not hold.
    pub fn check(&self) -> tw_cluster::Result<()> {
        // By the name that it has here: the lease and the times of requests follow from it.
        if !(1_000..=600_000).contains(&self.present_ms) {
            let (value, rule) = (self.present_ms.to_string(), "1,000 to 600,000");
            return Err(Error::InvalidOption { option: "present_ms", value, rule });
        }
        if self.endpoints.is_empty() { Ok(()) } else { self.etcd().check() }
    }

    /// How etcd is reached: a request takes no longer than the lease can wait for it.
    pub(crate) fn etcd(&self) -> EtcdOptions {
        // No longer than one try may take at all.
        let third_ms = (self.present_ms / 3).min(60_000);
        EtcdOptions {
            endpoints: self.endpoints.clone(),
            namespace: self.namespace.clone(),
            connect_ms_max: third_ms,
            attempt_ms_max: third_ms,
            request_ms_max: self.present_ms,
            tls: self.tls.clone(),
            ..EtcdOptions::default()
        }
    }

    fn lease(&self) -> LeaseOptions {
        LeaseOptions { ttl_ms: self.present_ms, ..LeaseOptions::default() }
    }
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Registry {
    coordination: Arc<dyn Coordination>,
    me: RegionId,
    options: ArbiterOptions,
    state: Mutex<State>,
    /// One look at a time.
    looking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// Under which this region is present.
    lease: Option<Lease>,
    /// What it said last that it has seen.
    said: Option<Bytes>,
    /// The streams of which this region is the home for certain, since it has the lease, and in which term.
    confirmed: HashMap<String, u64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Present {
    seen: BTreeMap<u16, u64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Home {
    home: u16,
    term: u64,
    taken: bool,
}

fn failed(error: tw_cluster::Error) -> NoAnswer {
    NoAnswer(tw_types::chain(&error))
}

fn present_key(region: Option<RegionId>) -> Result<Key, NoAnswer> {
    let parent = Key::new(["regions", "present"]).map_err(failed)?;
    region.map_or(Ok(parent.clone()), |region| parent.child(&region.to_string()).map_err(failed))
}

fn home_key(stream: &str) -> Result<Key, NoAnswer> {
    Key::new(["regions", "homes", stream]).map_err(failed)
}

fn agreed(entry: &Entry) -> Result<Agreed, NoAnswer> {
    let read: Home = serde_json::from_slice(&entry.value)
        .map_err(|error| NoAnswer(format!("`{}` does not read: {error}", entry.key)))?;
    Ok(Agreed { home: RegionId(read.home), term: read.term, is_taken: read.taken })
}

impl Registry {
    pub(crate) fn new(coordination: Arc<dyn Coordination>, me: RegionId, options: ArbiterOptions) -> Self {
        Self { coordination, me, options, state: Mutex::default(), looking: tokio::sync::Mutex::default() }
    }

    /// The lease under which this region is present, if it holds for certain.
    fn lease(&self) -> Option<Lease> {
        self.state.lock().lease.clone().filter(Lease::is_held)
    }

    /// Says that this region is there.
    async fn appear(&self, seen: &tw_merge::Seen) -> Result<(), NoAnswer> {
        let present = Present { seen: seen.iter().map(|(region, hlc)| (region.0, hlc.as_u64())).collect() };
        let said = Bytes::from(serde_json::to_vec(&present).unwrap_or_default());
        let held = self.lease();
        if held.is_some() && self.state.lock().said.as_ref() == Some(&said) {
            return Ok(());
        }
        let lease = match held {
            Some(lease) => lease,
            None => {
                {
                    // Whatever was certain was so under the lease before.
                    let mut state = self.state.lock();
                    state.confirmed.clear();
                    state.lease = None;
                }
                Lease::new(self.coordination.clone(), &self.options.lease()).await.map_err(failed)?
            }
        };
        let key = present_key(Some(self.me))?;
        let put = Transaction::new().put_under(lease.id(), &key, said.clone());
        self.coordination.commit(put).await.map_err(failed)?;
        let mut state = self.state.lock();
        (state.lease, state.said) = (Some(lease), Some(said));
        Ok(())
    }

    async fn read_home(&self, stream: &str) -> Result<Option<Entry>, NoAnswer> {
        let read = self.coordination.read(home_key(stream)?.alone(), None).await.map_err(failed)?;
        Ok(read.entries.into_iter().next())
    }

    /// Takes note of what is agreed, if it was asked for under the lease that is held still.
    fn confirm(&self, stream: &str, under: Option<&Lease>, agreed: Option<Agreed>) {
        let mut state = self.state.lock();
        let is_same = match (under, state.lease.as_ref()) {
            (Some(under), Some(now)) => under.id() == now.id() && now.is_held(),
            _ => false,
        };
        match agreed.filter(|agreed| agreed.home == self.me && is_same) {
            Some(agreed) => drop(state.confirmed.insert(stream.to_owned(), agreed.term)),
            None => drop(state.confirmed.remove(stream)),
        }
    }
}

impl Arbiter for Registry {
    fn may_write(&self, stream: &str, term: u64) -> bool {
        let state = self.state.lock();
        state.confirmed.get(stream) == Some(&term) && state.lease.as_ref().is_some_and(Lease::is_held)
    }

    fn agreed<'a>(&'a self, stream: &'a str) -> Answer<'a, Option<Agreed>> {
        Box::pin(async move {
            let lease = self.lease();
            let found = self.read_home(stream).await?.as_ref().map(agreed).transpose()?;
            self.confirm(stream, lease.as_ref(), found);
            Ok(found)
        })
    }

    fn agree<'a>(
        &'a self,
        stream: &'a str,
        before: Option<Agreed>,
        now: Agreed,
        gone: Option<RegionId>,
    ) -> Answer<'a, bool> {
        Box::pin(async move {
            // Before anybody can learn that it is another one.
            self.confirm(stream, None, None);
            let lease = self.lease();
            let key = home_key(stream)?;
            let found = self.read_home(stream).await?;
            if found.as_ref().map(agreed).transpose()? != before {
                return Ok(false);
            }
            let home = Home { home: now.home.0, term: now.term, taken: now.is_taken };
            let value = serde_json::to_vec(&home).unwrap_or_default();
            let guard = found
                .map_or(Guard::Absent(key.clone()), |entry| Guard::Unchanged(key.clone(), entry.modified));
            let mut change = Transaction::new().when(guard).put(&key, value);
            if let Some(gone) = gone {
                change = change.when(Guard::Absent(present_key(Some(gone))?));
            }
            let is_done = self.coordination.commit(change).await.map_err(failed)?.done().is_some();
            self.confirm(stream, lease.as_ref(), is_done.then_some(now));
            Ok(is_done)
        })
    }

    fn look<'a>(&'a self, seen: &'a tw_merge::Seen) -> Answer<'a, Look> {
        Box::pin(async move {
            let _one_at_a_time = self.looking.lock().await;
            self.appear(seen).await?;
            let all = Key::new(["regions"]).map_err(failed)?;
            let read = self.coordination.read(all.below(), None).await.map_err(failed)?;
            let mut look = Look::default();
            for entry in &read.entries {
                let mut names = entry.key.segments().skip(1);
                match (names.next().as_deref(), names.next()) {
                    (Some("present"), Some(region)) => {
                        let present: Option<Present> = serde_json::from_slice(&entry.value).ok();
                        let seen = present.into_iter().flat_map(|present| present.seen);
                        let seen = seen.map(|(region, hlc)| (RegionId(region), Hlc::from_u64(hlc))).collect();
                        if let Ok(region) = region.parse() {
                            look.present.insert(RegionId(region), seen);
                        }
                    }
                    (Some("homes"), Some(stream)) => {
                        look.agreed.insert(stream.into_owned(), agreed(entry)?);
                    }
                    _ => {}
                }
            }
            Ok(look)
        })
    }

    fn is_automatic(&self) -> bool {
        self.options.automatic
    }
}

#[cfg(test)]
mod tests;
