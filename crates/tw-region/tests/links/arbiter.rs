//! Homes where regions have an arbiter: one that is cut off stops writing before another takes over, by itself, and nothing that was begun is left undone.

use crate::homes::{Lined, count, wait_for, with_home};
use crate::region::{World, same_everywhere};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tw_merge::Seen;
use tw_region::service::{AT_RISK_STREAM, Agreed, Answer, Arbiter, HomeError, Look, NoAnswer};
use tw_types::RegionId;

/// How long a region counts as there.
const PRESENT: Duration = Duration::from_millis(900);
/// How much sooner it stops writing.
const MARGIN: Duration = Duration::from_millis(300);

/// What all regions agree on, in memory.
#[derive(Debug, Default)]
pub(crate) struct Court {
    present: BTreeMap<RegionId, (Instant, Seen)>,
    homes: BTreeMap<String, Agreed>,
}

/// One region's way to it.
#[derive(Debug)]
pub(crate) struct Way {
    court: Arc<Mutex<Court>>,
    me: RegionId,
    is_cut: AtomicBool,
    /// After how many more agreements it is cut, at once: as a process that is killed between that and what it would do next.
    dies_after: AtomicU32,
    /// Until when it is there for certain, and what is certain as long as it is.
    held: Mutex<(Option<Instant>, HashMap<String, u64>)>,
}

impl Way {
    fn new(court: &Arc<Mutex<Court>>, me: u16) -> Arc<Self> {
        let (is_cut, dies_after, held) = (AtomicBool::new(false), AtomicU32::new(0), Mutex::default());
        Arc::new(Self { court: court.clone(), me: RegionId(me), is_cut, dies_after, held })
    }

    fn reach(&self) -> Result<(), NoAnswer> {
        if self.is_cut.load(Ordering::SeqCst) { Err(NoAnswer("cut".into())) } else { Ok(()) }
    }

    fn confirm(&self, stream: &str, agreed: Option<Agreed>) {
        let mut held = self.held.lock();
        let is_held = held.0.is_some_and(|until| Instant::now() < until);
        match agreed.filter(|agreed| agreed.home == self.me && is_held) {
            Some(agreed) => drop(held.1.insert(stream.to_owned(), agreed.term)),
            None => drop(held.1.remove(stream)),
        }
    }
}

impl Arbiter for Way {
    fn may_write(&self, stream: &str, term: u64) -> bool {
        let held = self.held.lock();
        held.0.is_some_and(|until| Instant::now() < until) && held.1.get(stream) == Some(&term)
    }

    fn agreed<'a>(&'a self, stream: &'a str) -> Answer<'a, Option<Agreed>> {
        Box::pin(async move {
            self.reach()?;
            let agreed = self.court.lock().homes.get(stream).copied();
            self.confirm(stream, agreed);
            Ok(agreed)
        })
    }

    fn agree<'a>(
        &'a self,
        stream: &'a str,
        before: Option<Agreed>,
        now: Agreed,
        gone: Option<RegionId>,
    ) -> Answer<'a, bool> {
        Box::pin(async move {
            self.confirm(stream, None);
            self.reach()?;
            let mut court = self.court.lock();
            let is_there = |region: &RegionId| {
                court.present.get(region).is_some_and(|(until, _)| Instant::now() < *until)
            };
            if court.homes.get(stream).copied() != before || gone.as_ref().is_some_and(is_there) {
                return Ok(false);
            }
            court.homes.insert(stream.to_owned(), now);
            drop(court);
            if self.dies_after.load(Ordering::SeqCst) > 0
                && self.dies_after.fetch_sub(1, Ordering::SeqCst) == 1
            {
                self.is_cut.store(true, Ordering::SeqCst);
                return Err(NoAnswer("killed".into()));
            }
            self.confirm(stream, Some(now));
            Ok(true)
        })
    }

    fn look<'a>(&'a self, seen: &'a Seen) -> Answer<'a, Look> {
        Box::pin(async move {
            self.reach()?;
            let now = Instant::now();
            {
                let mut held = self.held.lock();
                if held.0.is_none_or(|until| until <= now) {
                    held.1.clear();
                }
                held.0 = Some(now + PRESENT - MARGIN);
            }
            let mut court = self.court.lock();
            court.present.insert(self.me, (now + PRESENT, seen.clone()));
            let present = court.present.iter().filter(|(_, (until, _))| now < *until);
            let present = present.map(|(region, (_, seen))| (*region, seen.clone())).collect();
            Ok(Look { present, agreed: court.homes.clone() })
        })
    }

    fn is_automatic(&self) -> bool {
        true
    }
}

/// Three regions with a stream whose home is the first one.
async fn start(world: &World) -> (Lined, Vec<Arc<Way>>) {
    let court = Arc::new(Mutex::new(Court::default()));
    let ways: Vec<Arc<Way>> = (1..=3).map(|me| Way::new(&court, me)).collect();
    let arbiters = ways.iter().map(|way| Some(way.clone() as Arc<dyn Arbiter>)).collect();
    let lined = Lined::start_with(world, arbiters).await;
    lined.create(&with_home("counters", 2, 1)).await;
    (lined, ways)
}

