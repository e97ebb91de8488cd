//! The demo of regions on a terminal: regions, links, the last comparison, what happened, and the keys.

use super::check::until_equal;
use super::lines::{state, try_next};
use super::world::{Check, Shared, World, link_name};
use crate::error::{Error, Result};
use crate::output::{count, duration_ms};
use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize as _};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Cell, Paragraph, Row, Table, Wrap};
use std::time::Duration;
use tokio::task::{JoinHandle, spawn_local};

/// How often the screen is drawn.
const EVERY: Duration = Duration::from_millis(200);
/// What can be done.
const KEYS: &str = "1-9 cut or heal a link   i isolate region 1   h heal all   c compare by hashes   q end";

/// Gives the terminal back, however the demo ends.
struct Screen;

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Draws until a person wants it to end: with q, Escape or Ctrl-C.
pub(super) async fn show(world: &Shared) -> Result<()> {
    let mut terminal = ratatui::try_init()?;
    let _screen = Screen;
    let mut beats = tokio::time::interval(EVERY);
    let mut comparing = Comparing(None);
    loop {
        beats.tick().await;
        terminal.draw(|frame| draw(frame, &world.borrow()))?;
        comparing.look(world).await?;
        while event::poll(Duration::ZERO)? {
            if let Event::Key(key) = event::read()?
                && key.kind == KeyEventKind::Press
            {
                let interrupt =
                    key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
                match key.code {
                    _ if interrupt => return Ok(()),
                    KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                    KeyCode::Char('c') => comparing.toggle(world)?,
                    KeyCode::Char(key) => press(key, &mut world.borrow_mut())?,
                    _ => {}
                }
            }
        }
    }
}

/// A key that changes links.
fn press(key: char, world: &mut World) -> Result<()> {
    match key {
        'i' => world.cut(true, |(one, _)| one == 1),
        'h' => world.cut(false, |_| true),
        '1'..='9' => world.toggle(key as usize - '1' as usize),
        // Five regions have ten links.
        '0' => world.toggle(9),
        _ => Ok(()),
    }
}

/// A comparison that a person asked for.
struct Comparing(Option<JoinHandle<Result<bool>>>);

impl Comparing {
    /// Begins one, or ends the one that is under way.
    fn toggle(&mut self, world: &Shared) -> Result<()> {
        if let Some(running) = self.0.take() {
            running.abort();
            let mut world = world.borrow_mut();
            world.pause(false);
            if world.check == Check::Running {
                world.check = Check::Never;
            }
            return world.tell("the writers go on without an answer".to_owned());
        }
        world
            .borrow_mut()
            .tell("the writers pause until the hashes are equal; `c` lets them go on".to_owned())?;
        let world = world.clone();
        self.0 = Some(spawn_local(async move { until_equal(&world, None).await }));
        Ok(())
    }

    /// Lets the writers go on once one has ended.
    async fn look(&mut self, world: &Shared) -> Result<()> {
        let Some(running) = self.0.take_if(|running| running.is_finished()) else { return Ok(()) };
        let outcome = running.await.map_err(|error| Error::Failed(error.to_string()))?;
        let mut world = world.borrow_mut();
        world.pause(false);
        match outcome {
            Ok(_) => {
                let words = world.check.words();
                world.tell(words)
            }
            // It may be asked for again.
            Err(error) => {
                world.check = Check::Different(error.describe());
                world.tell(error.describe())
            }
        }
    }
}

impl Drop for Comparing {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

fn draw(frame: &mut Frame<'_>, world: &World) {
    let rows = |count: usize| Constraint::Length(u16::try_from(count).unwrap_or(u16::MAX).saturating_add(3));
    let [head, regions, links, check, story, foot] = Layout::vertical([
        Constraint::Length(1),
        rows(world.regions.len()),
        rows(world.mesh.links().len()),
        Constraint::Length(4),
        Constraint::Min(3),
        Constraint::Length(5),
    ])
    .areas(frame.area());
    let title = vec![
        Span::from(" tradewind demo --regions ").bold().reversed(),
        Span::from(format!("  {KEYS}")).dim(),
    ];
    frame.render_widget(Line::from(title), head);
    draw_regions(frame, regions, world);
    draw_links(frame, links, world);
    let colour = match world.check {
        Check::Equal(_) => Color::Green,
        Check::Different(_) => Color::Yellow,
        Check::Never | Check::Running => Color::Reset,
    };
    let words = Paragraph::new(world.check.words()).style(Style::new().fg(colour)).wrap(Wrap { trim: false });
    frame.render_widget(words.block(Block::bordered().title(" the last comparison by hashes ")), check);
    let room = usize::from(story.height.saturating_sub(2));
    let lines: Vec<Line<'_>> =
        world.story.iter().rev().take(room).rev().map(|line| Line::from(line.as_str())).collect();
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" what happened ")), story);
    let next = Paragraph::new(Text::from(try_next(world)));
    frame.render_widget(next.block(Block::bordered().title(" try next, in another terminal ").dim()), foot);
}

