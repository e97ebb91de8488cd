//! Homes that change: given away by the home itself, or taken when it is gone.

use super::{HomeError, Homes};
use crate::home::{Claim, Saying};
use crate::service::{Error, LinkState, Links, State};
use std::sync::Arc;
use tw_types::{RegionId, StreamDef, StreamMode};

/// A stream that was given away, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The stream.
    pub stream: String,
    /// Its new home.
    pub to: RegionId,
    /// The term of that.
    pub term: u64,
}

/// What taking the streams of a region over means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failover {
    /// Whose streams.
    pub from: RegionId,
    /// How the link with it is.
    pub link: LinkState,
    /// How long ago it was heard last, in milliseconds; None if it was not since the links run.
    pub silent_ms: Option<u64>,
    /// Whether it was done.
    pub is_done: bool,
    /// The streams of which it was the home.
    pub streams: Vec<FailoverStream>,
}

/// A stream that is taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailoverStream {
    /// The stream.
    pub stream: String,
    /// The term of the new home.
    pub term: u64,
    /// How many events of the old home it has said to have that are not here: they are at risk. It may have accepted more since.
    pub known_at_risk: u64,
    /// How old the last event of it here is at most where some are lacking, in milliseconds.
    pub lag_ms: u64,
}

impl Links {
    /// Gives streams of which this region is the home to another region; nothing is lost by it. Without names: all of them. With `is_dry` it
    /// only says what would be done.
    ///
    /// # Errors
    /// [`HomeError`]; streams before the one that is refused were given away.
    pub async fn give_away(
        &self,
        streams: &[String],
        to: RegionId,
        is_dry: bool,
    ) -> Result<Vec<Given>, HomeError> {
        let homes = self.homes();
        homes.check_restored()?;
        let me = homes.me;
        let names = homes.chosen(streams, me)?;
        let state = self.state().await.map_err(|error| HomeError::Failed(error.to_string()))?;
        let peer = peer(&state, to)?;
        let mut given = Vec::new();
        for name in names {
            let def = homes.def(&name)?;
            let (home, term) = homes.home(&def);
            if home != me {
                return Err(HomeError::Elsewhere { stream: name, home, term });
            }
            if !matches!(peer, LinkState::InSync | LinkState::CatchingUp) {
                return Err(HomeError::NotReady { stream: name, to, link: peer });
            }
            let term = if is_dry { term + 1 } else { homes.give(&def, to).await? };
            given.push(Given { stream: name, to, term });
        }
        Ok(given)
    }

    /// Makes this region the home of streams of a region that is gone. Without names: of all of them.
    ///
    /// # Errors
    /// [`HomeError`]; streams before the one that is refused were taken.
    pub async fn failover(
        &self,
        from: RegionId,
        streams: &[String],
        is_stopped: bool,
        is_dry: bool,
    ) -> Result<Failover, HomeError> {
        let homes = self.homes();
        homes.check_restored()?;
        let state = self.state().await.map_err(|error| HomeError::Failed(error.to_string()))?;
        let link = peer(&state, from)?;
        let names = homes.chosen(streams, from)?;
        if names.is_empty() {
            return Err(HomeError::Nothing { from, streams: streams.to_vec() });
        }
        if !matches!(link, LinkState::Down | LinkState::Evicted) && !is_dry {
            return Err(HomeError::IsThere { from });
        }
        // An arbiter knows.
        if homes.arbiter.is_none() && !is_stopped && !is_dry {
            return Err(HomeError::Unconfirmed { from });
        }
        let peer = state.peers.iter().find(|peer| peer.region == from);
        let mut taken = Vec::new();
        for name in names {
            let def = homes.def(&name)?;
            let (home, term) = homes.home(&def);
            if home != from {
                return Err(HomeError::Elsewhere { stream: name, home, term });
            }
            let of = || peer.into_iter().flat_map(|peer| &peer.partitions).filter(|one| one.stream == name);
            let known_at_risk = of().fold(0, |sum: u64, one| sum.saturating_add(one.lag_events));
            let lag_ms = of().map(|one| one.lag_ms).max().unwrap_or(0);
            let term = if is_dry { term + 1 } else { homes.take(&def, from).await? };
            taken.push(FailoverStream { stream: name, term, known_at_risk, lag_ms });
        }
        let silent_ms = peer.and_then(|peer| peer.silent_ms);
        Ok(Failover { from, link, silent_ms, is_done: !is_dry, streams: taken })
    }
}

