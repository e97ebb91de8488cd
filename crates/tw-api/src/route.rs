//! Routes: one table of what is served under which path by which method.

use crate::{Code, Problem};
use http::Method;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// The most segments that a path has.
const SEGMENTS_MAX: usize = 8;
/// The most captures that a path has.
const CAPTURES_MAX: usize = 4;

macro_rules! routes {
    ($($(#[$doc:meta])* $name:ident = $method:ident $path:literal;)*) => {
        /// An endpoint.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum Route {
            $($(#[$doc])* $name,)*
        }

        impl Route {
            /// Every endpoint; those that are called most come first.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its method.
            pub(crate) const fn method(self) -> Method {
                match self { $(Self::$name => Method::$method,)* }
            }

            /// Its path, with captures in braces.
            pub(crate) const fn path(self) -> &'static str {
                match self { $(Self::$name => $path,)* }
            }

            /// Its name in metrics and logs.
            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$name => concat!(stringify!($method), " ", $path),)* }
            }
        }
    };
}

routes! {
    AppendEvents = POST "/v1/streams/{stream}/events";
    AppendSubject = POST "/v1/streams/{stream}/subjects/{subject}/events";
    Sql = POST "/v1/sql";
    ReadSubject = GET "/v1/streams/{stream}/subjects/{subject}/events";
    ReadEvents = GET "/v1/streams/{stream}/events";
    ShowRights = GET "/v1/streams/{stream}/subjects/{subject}/rights";
    GiveRights = POST "/v1/streams/{stream}/subjects/{subject}/rights";
    ShowClaim = GET "/v1/streams/{stream}/claims";
    Claim = POST "/v1/streams/{stream}/claims";
    SettleClaims = POST "/v1/streams/{stream}/subjects/{subject}/settled";
    ListStreams = GET "/v1/streams";
    GetStream = GET "/v1/streams/{stream}";
    PutStream = PUT "/v1/streams/{stream}";
    PatchStream = PATCH "/v1/streams/{stream}";
    DeleteStream = DELETE "/v1/streams/{stream}";
    ListSources = GET "/v1/sources";
    GetSource = GET "/v1/sources/{source}";
    DeleteSource = DELETE "/v1/sources/{source}";
    PauseSource = POST "/v1/sources/{source}/pause";
    ResumeSource = POST "/v1/sources/{source}/resume";
    ResnapshotSource = POST "/v1/sources/{source}/resnapshot";
    ListProjections = GET "/v1/projections";
    GetProjection = GET "/v1/projections/{projection}";
    DeleteProjection = DELETE "/v1/projections/{projection}";
    PauseProjection = POST "/v1/projections/{projection}/pause";
    ResumeProjection = POST "/v1/projections/{projection}/resume";
    RebuildProjection = POST "/v1/projections/{projection}/rebuild";
    HoldProjection = POST "/v1/projections/{projection}/hold";
    ReleaseProjection = POST "/v1/projections/{projection}/release";
    CompareProjection = GET "/v1/projections/{projection}/compare";
    ListParked = GET "/v1/parked";
    RetryAllParked = POST "/v1/parked/retry";
    DropAllParked = POST "/v1/parked/drop";
    GetParked = GET "/v1/parked/{view}/{stream}/{partition}/{offset}";
    RetryParked = POST "/v1/parked/{view}/{stream}/{partition}/{offset}/retry";
    DropParked = DELETE "/v1/parked/{view}/{stream}/{partition}/{offset}";
    ShowCluster = GET "/v1/cluster";
    ShowPlan = GET "/v1/cluster/plan";
    ShowRebalance = GET "/v1/cluster/rebalance";
    Rebalance = POST "/v1/cluster/rebalance";
    DrainNode = POST "/v1/cluster/nodes/{node}/drain";
    ActivateNode = POST "/v1/cluster/nodes/{node}/activate";
    ReadPeer = POST "/v1/cluster/read";
    ShowRegions = GET "/v1/regions";
    ChooseRegion = GET "/v1/route";
    ReportMeasured = POST "/v1/route/measured";
    ShowRouting = GET "/v1/routing";
    ShiftUsers = POST "/v1/routing/shift";
    DrainUsers = POST "/v1/routing/drain";
    WeighRegion = POST "/v1/routing/weigh";
    RollBackRouting = POST "/v1/routing/rollback";
    TellLoad = GET "/v1/routing/load";
    RetryRegion = POST "/v1/regions/{region}/retry";
    ListHomes = GET "/v1/regions/homes";
    MoveHomes = POST "/v1/regions/homes/move";
    Failover = POST "/v1/regions/{region}/failover";
    EvictRegion = POST "/v1/regions/{region}/evict";
    DrainRegion = POST "/v1/regions/drain";
    GoOnRestoring = POST "/v1/regions/restore";
    RegionHashes = GET "/v1/regions/hashes";
    ListGroups = GET "/v1/groups";
    GetGroup = GET "/v1/groups/{group}";
    ResetGroup = POST "/v1/groups/{group}/reset";
    ListLocks = GET "/v1/locks";
    GetLock = GET "/v1/locks/{lock}";
    OpenLockSession = POST "/v1/lock-sessions";
    TakeLocks = POST "/v1/lock-sessions/{session}/locks";
    RenewLockSession = POST "/v1/lock-sessions/{session}/renew";
    CloseLockSession = DELETE "/v1/lock-sessions/{session}";
    ReleaseLock = DELETE "/v1/lock-sessions/{session}/locks/{lock}";
    ListSettings = GET "/v1/config";
    GetSetting = GET "/v1/config/{key}";
    PutSetting = PUT "/v1/config/{key}";
    DeleteSetting = DELETE "/v1/config/{key}";
    SettingHistory = GET "/v1/config/{key}/history";
    RollbackSetting = POST "/v1/config/{key}/rollback";
    LiveTopics = GET "/v1/live";
    MeasuredSeries = GET "/v1/metrics";
    GetTrace = GET "/v1/traces/{trace}";
    Status = GET "/v1/status";
    OpenApi = GET "/v1/openapi.json";
    Health = GET "/healthz";
    Ready = GET "/readyz";
    Metrics = GET "/metrics";
    Errors = GET "/docs/errors";
}

