//! What the demo knows: of each region, of each link, and of the last comparison; and what has happened.

use super::mesh::{Mesh, Pair};
use super::writer::{STREAM, VIEW};
use crate::commands::region::hashes::{Compared, Kind, short};
use crate::error::Result;
use crate::output::{count, duration_ms};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How many of the latest happenings are remembered.
const STORY_MAX: usize = 50;

/// Shared by the tasks of the demo, which take turns on one thread.
pub(super) type Shared = Rc<RefCell<World>>;

/// See the module's text.
pub(super) struct World {
    pub(super) since: Instant,
    pub(super) regions: BTreeMap<u16, Region>,
    pub(super) mesh: Mesh,
    pub(super) check: Check,
    /// What happened, the latest last.
    pub(super) story: VecDeque<String>,
    /// Whether the writers are to pause.
    is_paused: bool,
    on_screen: bool,
}

/// A region.
#[derive(Debug, Default)]
pub(super) struct Region {
    pub(super) url: String,
    /// Events that it accepted since the demo was started.
    pub(super) accepted: u64,
    /// What it said last.
    pub(super) seen: Seen,
    /// Why it did not say more.
    pub(super) problem: Option<String>,
    /// Whether its writer pauses.
    rests: bool,
}

/// What a region says of itself.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    /// Events of the stream.
    pub(super) events: u64,
    /// Rows of the view.
    pub(super) rows: u64,
    /// Conflicts that it has told.
    pub(super) conflicts: u64,
    /// The last one of them.
    pub(super) conflict: String,
    /// How the links are by which it takes from others, by their numbers.
    pub(super) links: BTreeMap<u16, Pulled>,
}

/// How a region stands to another one from which it takes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Pulled {
    pub(super) link: String,
    pub(super) lag_events: u64,
    pub(super) lag_ms: u64,
}

/// The last comparison by hashes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) enum Check {
    /// There was none.
    #[default]
    Never,
    /// One is under way; the writers pause.
    Running,
    /// All regions held the same.
    Equal(String),
    /// They did not.
    Different(String),
}

impl Check {
    /// For a person.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Never => "none yet".to_owned(),
            Self::Running => "the writers pause, and every region hashes what it has".to_owned(),
            Self::Equal(what) => format!("equal at {what}"),
            Self::Different(why) => format!("different: {why}"),
        }
    }

    /// What a comparison that found everything equal has to tell, after so long.
    pub(super) fn equal(compared: &Compared, took: Duration) -> Self {
        let of = |kind: Kind, name: &str| {
            let row = compared.rows.iter().find(|row| row.kind == kind && row.name == name)?;
            let line = row.lines.iter().find_map(|(_, line)| line.as_ref())?;
            Some((
                count(line.count.unwrap_or_default()),
                short(line.hash.as_deref().unwrap_or_default()).to_owned(),
            ))
        };
        let (events, hash) = of(Kind::Stream, STREAM).unwrap_or_default();
        let mut text = format!("{events} events in all regions ({STREAM} {hash}");
        if let Some((rows, hash)) = of(Kind::Projection, VIEW) {
            // Writing to memory does not fail.
            let _infallible = write!(text, ", {VIEW} {rows} rows {hash}");
        }
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        Self::Equal(format!("{text}), {} after the last write", duration_ms(ms)))
    }
}

impl World {
    pub(super) fn shared(urls: BTreeMap<u16, String>, mesh: Mesh, on_screen: bool) -> Shared {
        let region = |(number, url)| (number, Region { url, ..Region::default() });
        Rc::new(RefCell::new(Self {
            since: Instant::now(),
            regions: urls.into_iter().map(region).collect(),
            mesh,
            check: Check::Never,
            story: VecDeque::new(),
            is_paused: false,
            on_screen,
        }))
    }

    /// Where a region serves.
    pub(super) fn url(&self, number: u16) -> String {
        self.regions.get(&number).map(|region| region.url.clone()).unwrap_or_default()
    }

