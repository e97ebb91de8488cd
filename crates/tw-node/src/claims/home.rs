//! The region that decides which row has a value.

use super::record::{self, Claim};
use super::{NodeClaims, unreadable};
use crate::parts::asked;
use crate::rights;
use crate::tokens;
use std::sync::Arc;
use std::time::Duration;
use tw_api::parts::{ClaimQuery, Claimed, Pass, Settled};
use tw_api::{Code, Problem};
use tw_project::UniqueValue;
use tw_types::{PartitionId, RegionId, StreamDef, StreamPartition, Token};

/// How often a claim may come to nothing because others claim the same value.
const TRIES_MAX: u32 = 100;
/// How long a region may take to say that nothing is under way.
const SETTLED_MAX: Duration = Duration::from_secs(5);

/// What is asked for.
pub(super) struct Asked<'a> {
    pub(super) stream: &'a Arc<StreamDef>,
    /// The stream of its claims.
    pub(super) claims: &'a Arc<StreamDef>,
    pub(super) value: UniqueValue,
    /// Whose row.
    pub(super) subject: String,
    /// The region that is going to write it.
    pub(super) region: RegionId,
}

impl Asked<'_> {
    fn refused(&self, why: &str) -> Problem {
        let UniqueValue { column, value } = &self.value;
        Problem::new(Code::NotUnique, format!("column `{column}`: `{value}` {why}"))
    }
}

impl NodeClaims {
    /// Gives the value to the row, unless another one has it.
    pub(super) async fn decide(
        &self,
        asked: Asked<'_>,
        mut pass: Pass,
        timeout: Duration,
    ) -> Result<Claimed, Problem> {
        let clock = &self.core.env.clock;
        let deadline = clock.monotonic() + timeout;
        for _ in 0..TRIES_MAX {
            let (before, version) = record::last(&self.core, asked.claims, &asked.value).await?;
            if let Some(other) = before.as_ref().filter(|claim| claim.subject != asked.subject) {
                self.free(&asked, other, deadline.saturating_sub(clock.monotonic())).await?;
            }
            let claim = Claim::after(before, &asked.subject, asked.region.0);
            let taken_over = claim.taken_over;
            let (core, claims, value) = (self.core.clone(), asked.claims.clone(), asked.value.clone());
            // Whoever shuts the stream waits for a write that nobody waits for any more.
            let write = tokio::spawn(async move {
                let appended = record::append(&core, &claims, &value, version, &claim).await;
                (appended, pass)
            });
            let interrupted =
                |error| Problem::new(Code::Internal, format!("a claim was interrupted: {error}"));
            let appended;
            (appended, pass) = write.await.map_err(interrupted)?;
            match appended {
                Ok(cut) => {
                    pass.check()?;
                    let cut = if taken_over { self.everything(asked.stream)? } else { cut };
                    let token = tokens::of_read(&self.core, cut).await.to_string();
                    return Ok(Claimed { taken_over, token });
                }
                // Somebody else has claimed it meanwhile, perhaps for the same row.
                Err(problem) if problem.code() == Code::VersionConflict => {}
                Err(problem) => return Err(problem),
            }
        }
        let detail = format!("`{}`: others claim it all the time: try again in a moment", asked.value.value);
        Err(Problem::new(Code::Busy, detail))
    }

    /// All that is here of a stream.
    fn everything(&self, stream: &StreamDef) -> Result<Token, Problem> {
        let mut cut = Token::new();
        for partition in (0..stream.partitions).map(PartitionId) {
            let at = StreamPartition::new(stream.id, partition);
            cut.advance(at, self.core.log.bounds(at)?.end);
        }
        Ok(cut)
    }

    /// Makes sure that a row that had claimed a value does not have it any more, and will not have it unless it is claimed for it again: each region
    /// that had claimed it has no change under way by that, and all of them are here. Whoever claims it while this goes on changes its version.
    async fn free(&self, asked: &Asked<'_>, other: &Claim, left: Duration) -> Result<(), Problem> {
        let Claim { subject, regions, .. } = other;
        let has =
            || asked.refused(&format!("is `{subject}`'s: choose another one, or take it away there first"));
        if self.may_show(asked.stream, subject, &asked.value).await? {
            return Err(has());
        }
        let left = left.min(SETTLED_MAX);
        for region in regions.iter().copied().map(RegionId) {
            self.settled_in(asked, subject, region, left).await.map_err(|why| {
                asked.refused(&format!(
                    "was `{subject}`'s, and may be again by what region {region} has accepted, which cannot be known now ({why}): try again when it answers"
                ))
            })?;
        }
        match self.may_show(asked.stream, subject, &asked.value).await? {
            true => Err(has()),
            false => Ok(()),
        }
    }

    /// Waits until everything is here that a region accepted by its claims of a value for a row. Of a region that is gone nothing more comes.
    async fn settled_in(
        &self,
        asked: &Asked<'_>,
        subject: &str,
        region: RegionId,
        left: Duration,
    ) -> Result<(), String> {
        let detail = |problem: Problem| problem.detail().to_owned();
        if region == self.core.log.region() {
            let settled = self.settle(asked.stream, subject, asked.value.clone(), left).await;
            return settled.map(drop).map_err(detail);
        }
        let is_peer = self.core.options.holds().region.peers.iter().any(|peer| peer.id == region);
        let is_evicted = || self.core.regions.links.get().is_some_and(|links| links.is_gone(region));
        if !is_peer || is_evicted() {
            return Ok(());
        }
        let [stream, row] = [asked.stream.name.as_str(), subject].map(asked::encoded);
        let path = format!("/v1/streams/{stream}/subjects/{row}/settled");
        let UniqueValue { column, value } = asked.value.clone();
        let query = ClaimQuery { column, value };
        let answered = asked::ask(&self.core, region, &path, &query, left).await;
        let Settled { token } = answered.map_err(|unasked| unasked.to_string())?;
        let token = token.parse().map_err(|_| detail(unreadable("that region")))?;
        let reached = tokens::cut_of(&self.core, &token, std::slice::from_ref(asked.stream), left).await;
        reached.map(drop).map_err(detail)
    }

    /// Whether a row has a value, or may have it again without another claim, by all that is here.
    pub(super) async fn may_show(
        &self,
        stream: &Arc<StreamDef>,
        subject: &str,
        value: &UniqueValue,
    ) -> Result<bool, Problem> {
        let value = value.clone();
        let (shown, _) = rights::row(&self.core, stream, subject, move |row| row.may_show(&value)).await?;
        shown.map_err(|why| Problem::new(Code::Internal, why))
    }
}