async fn until_home(lined: &Lined, region: u16) {
    let homes = lined.region(region).links.homes().clone();
    wait_for("the home", async || homes.list()[0].is_open).await;
}

/// The home is cut off from everybody. It stops before the one that knows most of it has taken over; what it had accepted and not
/// sent is listed; and no moment is found at which both would write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_home_that_is_cut_off_is_replaced_and_does_not_write_any_more_by_then() {
    let world = World::new();
    let (lined, ways) = start(&world).await;
    until_home(&lined, 1).await;
    for _ in 0..10 {
        assert!(count(&lined.region(1).events, lined.region(1).links.homes(), "a").await);
    }
    lined.region(2).has("counters", 10).await;
    let one = lined.region(1);
    let refused = lined.region(2).links.failover(RegionId(1), &[], false, false).await;
    assert!(matches!(refused, Err(HomeError::IsThere { .. })), "{refused:?}");
    lined.isolate(1);
    ways[0].is_cut.store(true, Ordering::SeqCst);
    let mut at_risk = 0;
    let is_replaced = async || {
        // In this order: whoever writes first is seen to have stopped before the other one is seen to write.
        let others = [2, 3].iter().any(|region| lined.region(*region).links.homes().list()[0].is_open);
        let wrote = count(&one.events, one.links.homes(), "a").await;
        assert!(!(others && wrote), "two regions write");
        at_risk += u64::from(wrote);
        others
    };
    wait_for("replaced", is_replaced).await;
    assert!(at_risk > 0, "it wrote for a while");
    let home =
        [2, 3].into_iter().find(|region| lined.region(*region).links.homes().list()[0].is_open).unwrap();
    assert!(count(&lined.region(home).events, lined.region(home).links.homes(), "a").await);
    lined.mend();
    ways[0].is_cut.store(false, Ordering::SeqCst);
    for region in &lined.regions {
        region.has("counters", 11 + at_risk).await;
        // Those at risk, and the ends of two lists.
        region.has(AT_RISK_STREAM, at_risk + 2).await;
    }
    assert!(!count(&one.events, one.links.homes(), "a").await, "it is not the home any more");
    same_everywhere(&lined.regions, "counters").await;
    lined.region(home).in_sync().await;
    lined.region(home).links.give_away(&[], RegionId(1), false).await.unwrap();
    until_home(&lined, 1).await;
}

/// Killed between agreeing and claiming, as who gives: when it is back, it claims for the other one, and nothing is at risk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_giver_that_has_agreed_and_not_claimed_finishes_when_it_is_back() {
    let world = World::new();
    let (lined, ways) = start(&world).await;
    until_home(&lined, 1).await;
    let one = lined.region(1);
    assert!(count(&one.events, one.links.homes(), "a").await);
    ways[0].dies_after.store(1, Ordering::SeqCst);
    let failed = one.links.give_away(&[], RegionId(2), false).await;
    assert!(matches!(failed, Err(HomeError::NoAnswer(_))), "{failed:?}");
    assert!(!count(&one.events, one.links.homes(), "a").await, "it may have been given");
    ways[0].is_cut.store(false, Ordering::SeqCst);
    until_home(&lined, 2).await;
    assert!(count(&lined.region(2).events, lined.region(2).links.homes(), "a").await);
    assert_eq!(lined.region(2).count(AT_RISK_STREAM), 0);
    assert!(lined.region(2).links.homes().list()[0].is_planned);
}

/// The same, and it does not come back: who it was given to takes the stream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_given_a_stream_takes_it_when_the_giver_is_gone() {
    let world = World::new();
    let (lined, ways) = start(&world).await;
    until_home(&lined, 1).await;
    let one = lined.region(1);
    assert!(count(&one.events, one.links.homes(), "a").await);
    lined.region(2).has("counters", 1).await;
    ways[0].dies_after.store(1, Ordering::SeqCst);
    let _failed = one.links.give_away(&[], RegionId(2), false).await;
    lined.isolate(1);
    until_home(&lined, 2).await;
    assert!(!lined.region(2).links.homes().list()[0].is_planned);
    assert!(count(&lined.region(2).events, lined.region(2).links.homes(), "a").await);
}

/// Killed between agreeing and claiming, as who takes: the next one takes the stream from it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taker_that_has_agreed_and_not_claimed_is_replaced_in_its_turn() {
    let world = World::new();
    let (lined, ways) = start(&world).await;
    until_home(&lined, 1).await;
    assert!(count(&lined.region(1).events, lined.region(1).links.homes(), "a").await);
    lined.region(2).has("counters", 1).await;
    lined.region(3).has("counters", 1).await;
    // Whichever of the two takes it.
    ways[1].dies_after.store(1, Ordering::SeqCst);
    lined.isolate(1);
    ways[0].is_cut.store(true, Ordering::SeqCst);
    until_home(&lined, 3).await;
    let three = lined.region(3);
    assert!(count(&three.events, three.links.homes(), "a").await);
    // It is back, has agreed to something that does not count any more, and does not write.
    ways[1].is_cut.store(false, Ordering::SeqCst);
    let two = lined.region(2);
    two.in_sync_with(3).await;
    wait_for("known", async || two.links.homes().list()[0].home == RegionId(3)).await;
    assert!(!count(&two.events, two.links.homes(), "a").await);
}
