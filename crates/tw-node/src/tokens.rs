//! Tokens where there are several regions: what one that was given elsewhere comes to here, and what one that is given here says elsewhere.
//!
//! `docs/adr/0020-tokens-across-regions.md` says why a token holds what it holds. Below this, a token is a cut of the log here.

use crate::core::Core;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tw_api::{Code, Problem};
use tw_region::Seen;
use tw_region::service::Links;
use tw_types::{
    ClientToken, Hlc, PartitionId, RegionId, StreamDef, StreamId, StreamMode, StreamPartition, Token,
};

const ASK: &str = "; ask the region that gave it, or read without the token";

/// The cut of the log here that a read of `streams` must see which comes with a token. One of another region is waited for: until everything is
/// here that it demands, at most `timeout`.
///
/// # Errors
/// `other_region`, `region_behind`.
pub(crate) async fn cut_of(
    core: &Core,
    token: &ClientToken,
    streams: &[Arc<StreamDef>],
    timeout: Duration,
) -> Result<Token, Problem> {
    let here = core.log.region();
    if token.is_of(here) || token.is_empty() {
        return Ok(token.cut().clone());
    }
    if here == RegionId(0) {
        return Err(Problem::other_region(token, here, ASK));
    }
    if token.stays() {
        let why = format!(", where the streams are not that it is a cut through{ASK}");
        return Err(Problem::other_region(token, here, &why));
    }
    let starting = || Problem::new(Code::NotReady, "the links with other regions have not begun yet");
    let links = core.regions.links.get().ok_or_else(starting)?;
    let streams: Vec<&Arc<StreamDef>> = streams.iter().filter(|stream| is_shared(stream)).collect();
    if streams.is_empty() {
        // What stays here holds nothing of other regions.
        return Ok(Token::new());
    }
    let wait = Wait::of(token, here, &streams);
    wait.check(links, token)?;
    match tokio::time::timeout(timeout, links.reached(&wait.demand, &wait.from, &wait.streams)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(ended(error)),
        Err(_) => return Err(wait.behind(core, links, timeout).await),
    }
    let mut cut = Token::new();
    for stream in streams {
        for partition in (0..stream.partitions).map(PartitionId) {
            let at = StreamPartition::new(stream.id, partition);
            cut.advance(at, core.log.bounds(at)?.end);
        }
    }
    Ok(cut)
}

/// What is waited for.
struct Wait {
    here: RegionId,
    demand: Seen,
    /// The regions that have given the token.
    from: Vec<RegionId>,
    streams: Vec<StreamId>,
}

impl Wait {
    fn of(token: &ClientToken, here: RegionId, streams: &[&Arc<StreamDef>]) -> Self {
        let mut demand: Seen = token.demands().collect();
        demand.forget(here);
        let from = match token.region() {
            RegionId(0) => demand.iter().map(|(region, _)| region).collect(),
            region => vec![region],
        };
        Self { here, demand, from, streams: streams.iter().map(|stream| stream.id).collect() }
    }

    /// Refuses what will never come.
    fn check(&self, links: &Links, token: &ClientToken) -> Result<(), Problem> {
        let seen = links.seen();
        let lacking =
            self.demand.iter().find(|(region, until)| seen.of(*region) < *until && !links.is_linked(*region));
        lacking.map_or(Ok(()), |(region, _)| {
            let why = format!(
                ", which has no link with region {region}, of which it demands something{ASK}; or link them: `[[region.peers]]` of \
                 the configuration"
            );
            Err(Problem::other_region(token, self.here, &why))
        })
    }

    /// What lacks after the wait.
    async fn behind(&self, core: &Core, links: &Links, timeout: Duration) -> Problem {
        let ms = timeout.as_millis();
        let seen = links.seen();
        let oldest = self
            .demand
            .iter()
            .filter(|(region, until)| seen.of(*region) < *until)
            .min_by_key(|(_, until)| *until);
        let Some((region, until)) = oldest else { return self.not_exchanged(core, links, timeout).await };
        let lag_ms = core.env.clock.now_ms().saturating_sub(until.millis());
        let link = link(links, region).await;
        let detail = format!(
            "region {region} is behind here: what the token demands was accepted there {lag_ms} ms ago and has not come after {ms} ms, and {link}; ask again \
             later or with a longer `timeout_ms`, ask region {region}, or read without the token"
        );
        Problem::region_behind(region, lag_ms, detail)
    }

