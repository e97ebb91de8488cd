//! Unique values: whatever a change gives to a row is claimed for that row before the change is accepted.
//!
//! Each stream with unique columns has a stream of claims, which is written in one region at a time, its home. A claim is an event there whose subject is
//! the value, appended only if nothing was said of the value since it was looked at: so the home decides ([`home`]), and what it decided moves and
//! fails over as other streams with a home do. The region that writes the change asks it ([`NodeClaims::obtain`]), and remembers what is under way by
//! its claims until it is stored ([`under_way`]): before the home gives a value to another row it asks for that.
//! `docs/adr/0027-unique-values-are-claimed.md` says why it is so.

mod home;
mod record;
mod streams;
mod under_way;

pub(crate) use streams::{Step, steps};
pub(crate) use under_way::Writing;

use crate::core::Core;
use crate::parts::{Doors, NodeRegions, asked};
use crate::tokens;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use record::Claim;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tw_api::parts::{
    ClaimQuery, ClaimRequest, ClaimView, Claimed, Claims, Pass, Regions as _, RowChange, Settled,
};
use tw_api::{Code, Problem};
use tw_project::UniqueValue;
use tw_types::{ClientToken, Data, Merge, RegionId, StreamDef, StreamPartition, Token};
use under_way::{Key, UnderWay};

/// How many claims of one append are asked for at the same time.
const AT_ONCE: usize = 64;

/// Whoever claims values, and decides about them where this region is the home.
pub(crate) struct NodeClaims {
    core: Arc<Core>,
    doors: Doors,
    under_way: UnderWay,
}