impl Route {
    /// Whether it changes something, so that a foreign page may not call it.
    pub(crate) fn changes(self) -> bool {
        self.method() != Method::GET
    }
}

/// Where in a path the captured segments are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Captures {
    spans: [(u16, u16); CAPTURES_MAX],
}

impl Captures {
    /// The n-th captured segment, decoded.
    pub(crate) fn get<'a>(&self, path: &'a str, n: usize) -> Result<Cow<'a, str>, Problem> {
        let (start, end) = self.spans.get(n).copied().unwrap_or_default();
        let segment = path.get(usize::from(start)..usize::from(end)).unwrap_or_default();
        percent_decode_str(segment).decode_utf8().map_err(|_| {
            Problem::parameter("path", format!("`{segment}` in the path is not UTF-8 after percent-decoding"))
        })
    }
}

/// Finds the endpoint of a request. HEAD is served as GET.
///
/// # Errors
/// `no_route`, or `method_not_allowed` with the methods that are.
pub(crate) fn find(method: &Method, path: &str) -> Result<(Route, Captures), Problem> {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    let mut segments = [""; SEGMENTS_MAX];
    let mut count = 0;
    for segment in path.split('/').skip(1) {
        let Some(slot) = segments.get_mut(count) else { return Err(no_route(path)) };
        *slot = segment;
        count += 1;
    }
    let segments = segments.get(..count).unwrap_or_default();
    let mut allowed: Vec<Method> = Vec::new();
    for route in Route::ALL {
        if let Some(captures) = captures(route.path(), path, segments) {
            if route.method() == *method {
                return Ok((*route, captures));
            }
            allowed.push(route.method());
        }
    }
    if allowed.is_empty() {
        return Err(no_route(path));
    }
    let allowed: Vec<&str> = allowed.iter().map(Method::as_str).collect();
    Err(Problem::allow(&allowed.join(", ")))
}

fn no_route(path: &str) -> Problem {
    let shown: String = path.chars().take(200).collect();
    Problem::new(Code::NoRoute, format!("nothing is served at `{shown}`: /v1/openapi.json lists what is"))
}

fn captures(template: &str, path: &str, segments: &[&str]) -> Option<Captures> {
    let mut captures = Captures::default();
    let mut slots = captures.spans.iter_mut();
    let mut rest = segments.iter();
    for part in template.split('/').skip(1) {
        let segment = *rest.next()?;
        if part.starts_with('{') {
            if segment.is_empty() {
                return None;
            }
            // Segments are parts of the path, and a path is shorter than 64 KiB.
            let start = u16::try_from(segment.as_ptr() as usize - path.as_ptr() as usize).ok()?;
            *slots.next()? = (start, start.checked_add(u16::try_from(segment.len()).ok()?)?);
        } else if part != segment {
            return None;
        }
    }
    rest.next().is_none().then_some(captures)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_route_finds_itself() {
        for route in Route::ALL {
            let path = route.path().replace("{stream}", "a%2Fb").replace(['{', '}'], "");
            let (found, captures) = find(&route.method(), &path).unwrap();
            assert_eq!(found, *route);
            if path.starts_with("/v1/streams/") {
                assert_eq!(captures.get(&path, 0).unwrap(), "a/b");
            }
        }
    }

    #[test]
    fn unknown_paths_and_methods_say_what_there_is() {
        for path in [
            "",
            "/",
            "/v1",
            "/v1/streams/",
            "/v1/streams//events",
            "/v1/streams/a/events/",
            "/a/b/c/d/e/f/g/h/i",
        ] {
            assert_eq!(find(&Method::GET, path).unwrap_err().code(), Code::NoRoute, "{path}");
        }
        let refused = find(&Method::PUT, "/v1/streams/a/events").unwrap_err();
        assert_eq!(refused.code(), Code::MethodNotAllowed);
        assert_eq!(refused.to_string(), "the methods here are POST, GET");
        assert_eq!(find(&Method::HEAD, "/healthz").unwrap().0, Route::Health);
    }

    proptest! {
        #[test]
        fn any_path_is_found_or_refused(path in "(/[a-z0-9%{}.]{0,7}){0,10}") {
            if let Ok((_, captures)) = find(&Method::GET, &path) {
                for n in 0..5 {
                    let _ = captures.get(&path, n);
                }
            }
        }
    }
}
