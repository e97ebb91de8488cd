//! Rights that go from one region to another: asking for them, and giving them.

use super::{NodeRights, row};
use crate::parts::{NodeRegions, asked};
use crate::tokens;
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;
use tw_api::parts::{GiveRights, GivenRights, Regions as _};
use tw_api::{Code, Problem};
use tw_project::Lack;
use tw_types::{ClientToken, Data, Event, ExpectedVersion, RegionId, StreamDef, Token, Version};

/// How long a region may take to answer.
const ANSWER_MS_MAX: u64 = 5_000;
/// How often something else may come before a change that gives rights.
const TRIES_MAX: u32 = 100;
/// The type of changes that give rights.
const TYPE: &str = "tradewind.rights.given";

impl NodeRights {
    /// Has other regions give rights that are lacking, and waits until that is here.
    ///
    /// # Errors
    /// `no_rights`: none of them gives any.
    pub(super) async fn ask(
        &self,
        stream: &Arc<StreamDef>,
        subject: &str,
        lack: Lack,
        left: Duration,
    ) -> Result<(), Problem> {
        let column = lack.column.clone();
        let of = lack.of.clone();
        let (wanted, _) = row::with(&self.core, stream, subject, move |row| {
            let wanted = of.into_iter().map(|(region, least)| (region, row.ask(&column, region, least)));
            wanted.collect::<Vec<_>>()
        })
        .await?;
        let wait = left.min(Duration::from_millis(ANSWER_MS_MAX));
        let asked = wanted.into_iter().map(|(region, (amount, least))| {
            let body = serde_json::json!({
                "column": lack.column, "to": self.core.log.region().0, "amount": amount, "least": least
            });
            async move { (region, self.ask_one(stream, subject, region, &body, wait).await) }
        });
        let (mut given, mut refused) = (Vec::new(), Vec::new());
        for (region, answer) in join_all(asked).await {
            match answer {
                Ok(token) => given.push(token),
                Err(why) => refused.push(format!("region {region}: {why}")),
            }
        }
        if given.is_empty() {
            let detail = format!("`{subject}`: {} ({})", lack.told, refused.join("; "));
            return Err(Problem::new(Code::NoRights, detail));
        }
        for token in given {
            tokens::cut_of(&self.core, &token, std::slice::from_ref(stream), left).await?;
        }
        Ok(())
    }

    /// Asks one region; the token with which what it gave is seen, or why it gives nothing.
    async fn ask_one(
        &self,
        stream: &StreamDef,
        subject: &str,
        region: RegionId,
        body: &serde_json::Value,
        wait: Duration,
    ) -> Result<ClientToken, String> {
        let [stream, row] = [stream.name.as_str(), subject].map(asked::encoded);
        let path = format!("/v1/streams/{stream}/subjects/{row}/rights");
        let given: GivenRights =
            asked::ask(&self.core, region, &path, body, wait).await.map_err(|unasked| unasked.to_string())?;
        given.token.parse().map_err(|_| "its token does not read".to_owned())
    }

    /// Gives rights of this region to another one.
    pub(super) async fn give_away(
        &self,
        stream: &Arc<StreamDef>,
        subject: &str,
        request: GiveRights,
    ) -> Result<GivenRights, Problem> {
        let to = RegionId(request.to);
        self.check_receiver(to)?;
        let regions = NodeRegions(self.core.clone());
        let pass = regions.enter(stream).map_err(|closed| closed.problem)?;
        let _held = self.hold(stream.id, [subject]).await;
        let asked = Arc::new(request);
        for _ in 0..TRIES_MAX {
            let asked = asked.clone();
            let (transfer, version) = row::with(&self.core, stream, subject, move |row| {
                let amount = asked.amount.get();
                row.transfer(
                    &asked.column,
                    to,
                    amount,
                    asked.least.as_ref().map_or(amount, |least| least.get()),
                )
            })
            .await?;
            let refused = |why: String| Problem::new(Code::NoRights, format!("`{subject}`: {why}"));
            let (json, given) = transfer.map_err(refused)?;
            match self.append_given(stream, subject, version, to, json).await {
                Ok(cut) => {
                    pass.check()?;
                    return Ok(GivenRights {
                        given,
                        token: tokens::of_write(&self.core, cut).await.to_string(),
                    });
                }
                Err(problem) if problem.code() == Code::VersionConflict => {}
                Err(problem) => return Err(problem),
            }
        }
        let detail = format!("`{subject}`: others change the row all the time: try again in a moment");
        Err(Problem::new(Code::Busy, detail))
    }

    /// Refuses rights for whoever could never use them.
    fn check_receiver(&self, to: RegionId) -> Result<(), Problem> {
        let holds = self.core.options.holds();
        if holds.region.peers.iter().any(|peer| peer.id == to) {
            return Ok(());
        }
        let detail =
            format!("region `{to}` is not among the peers of this one: rights that it got would be nobody's");
        Err(Problem::new(Code::NoRegion, detail))
    }

    async fn append_given(
        &self,
        stream: &Arc<StreamDef>,
        subject: &str,
        version: Version,
        to: RegionId,
        json: Vec<u8>,
    ) -> Result<Token, Problem> {
        let log = &self.core.log;
        let event = Event {
            // Ids of all regions meet in a subject's history.
            id: format!("rights/{}.{}/{}/{to}", log.region(), log.epoch(), version.0 + 1),
            source: "tradewind:rights".into(),
            ty: TYPE.into(),
            subject: Some(subject.to_owned()),
            data: Data::Json(json),
            ..Event::default()
        };
        let mut write = self.core.events.write();
        let expected =
            if version == Version::NONE { ExpectedVersion::None } else { ExpectedVersion::Exact(version) };
        write.expect(stream, subject, expected);
        write.push(stream, &event.as_ref())?;
        Ok(self.core.events.append(write).await?.token)
    }
}