    /// Something happened: it is printed where there is no screen.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn tell(&mut self, text: String) -> Result<()> {
        let line = format!("{:>4} s  {text}", self.since.elapsed().as_secs());
        if !self.on_screen {
            super::lines::print(&line)?;
        }
        if self.story.len() >= STORY_MAX {
            self.story.pop_front();
        }
        self.story.push_back(line);
        Ok(())
    }

    /// Cuts or heals the links for which `which` says so, and tells which were changed.
    ///
    /// # Errors
    /// When it cannot be told.
    pub(super) fn cut(&mut self, is_cut: bool, which: impl Fn(Pair) -> bool) -> Result<()> {
        let changed = self.mesh.cut(is_cut, which);
        if changed.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = changed.into_iter().map(link_name).collect();
        let (what, is) = if names.len() == 1 { ("link", "is") } else { ("links", "are") };
        let done = if is_cut { "cut" } else { "healed" };
        self.tell(format!("{what} {} {is} {done}", names.join(", ")))
    }

    /// Cuts the link of a key, counted from 0, or heals it.
    ///
    /// # Errors
    /// When it cannot be told.
    pub(super) fn toggle(&mut self, key: usize) -> Result<()> {
        match self.mesh.links().get(key).copied() {
            Some((pair, is_cut)) => self.cut(!is_cut, |other| other == pair),
            None => Ok(()),
        }
    }

    /// Has the writers pause, or go on.
    pub(super) fn pause(&mut self, is_paused: bool) {
        self.is_paused = is_paused;
    }

    /// Asked by a writer before each write: whether it is to rest.
    pub(super) fn rests(&mut self, number: u16) -> bool {
        if let Some(region) = self.regions.get_mut(&number) {
            region.rests = self.is_paused;
        }
        self.is_paused
    }

    /// Whether all writers rest, so that nothing is being written.
    pub(super) fn is_quiet(&self) -> bool {
        self.regions.values().all(|region| region.rests)
    }

    pub(super) fn wrote(&mut self, number: u16, events: u64) {
        if let Some(region) = self.regions.get_mut(&number) {
            region.accepted += events;
        }
    }

    /// What a region said, or why it did not. All tell the same conflicts; those of the first one are shown.
    ///
    /// # Errors
    /// When it cannot be told.
    pub(super) fn saw(&mut self, number: u16, seen: Result<Seen>) -> Result<()> {
        let Some(region) = self.regions.get_mut(&number) else { return Ok(()) };
        let seen = match seen {
            Ok(seen) => seen,
            Err(error) => {
                region.problem = Some(error.describe());
                return Ok(());
            }
        };
        let more = seen.conflicts.saturating_sub(region.seen.conflicts);
        let last = seen.conflict.clone();
        (region.seen, region.problem) = (seen, None);
        match more {
            0 => Ok(()),
            _ if number != 1 => Ok(()),
            1 => self.tell(format!("a conflict: {last}")),
            more => self.tell(format!("{} conflicts, the last one: {last}", count(more))),
        }
    }

    /// How a region stands to another one from which it takes.
    pub(super) fn pulled(&self, here: u16, from: u16) -> Pulled {
        let region = self.regions.get(&here);
        region.and_then(|region| region.seen.links.get(&from)).cloned().unwrap_or_default()
    }
}

/// How a link is called: `1-2`.
pub(super) fn link_name((one, other): Pair) -> String {
    format!("{one}-{other}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_key_cuts_a_link_and_heals_it_and_writers_are_quiet_when_all_have_seen_the_pause() {
        let mesh = Mesh::open(3, Duration::ZERO).await.unwrap();
        let urls = (1..=3).map(|number| (number, String::new())).collect();
        let world = World::shared(urls, mesh, true);
        let mut world = world.borrow_mut();
        let cut = |world: &World| -> Vec<bool> { world.mesh.links().iter().map(|(_, cut)| *cut).collect() };
        world.toggle(1).unwrap();
        world.toggle(7).unwrap();
        assert_eq!(cut(&world), [false, true, false]);
        world.cut(true, |(one, _)| one == 1).unwrap();
        world.toggle(1).unwrap();
        assert_eq!(cut(&world), [true, false, false]);
        let story: Vec<&str> = world.story.iter().map(|line| line.trim_start_matches("   0 s  ")).collect();
        assert_eq!(story, ["link 1-3 is cut", "link 1-2 is cut", "link 1-3 is healed"]);
        world.pause(true);
        assert!(world.rests(1) && world.rests(2) && !world.is_quiet(), "one of them may be writing still");
        assert!(world.rests(3) && world.is_quiet());
        world.pause(false);
        assert!(!world.rests(1) && !world.is_quiet());
    }
}
