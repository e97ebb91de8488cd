//! Where streams with a home are written, behind the interface.

use super::NodeRegions;
use tw_api::parts::{
    Closed, FailoverRequest, FailoverStreamView, FailoverView, Held, HomeView, HomesView, MoveHomes,
    MovedHome, MovedHomes, Pass,
};
use tw_api::{Code, Problem};
use tw_region::service::{Entered, Failover, Given, HomeError, HomeState};
use tw_types::{RegionId, StreamDef};

/// A write to a stream with a home that is under way.
struct Written(Entered);

impl Held for Written {
    fn check(&self) -> Result<(), Problem> {
        self.0.check().map_err(|error| {
            let detail = format!(
                "the events are stored in this region and come to all others, but may be at risk ({error}): see `tradewind region at-risk` before you send them again"
            );
            Problem::new(Code::OutcomeUnknown, detail)
        })
    }
}

impl NodeRegions {
    pub(super) fn enter_home(&self, stream: &StreamDef) -> Result<Pass, Closed> {
        let links = self.links().map_err(|problem| Closed { home: None, problem })?;
        links.homes().enter(stream).map(|entered| Pass::new(Written(entered))).map_err(|error| {
            let home = match &error {
                HomeError::Elsewhere { home, .. } => Some(home.0),
                _ => None,
            };
            Closed { home, problem: problem(error) }
        })
    }

    pub(super) fn homes_view(&self) -> Result<HomesView, Problem> {
        let homes = self.links()?.homes().list();
        Ok(HomesView { region: self.0.log.region().0, homes: homes.into_iter().map(home).collect() })
    }

    pub(super) async fn give_homes(&self, request: MoveHomes) -> Result<MovedHomes, Problem> {
        let MoveHomes { streams, to, dry_run } = request;
        let given = self.links()?.give_away(&streams, RegionId(to), dry_run).await.map_err(problem)?;
        let moved = |Given { stream, to, term }| MovedHome { stream, home: to.0, term };
        Ok(MovedHomes { done: !dry_run, moved: given.into_iter().map(moved).collect() })
    }

    pub(super) async fn fail_over(
        &self,
        from: u16,
        request: FailoverRequest,
    ) -> Result<FailoverView, Problem> {
        let FailoverRequest { streams, is_stopped, dry_run } = request;
        let taken = self.links()?.failover(RegionId(from), &streams, is_stopped, dry_run).await;
        let Failover { from, link, silent_ms, is_done, streams } = taken.map_err(problem)?;
        let view = |one: tw_region::service::FailoverStream| FailoverStreamView {
            stream: one.stream,
            term: one.term,
            known_at_risk: one.known_at_risk,
            lag_ms: one.lag_ms,
        };
        Ok(FailoverView {
            from: from.0,
            link: link.as_str().to_owned(),
            silent_ms,
            done: is_done,
            streams: streams.into_iter().map(view).collect(),
        })
    }
}

fn home(home: HomeState) -> HomeView {
    HomeView {
        stream: home.stream,
        home: home.home.0,
        term: home.term,
        from: home.from.map(|from| from.0),
        planned: home.is_planned,
        open: home.is_open,
    }
}

fn problem(error: HomeError) -> Problem {
    let code = match &error {
        HomeError::Elsewhere { .. } => Code::NotHome,
        HomeError::OnItsWay { .. } => Code::HomeMoving,
        HomeError::Starting { .. } | HomeError::Restoring { .. } | HomeError::NoAnswer(_) => Code::NotReady,
        HomeError::NoStream { .. } => Code::NoStream,
        HomeError::NoRegion { .. } => Code::NoRegion,
        HomeError::NoHome { .. }
        | HomeError::NotReady { .. }
        | HomeError::IsThere { .. }
        | HomeError::Unconfirmed { .. }
        | HomeError::Nothing { .. } => Code::WrongState,
        HomeError::Failed(_) => Code::Internal,
    };
    Problem::new(code, error.to_string())
}
