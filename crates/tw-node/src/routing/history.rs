//! The generations of the plan, as they are stored in `$routing`, and which one is in effect.
//!
//! ```json
//! {"type": "tradewind.routing.changed", "subject": "plan", "data": {"v": 1, "generation": 2, "term": 0, "change": "drain region 3",
//!  "regions": [{"id": 1, "weight": 1000}, {"id": 3, "weight": 0, "drained": true}]}}
//! ```
//!
//! Only what is changed is stored: where regions are and what they can serve is the configuration's. The generation of the highest term is in
//! effect, and of that the last one; so what a region wrote that was the home no more comes to nothing everywhere. What does not read, and what is no plan with the
//! regions that are configured, is never taken: the one before stays. Nothing here reads or appends.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tw_plan::routing::{Given, Plan, REGIONS_MAX, Region};
use tw_types::{Data, Event, EventRef, Hlc, RegionId};

/// The subject of all generations.
pub(super) const SUBJECT: &str = "plan";
/// The type of a generation.
const TYPE: &str = "tradewind.routing.changed";
/// What is said of generation 1.
const CONFIGURED: &str = "what the configuration says";
/// How many generations are known.
const KEPT_MAX: usize = 64;

/// A generation as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stored {
    v: u32,
    generation: u64,
    /// How many homes `$routing` had before the one that wrote it.
    term: u64,
    change: String,
    regions: Vec<Share>,
}

/// What part of users a region gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Share {
    id: RegionId,
    weight: u32,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    drained: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    given: Vec<Given>,
}

impl Stored {
    pub(super) fn new(plan: &Plan, term: u64, change: String) -> Self {
        let share = |region: &Region| Share {
            id: region.id,
            weight: region.weight,
            drained: region.drained,
            given: region.given.clone(),
        };
        let regions = plan.regions().iter().map(share).collect();
        Self { v: 1, generation: plan.generation(), term, change, regions }
    }

    /// The event that says it; `id` is unique among the events of `$routing`.
    pub(super) fn event(&self, id: String) -> Event {
        Event {
            id,
            source: "tradewind:routing".into(),
            ty: TYPE.into(),
            subject: Some(SUBJECT.into()),
            // Texts and numbers always have a JSON form.
            data: Data::Json(serde_json::to_vec(self).unwrap_or_default()),
            ..Event::default()
        }
    }

    /// Reads an event of `$routing`; None if it is no generation that can be read here.
    pub(super) fn read(event: &EventRef<'_>) -> Option<Self> {
        if event.ty != TYPE {
            return None;
        }
        let stored: Self = serde_json::from_slice(event.data.bytes()).ok()?;
        // The first one is the configuration's.
        (stored.v == 1 && stored.generation > 1 && stored.regions.len() <= REGIONS_MAX).then_some(stored)
    }

    /// The plan that it is with the regions that are configured. Those of which it says nothing are as they are configured.
    fn plan(&self, configured: &Plan) -> Result<Plan, tw_plan::Error> {
        let is_there = |given: &Given| given.to.is_none_or(|to| configured.region(to).is_some());
        let region = |region: &Region| match self.regions.iter().find(|share| share.id == region.id) {
            Some(Share { weight, drained, given, .. }) => {
                let given =
                    given.iter().map(|part| Given { to: part.to.filter(|_| is_there(part)), ..*part });
                Region { weight: *weight, drained: *drained, given: given.collect(), ..region.clone() }
            }
            None => region.clone(),
        };
        Plan::stored(self.generation, configured.regions().iter().map(region).collect())
    }
}

/// When a generation was written and by whom; the highest one is in effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    term: u64,
    generation: u64,
    hlc: Hlc,
    by: RegionId,
}

/// All generations that are known.
#[derive(Debug, Clone, Default)]
pub(super) struct History(BTreeMap<Key, Stored>);

/// A generation, for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) generation: u64,
    pub(crate) change: String,
    /// Where and when it was decided; None of what is configured.
    pub(crate) by: Option<(RegionId, u64)>,
}

