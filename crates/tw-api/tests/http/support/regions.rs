//! Region 1 of several, as far as requests are concerned.

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tw_api::parts::{
    ChangeRouting, ChangedRouting, Closed, DrainRequest, Drained, EvictRequest, EvictionView,
    FailoverRequest, FailoverView, HomesView, MeasuredRtts, MoveHomes, MovedHomes, Pass, RankedRegion,
    RegionHashes, RegionLoad, RegionView, Regions, Reply, RouteQuery, RouteView, RoutingView, Unanswered,
};
use tw_api::{Code, Problem};
use tw_types::{ClientToken, StreamDef, Token};

/// Region 1. Changes of the plan are decided in region `other`, which serves users, too; it answers what comes there, or does not.
pub(crate) struct One {
    pub(crate) other: u16,
    pub(crate) is_there: bool,
    /// What was decided here.
    pub(crate) decided: Mutex<Vec<ChangeRouting>>,
    /// What clients have measured, and whether a region has sent it.
    pub(crate) measured: Mutex<Vec<(MeasuredRtts, bool)>>,
    /// Whom it was asked for.
    pub(crate) users: Mutex<Vec<String>>,
    /// What was sent to another region.
    pub(crate) sent: Mutex<Vec<Sent>>,
}

/// A request that was sent to another region.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) region: u16,
    pub(crate) what: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl One {
    pub(crate) fn new(other: u16, is_there: bool) -> Arc<Self> {
        Arc::new(Self {
            other,
            is_there,
            decided: Mutex::default(),
            measured: Mutex::default(),
            users: Mutex::default(),
            sent: Mutex::default(),
        })
    }
}

fn no<T: Send + 'static>() -> BoxFuture<'static, Result<T, Problem>> {
    Box::pin(async { Err(Problem::new(Code::WrongState, "not a part of this test")) })
}

impl Regions for One {
    fn change_routing(&self, change: ChangeRouting) -> BoxFuture<'_, Result<ChangedRouting, Closed>> {
        Box::pin(async move {
            if self.other != 1 {
                let problem = Problem::new(Code::NotHome, "region 2 decides");
                return Err(Closed { home: Some(self.other), problem });
            }
            change.check(4).map_err(|problem| Closed { home: None, problem })?;
            let changed = ChangedRouting {
                done: !change.dry_run,
                generation: 5,
                change: change.step.to_string(),
                regions: Vec::new(),
            };
            self.decided.lock().push(change);
            Ok(changed)
        })
    }

    fn send(
        &self,
        region: u16,
        request: Request<Bytes>,
    ) -> BoxFuture<'_, Result<Response<Reply>, Unanswered>> {
        let what = format!("{} {}", request.method(), request.uri());
        let (head, body) = request.into_parts();
        self.sent.lock().push(Sent { region, what, headers: head.headers, body });
        Box::pin(async move {
            if !self.is_there {
                return Err(Unanswered { was_sent: false, cause: "there is no link".to_owned() });
            }
            let body = futures_util::stream::iter([Ok(Bytes::from_static(b"{\"generation\":9}"))]).boxed();
            Ok(Response::new(body))
        })
    }

    fn load(&self) -> RegionLoad {
        RegionLoad { region: 1, served_milli_per_s: Some(1_500) }
    }

    fn measured(&self, measured: MeasuredRtts, is_hop: bool) -> Result<(), Problem> {
        self.measured.lock().push((measured, is_hop));
        Ok(())
    }

    fn routing(&self) -> BoxFuture<'_, Result<RoutingView, Problem>> {
        Box::pin(async { Ok(RoutingView { generation: 4, answered_by: 1, ..RoutingView::default() }) })
    }

    fn view(&self) -> BoxFuture<'_, Result<RegionView, Problem>> {
        no()
    }

    fn retry(&self, _: u16) -> BoxFuture<'_, Result<String, Problem>> {
        no()
    }

    fn drain(&self, _: DrainRequest) -> BoxFuture<'_, Result<Drained, Problem>> {
        no()
    }

    fn evict(&self, _: u16, _: EvictRequest) -> BoxFuture<'_, Result<EvictionView, Problem>> {
        no()
    }

    fn go_on_without(&self, _: Vec<u16>) -> BoxFuture<'_, Result<String, Problem>> {
        no()
    }

    fn enter(&self, _: &StreamDef) -> Result<Pass, Closed> {
        Ok(Pass::free())
    }

    fn homes(&self) -> BoxFuture<'_, Result<HomesView, Problem>> {
        no()
    }

    fn give_away(&self, _: MoveHomes) -> BoxFuture<'_, Result<MovedHomes, Problem>> {
        no()
    }

    fn failover(&self, _: u16, _: FailoverRequest) -> BoxFuture<'_, Result<FailoverView, Problem>> {
        no()
    }

    fn route(&self, query: RouteQuery) -> BoxFuture<'_, Result<RouteView, Problem>> {
        self.users.lock().push(query.user);
        let first = RankedRegion { region: self.other, ..RankedRegion::default() };
        Box::pin(async { Ok(RouteView { answered_by: 1, regions: vec![first], ..RouteView::default() }) })
    }

    fn cut_of<'a>(
        &'a self,
        _: &'a ClientToken,
        _: &'a [Arc<StreamDef>],
        _: Duration,
    ) -> BoxFuture<'a, Result<Token, Problem>> {
        no()
    }

    fn token_of_write(&self, cut: Token) -> BoxFuture<'_, ClientToken> {
        self.token_of_read(cut)
    }

    fn token_of_read(&self, cut: Token) -> BoxFuture<'_, ClientToken> {
        let log = tw_types::RegionId(1);
        Box::pin(async move { ClientToken::new(log, cut) })
    }

    fn hashes(&self, _: Option<String>) -> BoxFuture<'_, Result<RegionHashes, Problem>> {
        no()
    }
}
