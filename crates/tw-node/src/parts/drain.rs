//! A region that is drained, behind the interface.

use super::NodeRegions;
use tokio::sync::OwnedRwLockReadGuard;
use tw_api::parts::{Closed, DrainRequest, DrainView, Drained, Held, MoveHomes, MovedHomes, Pass};
use tw_api::{Code, Problem};
use tw_region::service::Links;
use tw_types::{StreamDef, StreamMode};

/// A write that is under way, and the pass of its home if its stream has one.
struct Written(
    Option<Pass>,
    #[expect(dead_code, reason = "held until the write has ended")] OwnedRwLockReadGuard<()>,
);

impl Held for Written {
    fn check(&self) -> Result<(), Problem> {
        self.0.as_ref().map_or(Ok(()), Pass::check)
    }
}

impl NodeRegions {
    /// Lets a write pass to a stream that other regions have.
    pub(super) fn enter_shared(&self, stream: &StreamDef) -> Result<Pass, Closed> {
        let drained = || {
            let detail = "this region is drained, and accepts nothing for streams that other regions have: write in another region";
            Closed { home: None, problem: Problem::new(Code::NotReady, detail) }
        };
        if let Some(detail) = self.links().ok().and_then(Links::evicted_here) {
            return Err(Closed { home: None, problem: Problem::new(Code::NotReady, detail) });
        }
        let has_home = stream.options.mode == StreamMode::HomeRegion;
        // Whoever sends it on to another home needs no pass of this region.
        let at_home = has_home.then(|| self.enter_home(stream)).transpose()?;
        let guard = self.0.regions.drain.enter().ok_or_else(drained)?;
        Ok(Pass::new(Written(at_home, guard)))
    }

    pub(super) async fn drain_this(&self, request: DrainRequest) -> Result<Drained, Problem> {
        let DrainRequest { drained, to, dry_run } = request;
        let drain = &self.0.regions.drain;
        if !drained {
            if !dry_run {
                drain.end().map_err(unmarked)?;
            }
            return Ok(Drained { done: !dry_run, moved: Vec::new() });
        }
        let me = self.0.log.region();
        let homes = self.links()?.homes().list();
        let mine: Vec<String> =
            homes.into_iter().filter(|home| home.home == me).map(|home| home.stream).collect();
        let moved = match (mine.is_empty(), to) {
            (true, _) => Vec::new(),
            (false, Some(to)) => {
                let MovedHomes { moved, .. } =
                    self.give_homes(MoveHomes { streams: mine, to, dry_run }).await?;
                moved
            }
            (false, None) => {
                let detail = format!(
                    "this region is the home of {}: say with `to` which region is to be their home",
                    mine.iter().map(|stream| format!("`{stream}`")).collect::<Vec<_>>().join(", ")
                );
                return Err(Problem::new(Code::WrongState, detail));
            }
        };
        if !dry_run {
            drain.begin(|| self.0.log.settled()).await.map_err(unmarked)?;
            tracing::warn!("this region is drained: it accepts nothing for streams that other regions have");
        }
        Ok(Drained { done: !dry_run, moved })
    }

    /// Who lacks what of this region, if it is drained.
    pub(super) async fn drain_view(&self) -> Result<Option<DrainView>, Problem> {
        let Some(until) = self.0.regions.drain.until() else { return Ok(None) };
        let ended = |error: tw_region::service::Error| Problem::new(Code::NotReady, error.to_string());
        let lacking = self.links()?.lack_of_this(until).await.map_err(ended)?;
        Ok(Some(DrainView { lacking: lacking.into_iter().map(|region| region.0).collect() }))
    }
}

/// The file that marks a drained region cannot be written or removed.
fn unmarked(error: std::io::Error) -> Problem {
    let detail = format!(
        "whether the region is drained cannot be noted in the data folder ({error}): nothing was changed"
    );
    Problem::new(Code::Internal, detail)
}