/// What is in effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InEffect {
    pub(crate) plan: Plan,
    /// It, and those before, the last one first.
    pub(crate) history: Vec<Told>,
    /// What has to be said of it.
    pub(crate) note: Option<String>,
}

impl History {
    /// Takes note of a generation, in whatever order they come.
    pub(super) fn learn(&mut self, hlc: Hlc, by: RegionId, stored: Stored) {
        let Stored { term, generation, .. } = stored;
        self.0.insert(Key { term, generation, hlc, by }, stored);
        if self.0.len() > KEPT_MAX {
            self.0.pop_first();
        }
    }

    /// The generations that came one after the other, the last one first.
    fn chain(&self) -> impl Iterator<Item = (&Key, &Stored)> {
        let mut next = u64::MAX;
        self.0.iter().rev().filter(move |(key, _)| {
            let is_before = key.generation < next;
            next = next.min(key.generation);
            is_before
        })
    }

    /// What is in effect, with the regions that are configured.
    pub(super) fn in_effect(&self, configured: &Plan) -> InEffect {
        let (mut taken, mut note, mut history) = (None, None, Vec::new());
        for (key, stored) in self.chain() {
            if taken.is_none() {
                match stored.plan(configured) {
                    Ok(plan) => taken = Some(plan),
                    Err(error) => {
                        let generation = key.generation;
                        note = Some(format!(
                            "generation {generation} cannot be taken with the regions that are configured here, and the one before it holds: {error}"
                        ));
                        continue;
                    }
                }
            }
            let by = Some((key.by, key.hlc.millis()));
            history.push(Told { generation: key.generation, change: stored.change.clone(), by });
        }
        history.push(Told { generation: 1, change: CONFIGURED.to_owned(), by: None });
        InEffect { plan: taken.unwrap_or_else(|| configured.clone()), history, note }
    }