/// How the link with a region is.
fn peer(state: &State, region: RegionId) -> Result<LinkState, HomeError> {
    let found = state.peers.iter().find(|peer| peer.region == region);
    found.map(|peer| peer.link).ok_or_else(|| {
        let known: Vec<String> = state.peers.iter().map(|peer| peer.region.to_string()).collect();
        HomeError::NoRegion { region, known: known.join(", ") }
    })
}

impl Homes {
    /// The streams that are meant: those that are named, or all of which `home` is the home.
    fn chosen(&self, named: &[String], home: RegionId) -> Result<Vec<String>, HomeError> {
        if named.is_empty() {
            let all = self.list().into_iter().filter(|one| one.home == home);
            return Ok(all.map(|one| one.stream).collect());
        }
        for name in named {
            self.def(name)?;
        }
        Ok(named.to_vec())
    }

    fn def(&self, name: &str) -> Result<Arc<StreamDef>, HomeError> {
        let streams = self.events.log().streams();
        let def = streams.get(name).map_err(|_| HomeError::NoStream { stream: name.to_owned() })?;
        if def.options.mode == StreamMode::HomeRegion {
            return Ok(def.clone());
        }
        Err(HomeError::NoHome { stream: name.to_owned(), mode: def.options.mode.as_str() })
    }

    /// The home of a stream, and its term.
    pub(super) fn home(&self, def: &StreamDef) -> (RegionId, u64) {
        let mut state = self.state.lock();
        let known = state.streams.entry(def.name.to_string()).or_default();
        (known.home(def), known.term())
    }

    /// Gives a stream to another region, behind the last write; the new term.
    async fn give(&self, def: &StreamDef, to: RegionId) -> Result<u64, HomeError> {
        let _one_at_a_time = self.work.lock().await;
        {
            let mut state = self.state.lock();
            let known = state.streams.entry(def.name.to_string()).or_default();
            let home = known.home(def);
            if home != self.me || !known.is_open(self.me) {
                return Err(HomeError::OnItsWay { stream: def.name.to_string(), home });
            }
            known.is_leaving = true;
        }
        // From here on it is open again only when the claim was learned, or was certainly not said.
        self.shut(def.name.as_str()).await;
        let outcome = match self.agree_next(def, to, None).await {
            Ok(term) => self.claim_as(def, to, term, true).await,
            Err(error) => Err(error),
        };
        if let Some(known) = self.state.lock().streams.get_mut(def.name.as_str()) {
            known.is_leaving = false;
        }
        outcome
    }

    /// Makes this region the home; the new term.
    pub(super) async fn take(&self, def: &StreamDef, from: RegionId) -> Result<u64, HomeError> {
        let _one_at_a_time = self.work.lock().await;
        let term = self.agree_next(def, self.me, Some(from)).await?;
        let term = self.claim_as(def, self.me, term, false).await?;
        tracing::warn!(stream = %def.name, %from, term, "this region has taken a stream over, and takes its writes");
        Ok(term)
    }

    pub(super) async fn claim_as(
        &self,
        def: &StreamDef,
        home: RegionId,
        term: u64,
        is_planned: bool,
    ) -> Result<u64, HomeError> {
        let failed = |error: Error| HomeError::Failed(tw_types::chain(&error));
        let (from, _) = self.home(def);
        let has = self.marks(def).await.map_err(failed)?;
        let claim = Claim { stream: def.name.to_string(), term, home, from, has, is_planned };
        let said = self.say(&Saying::Claim(claim)).await;
        // Whether it was stored is what the log says.
        self.learn().await.map_err(failed)?;
        self.tell_risks().await.map_err(failed)?;
        said.map_err(failed)?;
        Ok(term)
    }
}
