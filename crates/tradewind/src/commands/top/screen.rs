//! `tradewind top` on a terminal. It draws what [`super::board`] knows, and takes keys.

use super::board::{Board, Item, Order};
use super::{curves, look};
use crate::client::Client;
use crate::error::Result;
use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style, Stylize as _};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Table, Wrap};
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// How often keys are looked for.
const KEYS: Duration = Duration::from_millis(50);
/// How often the node is asked.
const LOOK: Duration = Duration::from_secs(1);
/// How often it is asked for curves, whose steps are no shorter.
const CURVES: Duration = Duration::from_secs(10);
/// From so many columns on there is room for sizes and remarks.
const WIDE: u16 = 110;
/// The heights of a curve, from nothing on.
const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Gives the terminal back, however this ends.
struct Screen;

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Draws until a person wants it to end: with q, Escape or Ctrl-C. While the node does not answer, what was seen last stays, and says so.
///
/// # Errors
/// Those of the terminal.
pub(super) async fn show(client: &Client, stream: Option<&str>, mut board: Board) -> Result<()> {
    let mut terminal = ratatui::try_init()?;
    let _screen = Screen;
    let mut timers = [KEYS, LOOK, CURVES].map(tokio::time::interval);
    timers.iter_mut().for_each(|timer| timer.set_missed_tick_behavior(MissedTickBehavior::Delay));
    let [keys, looks, curve_looks] = &mut timers;
    let (mut failed, mut skipped) = (None, 0);
    loop {
        terminal.draw(|frame| draw(frame, &client.url(), stream, &board, failed.as_deref(), &mut skipped))?;
        tokio::select! {
            _ = keys.tick() => {
                if pressed(&mut board, &mut skipped)? {
                    return Ok(());
                }
            }
            _ = looks.tick() => match look(client, stream).await {
                Ok(looked) => {
                    board.take(looked, tokio::time::Instant::now().into_std());
                    failed = None;
                }
                Err(error) => failed = Some(error.describe()),
            },
            _ = curve_looks.tick() => {
                // A node that keeps no history has none.
                if let Ok(curves) = curves(client, &board.series()).await {
                    board.take_curves(curves);
                }
            }
        }
    }
}

/// Takes what was pressed; whether it is the end.
fn pressed(board: &mut Board, skipped: &mut usize) -> Result<bool> {
    while event::poll(Duration::ZERO)? {
        let Event::Key(key) = event::read()? else { continue };
        if key.kind != KeyEventKind::Press {
            continue;
        }
        let interrupt = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            _ if interrupt => return Ok(true),
            KeyCode::Char('q') | KeyCode::Esc => return Ok(true),
            KeyCode::Char('r') => board.sort_by(Order::Rate),
            KeyCode::Char('l') => board.sort_by(Order::Lag),
            KeyCode::Char('n') => board.sort_by(Order::Name),
            KeyCode::Char('a') => board.toggle_all(),
            KeyCode::Char('j') | KeyCode::Down => *skipped += 1,
            KeyCode::Char('k') | KeyCode::Up => *skipped = skipped.saturating_sub(1),
            _ => {}
        }
    }
    Ok(false)
}

fn draw(
    frame: &mut Frame<'_>,
    url: &str,
    stream: Option<&str>,
    board: &Board,
    failed: Option<&str>,
    skipped: &mut usize,
) {
    let said: Vec<Line<'_>> = match failed {
        Some(error) => vec![Line::from(format!("no answer, this is old: {error}")).fg(Color::Red)],
        None => board.troubles().iter().map(|it| Line::from(it.as_str()).fg(Color::Yellow)).collect(),
    };
    let height = said.len().min(3) as u16;
    let [head, problems, table, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(height),
        Constraint::Min(2),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let about = stream.map_or_else(String::new, |stream| format!("  {stream}"));
    let title = vec![
        Span::from(" tradewind top ").bold().reversed(),
        Span::from(about).bold(),
        Span::from(format!("  {}  {url}", board.state())).dim(),
    ];
    frame.render_widget(Line::from(title), head);
    frame.render_widget(Paragraph::new(said).wrap(Wrap { trim: true }), problems);
    let all: Vec<&Item> = board.rows().collect();
    let shown = usize::from(table.height).saturating_sub(1);
    *skipped = (*skipped).min(all.len().saturating_sub(shown));
    let is_wide = table.width >= WIDE;
    frame.render_widget(lines(board, all.iter().skip(*skipped).take(shown).copied(), is_wide), table);
    let place = |order: Order, text: &'static str| {
        if board.order() == order { Span::from(text).bold().underlined() } else { Span::from(text).dim() }
    };
    let more = all.len().saturating_sub(*skipped + shown);
    let keys = vec![
        place(Order::Rate, "r rate"),
        "  ".into(),
        place(Order::Lag, "l lag"),
        "  ".into(),
        place(Order::Name, "n name"),
        "  a all  q ends it".dim(),
        Span::from(if more > 0 { format!("  {more} more below: j, k") } else { String::new() }).dim(),
    ];
    frame.render_widget(Line::from(keys), foot);
}