    /// The plan that a generation was, with the regions that are configured; None if it is not known any more.
    pub(super) fn plan_of(&self, generation: u64, configured: &Plan) -> Option<Result<Plan, tw_plan::Error>> {
        if generation == 1 {
            return Some(Ok(configured.clone()));
        }
        let (_, stored) = self.chain().find(|(key, _)| key.generation == generation)?;
        Some(stored.plan(configured))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn configured(count: u16) -> Plan {
        let region = |id| Region {
            id: RegionId(id),
            weight: 1_000,
            drained: false,
            capacity_per_s: 1,
            place: None,
            addresses: vec![format!("r{id}.example")],
            given: Vec::new(),
        };
        Plan::first((1..=count).map(region).collect()).unwrap()
    }

    /// Generation `generation`, by which region 2 has a weight and gives the rest to region 3.
    fn stored(generation: u64, term: u64, weight: u32) -> Stored {
        let mut regions = configured(3).regions().to_vec();
        regions[1].weight = weight;
        regions[1].given = vec![Given { to: Some(RegionId(3)), permille: 1_000 - weight }];
        Stored::new(&Plan::stored(generation, regions).unwrap(), term, format!("weigh {weight}"))
    }

    fn weight(history: &History) -> (u64, u32) {
        let plan = history.in_effect(&configured(3)).plan;
        (plan.generation(), plan.regions()[1].weight)
    }

    #[test]
    fn a_generation_reads_back_as_it_was_stored() {
        let one = stored(7, 2, 900);
        let event = one.event("e-1".into());
        let golden = r#"{"v":1,"generation":7,"term":2,"change":"weigh 900","regions":[{"id":1,"weight":1000},{"id":2,"weight":900,"given":[{"to":3,"permille":100}]},{"id":3,"weight":1000}]}"#;
        assert_eq!(std::str::from_utf8(event.as_ref().data.bytes()).unwrap(), golden);
        assert_eq!(Stored::read(&event.as_ref()), Some(one.clone()));
        let other = Event { ty: "tradewind.other".into(), ..event };
        assert_eq!(Stored::read(&other.as_ref()), None);
        assert_eq!(Stored::read(&Stored { v: 2, ..one.clone() }.event("e".into()).as_ref()), None);
        assert_eq!(Stored::read(&Stored { generation: 1, ..one }.event("e".into()).as_ref()), None);
    }

    #[test]
    fn what_a_former_home_wrote_comes_to_nothing() {
        let mut history = History::default();
        assert_eq!(weight(&history), (1, 1_000));
        let at = |ms| Hlc::new(ms, 0);
        history.learn(at(1), RegionId(1), stored(2, 0, 900));
        // Region 2 takes over with what it had; region 1 goes on for a while, and does not know.
        history.learn(at(3), RegionId(1), stored(3, 0, 100));
        history.learn(at(4), RegionId(1), stored(4, 0, 200));
        history.learn(at(2), RegionId(2), stored(3, 1, 800));
        assert_eq!(weight(&history), (3, 800));
        let told = history.in_effect(&configured(3)).history;
        let told: Vec<_> = told.iter().map(|one| (one.generation, one.change.as_str())).collect();
        assert_eq!(told, [(3, "weigh 800"), (2, "weigh 900"), (1, CONFIGURED)]);
        assert_eq!(history.plan_of(2, &configured(3)).unwrap().unwrap().regions()[1].weight, 900);
        assert_eq!(history.plan_of(1, &configured(3)), Some(Ok(configured(3))));
        assert_eq!(history.plan_of(4, &configured(3)), None, "it was never in effect here");
    }

    #[test]
    fn a_plan_that_nobody_could_serve_by_is_never_taken() {
        let mut history = History::default();
        history.learn(Hlc::new(1, 0), RegionId(1), stored(2, 0, 900));
        let mut regions = configured(3).regions().to_vec();
        regions[0].drained = true;
        regions[1].drained = true;
        let drained = Stored::new(&Plan::stored(3, regions).unwrap(), 0, "drain".into());
        history.learn(Hlc::new(2, 0), RegionId(1), drained);
        assert_eq!(history.in_effect(&configured(3)).plan.generation(), 3);
        // Region 3 is not configured any more.
        let left = history.in_effect(&configured(2));
        assert_eq!((left.plan.generation(), left.plan.regions()[1].weight), (2, 900));
        assert_eq!(left.plan.regions()[1].given[0].to, None, "its users go on to the next one");
        assert!(left.note.unwrap().contains("generation 3"));
        // One more is configured: it is as the configuration says.
        assert_eq!(history.in_effect(&configured(4)).plan.region(RegionId(4)).unwrap().weight, 1_000);
    }

    proptest! {
        #[test]
        fn any_data_is_read_or_refused(data in proptest::collection::vec(any::<u8>(), 0..80)) {
            let event = Event { ty: TYPE.into(), data: Data::Json(data), ..Event::default() };
            let _any = Stored::read(&event.as_ref());
        }

        #[test]
        fn regions_agree_in_whatever_order_generations_come(
            written in proptest::collection::vec((2..9u64, 0..3u64, 1..1_000u32, 0..5u64, 1..4u16), 1..90), turn in 0..90usize,
        ) {
            let learned = |written: &mut dyn Iterator<Item = &(u64, u64, u32, u64, u16)>| {
                let mut history = History::default();
                for (generation, term, weight, ms, by) in written {
                    // A region stamps no two events alike.
                    let hlc = Hlc::new(*ms, (*weight % 7) as u16);
                    let weight = (*ms as u32 * 7 + *weight % 7 + 1).min(999);
                    history.learn(hlc, RegionId(*by), stored(*generation, *term, weight));
                }
                history.in_effect(&configured(3))
            };
            let turn = turn % written.len();
            let one = learned(&mut written.iter());
            prop_assert_eq!(&one, &learned(&mut written.iter().rev()));
            prop_assert_eq!(one, learned(&mut written[turn..].iter().chain(&written[..turn])));
        }
    }
}