impl NodeClaims {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core, doors: Doors::default(), under_way: UnderWay::default() }
    }

    /// Claims what changes give to their rows. Until what it returns is dropped, they count as under way.
    ///
    /// # Errors
    /// `not_unique`; `not_ready` and others when the region that decides does not answer.
    pub(crate) async fn obtain(
        &self,
        stream: &Arc<StreamDef>,
        changes: &[RowChange],
        timeout: Duration,
    ) -> Result<Option<Writing>, Problem> {
        let clock = &self.core.env.clock;
        let deadline = clock.monotonic() + timeout;
        let wanted = self.wanted(stream, changes)?;
        if wanted.is_empty() {
            return Ok(None);
        }
        let keys = wanted.iter().map(|(value, subject)| Key::new(stream.id, subject, value));
        let writing = self.under_way.begin(keys.collect());
        let asked = wanted.into_iter().map(|(value, subject)| self.ask(stream, value, subject, timeout));
        let claimed: Vec<Claimed> = stream::iter(asked).buffer_unordered(AT_ONCE).try_collect().await?;
        for claimed in claimed.into_iter().filter(|claimed| claimed.taken_over) {
            // What took the value away from the other row is here before the change is.
            let left = deadline.saturating_sub(clock.monotonic());
            let token = claimed.token.parse().map_err(|_| unreadable("the region that decides"))?;
            tokens::cut_of(&self.core, &token, std::slice::from_ref(stream), left).await?;
        }
        Ok(Some(writing))
    }

    /// The values that changes give to rows, and to which.
    fn wanted(
        &self,
        stream: &StreamDef,
        changes: &[RowChange],
    ) -> Result<BTreeMap<UniqueValue, String>, Problem> {
        let mut wanted: BTreeMap<UniqueValue, String> = BTreeMap::new();
        let Some(schema) = stream.schema.as_ref().filter(|_| stream.has_merge(&Merge::Unique)) else {
            return Ok(wanted);
        };
        let check = self.doors.check(stream.id, schema);
        for change in changes {
            let data = change.json.as_deref().map_or(Data::None, Data::Json);
            let refused = |error: tw_project::RowError| Problem::new(Code::EventRefused, error.to_string());
            for value in check.unique(&data).map_err(refused)? {
                let UniqueValue { column, value: text } = &value;
                match wanted.get(&value).filter(|other| **other != change.subject) {
                    Some(other) => {
                        let subject = &change.subject;
                        let detail = format!(
                            "column `{column}`: `{text}` is given to both `{other}` and `{subject}`: give it to one of them"
                        );
                        return Err(Problem::new(Code::NotUnique, detail));
                    }
                    None => drop(wanted.insert(value, change.subject.clone())),
                }
            }
        }
        Ok(wanted)
    }

    /// Claims one value, here or where it is decided.
    async fn ask(
        &self,
        stream: &Arc<StreamDef>,
        value: UniqueValue,
        subject: String,
        timeout: Duration,
    ) -> Result<Claimed, Problem> {
        let me = self.core.log.region();
        let claims = self.stream_of(stream)?;
        let region = match self.enter(&claims) {
            Ok(pass) => {
                let claim = home::Asked { stream, claims: &claims, value, subject, region: me };
                return self.decide(claim, pass, timeout).await;
            }
            Err(tw_api::parts::Closed { home: Some(region), .. }) => region,
            Err(closed) => return Err(closed.problem),
        };
        let (column, text) = (value.column.clone(), value.value.clone());
        let request = ClaimRequest { column: value.column, value: value.value, subject, region: Some(me.0) };
        let path = format!("/v1/streams/{}/claims", asked::encoded(stream.name.as_str()));
        match asked::ask(&self.core, RegionId(region), &path, &request, timeout).await {
            Ok(claimed) => Ok(claimed),
            Err(asked::Unasked::Refused(problem)) => Err(problem),
            Err(asked::Unasked::Unanswered(why)) => {
                let detail = format!(
                    "column `{column}`: region {region} decides who has `{text}`, and does not answer ({why}): try again when it does, or let another \
                     region decide, see `tradewind region failover`"
                );
                Err(Problem::new(Code::NotReady, detail))
            }
        }
    }

    /// The stream in which values of another one are claimed.
    fn stream_of(&self, stream: &StreamDef) -> Result<Arc<StreamDef>, Problem> {
        let name =
            stream.name.of_claims().map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
        self.core.log.streams().get(name.as_str()).cloned().map_err(|_| {
            let detail =
                format!("unique values of `{}` cannot be claimed yet: try again in a moment", stream.name);
            Problem::new(Code::NotReady, detail)
        })
    }

    /// Lets a claim be written, if this region is the one that decides.
    fn enter(&self, claims: &StreamDef) -> Result<Pass, tw_api::parts::Closed> {
        match self.core.log.region() {
            RegionId(0) => Ok(Pass::free()),
            _ => NodeRegions(self.core.clone()).enter(claims),
        }
    }

    /// The value that a request names.
    fn named(&self, stream: &StreamDef, query: &ClaimQuery) -> Result<UniqueValue, Problem> {
        let invalid = |why: String| Problem::new(Code::InvalidParameter, why);
        let schema = stream.schema.as_ref().ok_or_else(|| invalid("the stream has no columns".to_owned()))?;
        self.doors.check(stream.id, schema).unique_named(&query.column, &query.value).map_err(invalid)
    }

    async fn decide_for(
        &self,
        stream: &Arc<StreamDef>,
        request: ClaimRequest,
        timeout: Duration,
    ) -> Result<Claimed, Problem> {
        let ClaimRequest { column, value, subject, region } = request;
        let value = self.named(stream, &ClaimQuery { column, value })?;
        let claims = self.stream_of(stream)?;
        let pass = self.enter(&claims).map_err(|closed| closed.problem)?;
        let region = region.map_or(self.core.log.region(), RegionId);
        self.decide(home::Asked { stream, claims: &claims, value, subject, region }, pass, timeout).await
    }

    async fn show(&self, stream: &Arc<StreamDef>, query: ClaimQuery) -> Result<ClaimView, Problem> {
        let value = self.named(stream, &query)?;
        let claims = self.stream_of(stream)?;
        let last = record::last(&self.core, &claims, &value).await?.0;
        let in_use = match &last {
            Some(Claim { subject, .. }) => self.may_show(stream, subject, &value).await?,
            None => false,
        };
        Ok(ClaimView {
            stream: stream.name.to_string(),
            column: value.column,
            value: value.value,
            subject: last.map(|claim| claim.subject),
            in_use,
        })
    }

    async fn settle(
        &self,
        stream: &StreamDef,
        subject: &str,
        value: UniqueValue,
        timeout: Duration,
    ) -> Result<ClientToken, Problem> {
        if !self.under_way.ended(&Key::new(stream.id, subject, &value), timeout).await {
            let UniqueValue { column, value } = value;
            let detail = format!(
                "column `{column}`: a change that gives `{value}` to `{subject}` is under way still after {} ms",
                timeout.as_millis()
            );
            return Err(Problem::new(Code::Timeout, detail));
        }
        let at = StreamPartition::new(stream.id, self.core.events.partition_of(stream, subject));
        let mut cut = Token::new();
        cut.advance(at, self.core.log.bounds(at)?.end);
        Ok(tokens::of_write(&self.core, cut).await)
    }
}

fn unreadable(who: &str) -> Problem {
    Problem::new(Code::Internal, format!("the token of {who} does not read"))
}

impl Claims for NodeClaims {
    fn claims(&self, stream: &StreamDef) -> bool {
        stream.has_merge(&Merge::Unique)
    }

    fn claim<'a>(
        &'a self,
        stream: &'a Arc<StreamDef>,
        request: ClaimRequest,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Claimed, Problem>> {
        Box::pin(self.decide_for(stream, request, timeout))
    }

    fn view<'a>(
        &'a self,
        stream: &'a Arc<StreamDef>,
        query: ClaimQuery,
    ) -> BoxFuture<'a, Result<ClaimView, Problem>> {
        Box::pin(self.show(stream, query))
    }

    fn settled<'a>(
        &'a self,
        stream: &'a Arc<StreamDef>,
        subject: &'a str,
        query: ClaimQuery,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Settled, Problem>> {
        Box::pin(async move {
            let value = self.named(stream, &query)?;
            Ok(Settled { token: self.settle(stream, subject, value, timeout).await?.to_string() })
        })
    }
}
