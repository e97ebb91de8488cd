//! The regions for one user, as this region knows them.

use super::RoutingOptions;
use std::collections::BTreeMap;
use tw_api::parts::{ExcludedRegion, RankedRegion, RouteQuery, RouteView};
use tw_plan::routing::{
    Admission, Basis, Excluded, GaveUp, Measured, Observed, Out, Plan, Ranked, Reached, User, rank,
};
use tw_region::Seen;
use tw_region::service::Heard;
use tw_types::{ClientToken, Hlc, RegionId};

/// What is known when somebody asks.
pub(crate) struct Known {
    /// This region.
    pub(crate) here: RegionId,
    /// Up to when everything of others is here.
    pub(crate) seen: Seen,
    /// What the links have heard of others.
    pub(crate) heard: Vec<Heard>,
    /// How much each region admits.
    pub(crate) admission: Admission,
    /// The wall clock, in milliseconds since the Unix epoch.
    pub(crate) now_ms: u64,
}

impl Known {
    /// Who is up: whoever answers, and whoever has a connection. A region without a link is what the plan says.
    pub(crate) fn observed(&self) -> Observed {
        let mut observed = Observed::default();
        observed.admission = self.admission.clone();
        observed.tell(self.here, true, self.now_ms);
        for heard in &self.heard {
            let at_ms = self.now_ms.saturating_sub(heard.silent_ms.unwrap_or_default());
            observed.tell(heard.region, heard.is_connected, at_ms);
        }
        observed
    }

    /// By how much each region is behind what a token demands, in milliseconds. Those of which it is not known are left out.
    fn lags(&self, token: &ClientToken) -> BTreeMap<RegionId, u32> {
        let mut lags = BTreeMap::new();
        let mut add = |region: RegionId, seen: &Seen| {
            if let Some(lag_ms) = self.lag_ms(token, region, seen) {
                lags.insert(region, lag_ms);
            }
        };
        add(self.here, &self.seen);
        for heard in &self.heard {
            match &heard.told {
                Some(told) => add(heard.region, told),
                None => add(heard.region, &Seen::new()),
            }
        }
        lags
    }

    /// How long ago the first thing was accepted that a region with this knowledge lacks.
    fn lag_ms(&self, token: &ClientToken, region: RegionId, seen: &Seen) -> Option<u32> {
        // A cut of its own log is met by its own log.
        if token.is_empty() || token.region() == region || (region == self.here && token.is_of(region)) {
            return Some(0);
        }
        if token.stays() || token.demands().next().is_none() {
            return None;
        }
        let lacking = token.demands().filter(|(of, until)| *of != region && seen.of(*of) < *until);
        let oldest = lacking.map(|(_, until)| until).min();
        Some(oldest.map_or(0, |until: Hlc| {
            u32::try_from(self.now_ms.saturating_sub(until.millis())).unwrap_or(u32::MAX).max(1)
        }))
    }
}

/// What else is known when somebody asks.
#[derive(Default)]
pub(crate) struct Further {
    /// What others in the user's network have measured.
    pub(crate) measured: BTreeMap<RegionId, Measured>,
    /// What nobody has told of the regions.
    pub(crate) not_known: Vec<String>,
}

/// The regions for a user.
pub(crate) fn route(
    plan: &Plan,
    options: &RoutingOptions,
    known: &Known,
    query: &RouteQuery,
    further: Further,
) -> RouteView {
    let Further { measured, mut not_known } = further;
    let gave = query.token.as_ref().map(ClientToken::region).filter(|region| *region != RegionId(0));
    let user = User {
        key: query.user.clone(),
        place: query.place,
        measured,
        lag_ms: query.token.as_ref().map(|token| known.lags(token)).unwrap_or_default(),
        lag_ms_max: query.token.as_ref().map(|_| query.lag_ms_max),
        current: query.current.or(gave),
    };
    let observed = known.observed();
    let ranking = rank(plan, &observed, &user, &options.ranking(), known.now_ms);
    if user.measured.is_empty() {
        not_known.push("measured latency".to_owned());
    }
    if query.place.is_none() {
        not_known.push("place of the user".to_owned());
    }
    RouteView {
        generation: ranking.generation,
        answered_by: known.here.0,
        regions: ranking.regions.iter().map(|one| ranked(options, &user, one)).collect(),
        out: ranking.out.iter().map(|one| excluded(options, one)).collect(),
        fail_static: ranking.fail_static,
        gave_up: ranking.gave_up.map(|gave_up| match gave_up {
            GaveUp::Freshness => "freshness".to_owned(),
            GaveUp::Room => "room".to_owned(),
            GaveUp::Both => "both".to_owned(),
        }),
        not_known,
    }
}