fn draw_regions(frame: &mut Frame<'_>, place: Rect, world: &World) {
    let rows = world.regions.iter().map(|(number, region)| {
        Row::new([
            Cell::from(number.to_string()),
            Cell::from(region.url.clone()),
            Cell::from(count(region.accepted)),
            Cell::from(count(region.seen.events)),
            Cell::from(count(region.seen.rows)),
            Cell::from(count(region.seen.conflicts)),
            Cell::from(region.problem.clone().unwrap_or_default()).style(Color::Red),
        ])
    });
    let widths = [8, 24, 16, 16, 12, 10].map(Constraint::Length).into_iter().chain([Constraint::Fill(1)]);
    table(
        frame,
        place,
        ["region", "serves", "accepted", "events here", "rows of view", "conflicts", ""],
        rows,
        widths,
        " regions ",
    );
}

fn draw_links(frame: &mut Frame<'_>, place: Rect, world: &World) {
    let rows = world.mesh.links().iter().enumerate().map(|(key, (pair, is_cut))| {
        let (one, other) = *pair;
        let ways = [world.pulled(other, one), world.pulled(one, other)];
        let told = state(&ways[0].link, &ways[1].link);
        let colour = match told.as_str() {
            _ if *is_cut => Color::Red,
            "in-sync" => Color::Green,
            _ => Color::Yellow,
        };
        let cut = if *is_cut { "cut, " } else { "" };
        let lag = |way: usize, from: u16, to: u16| {
            let events = ways.get(way).map_or(0, |way| way.lag_events);
            let ms = ways.get(way).map_or(0, |way| way.lag_ms);
            format!("{from} to {to}: {} events, {}", count(events), duration_ms(ms))
        };
        Row::new([
            Cell::from(((key + 1) % 10).to_string()),
            Cell::from(link_name(*pair)),
            Cell::from(format!("{cut}{told}")).style(colour),
            Cell::from(lag(0, one, other)),
            Cell::from(lag(1, other, one)),
        ])
    });
    let widths =
        [4, 6, 26].map(Constraint::Length).into_iter().chain([Constraint::Fill(1), Constraint::Fill(1)]);
    table(frame, place, ["key", "link", "state", "behind", "behind"], rows, widths, " links ");
}

fn table<'a, const N: usize>(
    frame: &mut Frame<'_>,
    place: Rect,
    names: [&'static str; N],
    rows: impl Iterator<Item = Row<'a>>,
    widths: impl Iterator<Item = Constraint>,
    title: &'static str,
) {
    let head = Row::new(names.map(|name| Cell::from(name).style(Modifier::BOLD)));
    let widget = Table::new(rows, widths).header(head).block(Block::bordered().title(title));
    frame.render_widget(widget, place);
}

#[cfg(test)]
mod tests {
    use super::super::mesh::Mesh;
    use super::super::world::{Pulled, Seen};
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    async fn world() -> Shared {
        let mesh = Mesh::open(3, Duration::ZERO).await.unwrap();
        let urls = (1..=3u16).map(|number| (number, format!("http://127.0.0.1:707{number}"))).collect();
        World::shared(urls, mesh, true)
    }

    #[tokio::test]
    async fn regions_links_and_the_comparison_are_on_the_screen_and_a_small_one_is_no_error() {
        let world = world().await;
        let pulled = Pulled { link: "catching-up".into(), lag_events: 1_234, lag_ms: 61_000 };
        let conflict = "customer-7: seen_in = region 2".into();
        let seen =
            Seen { events: 1_234_567, rows: 321, conflicts: 4_321, conflict, links: [(1, pulled)].into() };
        world.borrow_mut().saw(2, Ok(seen.clone())).unwrap();
        world.borrow_mut().saw(1, Ok(seen)).unwrap();
        world.borrow_mut().check = Check::Different("not yet here: region 2 lacks some".into());
        press('2', &mut world.borrow_mut()).unwrap();
        for (width, height) in [(120, 40), (20, 5)] {
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            terminal.draw(|frame| draw(frame, &world.borrow())).unwrap();
            let text = terminal.backend().to_string();
            let parts = [
                "1,234,567",
                "321",
                "1 to 2: 1,234 events, 1 min 1 s",
                "cut, ",
                "lacks some",
                "link 1-3 is cut",
                "4,321 conflicts, the last one: customer-7",
            ];
            for part in parts.into_iter().filter(|_| height == 40) {
                assert!(text.contains(part), "{part} in {text}");
            }
        }
    }

    #[tokio::test]
    async fn keys_isolate_region_1_and_heal_everything() {
        let world = world().await;
        let cut = || -> Vec<bool> { world.borrow().mesh.links().iter().map(|(_, cut)| *cut).collect() };
        for (key, expected) in
            [('i', [true, true, false]), ('3', [true; 3]), ('h', [false; 3]), ('x', [false; 3])]
        {
            press(key, &mut world.borrow_mut()).unwrap();
            assert_eq!(cut(), expected, "{key}");
        }
    }
}