    /// Everything is here but a stream of which it is not known: one region does not have it, or another one of that name.
    async fn not_exchanged(&self, core: &Core, links: &Links, timeout: Duration) -> Problem {
        let ms = timeout.as_millis();
        let (region, stream) = match links.lacking(&self.from, &self.streams).await {
            Ok(Some(lacking)) => lacking,
            // It has come just now.
            Ok(None) => {
                let detail = format!("what the token demands was not visible here within {ms} ms: try again");
                return Problem::new(Code::Timeout, detail);
            }
            Err(error) => return ended(error),
        };
        let streams = core.log.streams();
        let name = streams.by_id(stream).map_or_else(|_| stream.to_string(), |def| def.name.to_string());
        let link = link(links, region).await;
        let lag_ms = core.env.clock.now_ms().saturating_sub(self.demand.of(region).millis());
        let detail = format!(
            "stream `{name}` is not exchanged with region {region}, which gave the token, after {ms} ms, and {link}; `tradewind region \
             status` says what differs; ask region {region}, or read without the token"
        );
        Problem::region_behind(region, lag_ms, detail)
    }
}

/// How the link with a region is, for a person.
async fn link(links: &Links, region: RegionId) -> String {
    let state = links.state().await.ok();
    let peer = state.and_then(|state| state.peers.into_iter().find(|peer| peer.region == region));
    match peer {
        None => format!("how the link with region {region} is cannot be said"),
        Some(peer) => {
            let why = peer.error.map(|error| format!(" ({error})")).unwrap_or_default();
            format!("the link with region {region} is `{}`{why}", peer.link.as_str())
        }
    }
}

fn ended(error: tw_region::service::Error) -> Problem {
    Problem::new(Code::NotReady, error.to_string())
}

/// Whether other regions have the stream, too.
fn is_shared(stream: &StreamDef) -> bool {
    stream.options.mode != StreamMode::Local
}

/// The token of an append that is durable: elsewhere, everything that this region had accepted has to be there up to the last event of these
/// partitions.
pub(crate) async fn of_write(core: &Core, cut: Token) -> ClientToken {
    let here = core.log.region();
    of(core, cut, |region| region == here).await
}

/// The token of a read that has seen everything before a cut: elsewhere, everything has to be there that is in these partitions now, which is
/// that or a little more.
pub(crate) async fn of_read(core: &Core, cut: Token) -> ClientToken {
    of(core, cut, |_| true).await
}

async fn of(core: &Core, cut: Token, is_meant: impl Fn(RegionId) -> bool) -> ClientToken {
    let here = core.log.region();
    let demands = match here {
        RegionId(0) => Ok(BTreeMap::new()),
        here => demands(core, here, &cut).await,
    };
    let mut token = ClientToken::new(here, cut);
    match demands {
        Ok(demands) => {
            let meant = demands.into_iter().filter(|(region, _)| is_meant(*region));
            meant.for_each(|(region, until)| token.demand(region, until));
        }
        // The answer is right; only elsewhere this token is of no use.
        Err(error) => {
            tracing::warn!(error = tw_types::chain(&error), "a token says nothing of other regions");
        }
    }
    token
}

/// Of each region that has an event in one of these partitions the last one; of this region something in any case, if others have one of them, too.
async fn demands(core: &Core, here: RegionId, cut: &Token) -> tw_log::store::Result<BTreeMap<RegionId, Hlc>> {
    let streams = core.log.streams();
    let mut demands = BTreeMap::new();
    let shared = |at: StreamPartition| streams.by_id(at.stream).is_ok_and(|stream| is_shared(stream));
    for (at, _) in cut.iter().filter(|(at, _)| shared(*at)) {
        demands.entry(here).or_insert(Hlc::ZERO);
        for mark in core.events.received(at).await? {
            let last: &mut Hlc = demands.entry(mark.origin.region).or_default();
            *last = mark.hlc.max(*last);
        }
    }
    Ok(demands)
}