fn lines<'a>(board: &'a Board, items: impl Iterator<Item = &'a Item>, is_wide: bool) -> Table<'a> {
    let rows = items.map(|item| {
        let [kind, name, state, rate, lag, events, size, note] = item.cells();
        let state = if item.is_bad() { Span::from(state).fg(Color::Red).bold() } else { Span::from(state) };
        let right = |text: String| Cell::from(Line::from(text).right_aligned());
        let note = Span::from(note).fg(Color::Yellow);
        // Where there is little room, what is said of a thing is beside its name.
        let (name, more) = if is_wide {
            (Line::from(name), vec![right(size), Cell::from(note)])
        } else {
            (Line::from(vec![Span::from(name), " ".into(), note]), Vec::new())
        };
        let cells = [
            Cell::from(Span::from(kind).dim()),
            Cell::from(name),
            Cell::from(state),
            right(rate),
            Cell::from(Span::from(bars(board.curve(item))).fg(Color::Cyan)),
            right(lag),
            right(events),
        ];
        Row::new(cells.into_iter().chain(more))
    });
    let mut widths = [10, 0, 8, 8, 10, 9, 8].map(Constraint::Length).to_vec();
    let mut head = vec!["", "name", "state", "events/s", "10 min", "lag", "events"];
    if let Some(name) = widths.get_mut(1) {
        *name = Constraint::Fill(2);
    }
    if is_wide {
        widths.extend([Constraint::Length(9), Constraint::Fill(1)]);
        head.extend(["size", ""]);
    }
    let head = head.into_iter().map(|text| match text {
        "events/s" | "lag" | "events" | "size" => Cell::from(Line::from(text).right_aligned()),
        text => Cell::from(text),
    });
    let head = Row::new(head).style(Style::new().add_modifier(Modifier::BOLD));
    Table::new(rows, widths).column_spacing(1).header(head)
}

/// A curve of at most ten columns: the latest ones, the highest one full.
fn bars(points: &[(u64, f64)]) -> String {
    let latest: Vec<f64> = points.iter().rev().take(10).rev().map(|(_, mean)| *mean).collect();
    let most = latest.iter().copied().fold(0.0, f64::max);
    let bar = |mean: &f64| {
        // Something is never drawn as nothing.
        let height = if *mean > 0.0 { (mean / most * 8.0).ceil() as usize } else { 0 };
        BARS.get(height).copied().unwrap_or('█')
    };
    latest.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::top::Looked;
    use crate::commands::top::board::Kind;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use std::time::Instant;

    #[test]
    fn lines_with_their_numbers_fit_80_columns_and_a_small_screen_is_no_error() {
        let mut board = Board::new(Order::Rate, false);
        let items = vec![
            Item { rate: Some(1_234.4), bytes: Some(5 << 20), ..Item::new(Kind::Stream, "shop.orders") },
            Item {
                state: "failed".into(),
                lag_ms: Some(61_000),
                lag_events: Some(4_321),
                note: "2 parked".into(),
                ..Item::new(Kind::Projection, "revenue")
            },
        ];
        let troubles = vec!["projection `revenue`: it has failed".to_owned()];
        board.take(Looked { state: "degraded".into(), troubles, items }, Instant::now());
        board.take_curves(vec![(
            "stream_events_per_second/shop.orders".into(),
            vec![(1, 0.0), (2, 5.0), (3, 10.0)],
        )]);
        for (width, height) in [(80, 12), (120, 12), (20, 4), (5, 1)] {
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            let mut skipped = 7;
            terminal
                .draw(|frame| draw(frame, "http://127.0.0.1:7070", None, &board, None, &mut skipped))
                .unwrap();
            assert!(height < 12 || skipped == 0, "there is no more to skip");
            let text = terminal.backend().to_string();
            if width >= 80 {
                for part in [
                    "shop.orders",
                    "1,234",
                    "▄█",
                    "revenue",
                    "failed",
                    "1 min 1 s",
                    "4,321",
                    "2 parked",
                    "degraded",
                    "q ends it",
                ] {
                    assert!(text.contains(part), "{part} in\n{text}");
                }
            }
        }
    }

    #[test]
    fn whatever_happened_is_seen_in_a_curve() {
        assert_eq!(bars(&[]), "");
        assert_eq!(bars(&[(1, 0.0), (2, 0.001), (3, 1_000.0)]), " ▁█");
    }
}