fn ranked(options: &RoutingOptions, user: &User, one: &Ranked) -> RankedRegion {
    let mut why = match (one.reached, one.latency.rtt_ms, one.latency.basis) {
        (Reached::Weight, ..) => "its weight lets this user pass".to_owned(),
        (Reached::Given { by }, ..) => format!("region {by} gives it this user"),
        (Reached::Latency, Some(rtt_ms), Basis::Measured) => format!("{rtt_ms} ms away, measured"),
        (Reached::Latency, Some(rtt_ms), _) => format!("{rtt_ms} ms away by the distance"),
        (Reached::Latency, None, _) => "how far it is is not known: users are spread".to_owned(),
    };
    if user.current == Some(one.region) {
        why.push_str(", and served this user last");
    }
    match one.lag_ms {
        Some(0) => why.push_str("; has what the token demands"),
        Some(lag_ms) => why.push_str(&format!("; is {lag_ms} ms behind the token")),
        None if user.lag_ms_max.is_some() => {
            why.push_str("; whether it has what the token demands is not known");
        }
        None => {}
    }
    RankedRegion {
        region: one.region.0,
        url: options.url(one.region),
        why,
        rtt_ms: one.latency.rtt_ms,
        lag_ms: one.lag_ms,
        up: one.health.up,
        heard_ms: one.health.age_ms,
    }
}

fn excluded(options: &RoutingOptions, one: &Excluded) -> ExcludedRegion {
    let (out, why) = match one.out {
        Out::Drained => ("drained", "the plan says that nobody is sent there".to_owned()),
        Out::Down => ("down", "there is no link with it".to_owned()),
        Out::StaleUnknown => ("stale", "it is not known whether it has what the token demands".to_owned()),
        Out::Stale { by_ms } => {
            ("stale", format!("it is {by_ms} ms further behind the token than it may be"))
        }
        Out::Full => ("full", "it has no room".to_owned()),
    };
    ExcludedRegion { region: one.region.0, url: options.url(one.region), out: out.to_owned(), why }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tw_plan::routing::Place;

    const NOW_MS: u64 = 1_780_000_000_000;

    /// Frankfurt, Virginia and Singapore.
    fn options() -> RoutingOptions {
        toml::from_str(
            "[[regions]]\nid = 1\nurl = 'http://fra'\nplace = { lat = 50.1, lon = 8.7 }\n\
             [[regions]]\nid = 2\nurl = 'http://iad'\nplace = { lat = 38.9, lon = -77.4 }\n\
             [[regions]]\nid = 3\nurl = 'http://sin/'\nplace = { lat = 1.3, lon = 103.8 }\n",
        )
        .unwrap()
    }

    /// Region 1, which has heard of both others.
    fn known() -> Known {
        let heard = |region| Heard {
            region: RegionId(region),
            is_connected: true,
            silent_ms: Some(100),
            told: Some([(RegionId(1), Hlc::new(NOW_MS - 50, 0))].into_iter().collect()),
        };
        let seen = [(RegionId(2), Hlc::new(NOW_MS - 70, 0)), (RegionId(3), Hlc::new(NOW_MS - 90, 0))];
        Known {
            here: RegionId(1),
            seen: seen.into_iter().collect(),
            heard: vec![heard(2), heard(3)],
            admission: Admission::default(),
            now_ms: NOW_MS,
        }
    }

    fn ask(known: &Known, query: &RouteQuery) -> RouteView {
        let options = options();
        route(&options.plan(known.here).unwrap().unwrap(), &options, known, query, Further::default())
    }

    fn order(view: &RouteView) -> Vec<u16> {
        view.regions.iter().map(|one| one.region).collect()
    }

    fn from(lat: f64, lon: f64) -> RouteQuery {
        RouteQuery { place: Some(Place::new(lat, lon).unwrap()), user: "ada".into(), ..RouteQuery::default() }
    }

    #[test]
    fn the_nearest_region_that_is_up_comes_first_and_says_why() {
        let new_york = from(40.7, -74.0);
        let view = ask(&known(), &new_york);
        assert_eq!(order(&view), [2, 1, 3]);
        let first = &view.regions[0];
        assert_eq!((first.url.as_str(), first.up, first.heard_ms), ("http://iad", true, Some(100)));
        assert!(first.why.contains("by the distance") && view.out.is_empty(), "{view:?}");
        assert_eq!(view.regions[2].url, "http://sin");
        assert_eq!(view.not_known, ["measured latency"]);
        let mut down = known();
        (down.heard[0].is_connected, down.heard[0].told) = (false, None);
        let view = ask(&down, &new_york);
        assert_eq!((order(&view), view.out[0].out.as_str()), (vec![1, 3], "down"));
        // Alone in the world it still answers, with itself.
        down.heard[1].is_connected = false;
        assert_eq!(order(&ask(&down, &new_york)), [1]);
    }

    #[test]
    fn what_was_measured_counts_before_the_distance() {
        let measured = [(RegionId(2), Measured { rtt_ms: 400, at_ms: NOW_MS - 1_000 })].into();
        let further = Further { measured, not_known: vec!["capacity".to_owned()] };
        let options = options();
        let plan = options.plan(RegionId(1)).unwrap().unwrap();
        let view = route(&plan, &options, &known(), &from(40.7, -74.0), further);
        assert_eq!((order(&view), &view.not_known), (vec![1, 3, 2], &vec!["capacity".to_owned()]));
        assert_eq!(view.regions[2].why, "400 ms away, measured");
    }

    #[test]
    fn a_user_stays_where_the_data_is_until_others_have_it() {
        let token = |text: &str| Some(text.parse::<ClientToken>().unwrap());
        let with =
            |text: &str, lag_ms_max| RouteQuery { token: token(text), lag_ms_max, ..from(40.7, -74.0) };
        let fresh = format!("tw2;r1;1@{}.0;7=0:5", NOW_MS - 40);
        let view = ask(&known(), &with(&fresh, 10));
        assert_eq!((order(&view), view.gave_up.clone()), (vec![1], None), "{view:?}");
        assert!(view.out.iter().all(|one| one.out == "stale" && one.why.contains("30 ms")), "{view:?}");
        // As far behind as it may be, the nearest is first again.
        let view = ask(&known(), &with(&fresh, 1_000));
        assert_eq!((order(&view)[0], view.regions[0].lag_ms), (2, Some(40)), "{view:?}");
        let old = format!("tw2;r1;1@{}.0;7=0:5", NOW_MS - 60);
        assert_eq!(ask(&known(), &with(&old, 0)).regions[0].lag_ms, Some(0));
        // What stays in its region is nowhere else.
        assert_eq!(order(&ask(&known(), &with("tw2;r1;;7=0:5", 0))), [1]);
        assert_eq!(order(&ask(&known(), &with("tw2;r3;;7=0:5", 0))), [3]);
        // Nobody is fresh enough: an answer all the same.
        let view = ask(&known(), &with(&format!("tw2;r9;9@{NOW_MS}.0;7=0:5"), 0));
        assert_eq!((view.regions.len(), view.gave_up.as_deref()), (3, Some("freshness")), "{view:?}");
    }

    #[test]
    fn users_of_whom_nothing_is_known_are_spread_and_stay() {
        let known = known();
        let user = |number: usize| RouteQuery { user: format!("user-{number}"), ..RouteQuery::default() };
        let first = |number| order(&ask(&known, &user(number)))[0];
        let mut counts = BTreeMap::new();
        (0..300).for_each(|number| *counts.entry(first(number)).or_insert(0) += 1);
        assert!(counts.len() == 3 && counts.values().all(|count| *count > 60), "{counts:?}");
        assert!((0..300).all(|number| first(number) == first(number)));
    }
}
