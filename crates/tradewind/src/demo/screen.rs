//! The demo on a terminal: numbers, a curve, and the top rows of each view.

use super::lines::try_next;
use super::measure::{Measured, Shared};
use super::views::{ROWS, Rows};
use crate::error::Result;
use crate::output::count;
use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize as _};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Cell, Paragraph, Row, Sparkline, Table, Wrap};
use std::time::Duration;

/// How often the screen is drawn.
const EVERY: Duration = Duration::from_millis(200);

/// Gives the terminal back, however the demo ends.
struct Screen;

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Draws until a person wants it to end: with q, Escape or Ctrl-C.
pub(super) async fn show(url: &str, measured: &Shared) -> Result<()> {
    let mut terminal = ratatui::try_init()?;
    let _screen = Screen;
    let mut beats = tokio::time::interval(EVERY);
    loop {
        beats.tick().await;
        {
            let mut measured = measured.borrow_mut();
            measured.roll();
            terminal.draw(|frame| draw(frame, url, &measured))?;
        }
        while event::poll(Duration::ZERO)? {
            if let Event::Key(key) = event::read()?
                && key.kind == KeyEventKind::Press
            {
                let interrupt =
                    key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
                if interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
                    return Ok(());
                }
            }
        }
    }
}

fn draw(frame: &mut Frame<'_>, url: &str, measured: &Measured) {
    let [head, numbers, curve, views, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(6),
        Constraint::Length(5),
        Constraint::Min(ROWS as u16 + 3),
        Constraint::Length(8),
    ])
    .areas(frame.area());
    let title = Line::from(vec![
        Span::from(" tradewind demo ").bold().reversed(),
        Span::from(format!("  {url}   q ends it")).dim(),
    ]);
    frame.render_widget(title, head);
    draw_numbers(frame, numbers, measured);
    draw_curve(frame, curve, measured);
    let places: [Rect; 3] = Layout::horizontal([Constraint::Fill(1); 3]).spacing(1).areas(views);
    for (table, place) in measured.seen.tables.iter().zip(places) {
        draw_rows(frame, place, table);
    }
    let next = Paragraph::new(Text::from(try_next(url))).wrap(Wrap { trim: false });
    frame.render_widget(next.block(Block::bordered().title(" try next, in another terminal ").dim()), foot);
}

fn draw_numbers(frame: &mut Frame<'_>, place: Rect, measured: &Measured) {
    let seen = &measured.seen;
    let line = |name: &'static str, value: String| {
        Line::from(vec![Span::from(format!("{name:<22}")).dim(), Span::from(value).bold()])
    };
    let problems = match seen.problems.as_slice() {
        [] => line("problems", "none".to_owned()),
        problems => line("problems", problems.join("; ")).fg(Color::Red),
    };
    let lines = vec![
        line("events per second", count(measured.rate())),
        line("events in the log", count(seen.stored)),
        line("durable after", measured.appends.words()),
        line("in the views after", measured.visible.words()),
        line("views are behind", format!("{} events", count(seen.lag_events))),
        problems,
    ];
    frame.render_widget(Paragraph::new(lines), place);
}

fn draw_curve(frame: &mut Frame<'_>, place: Rect, measured: &Measured) {
    let width = usize::from(place.width);
    let latest: Vec<u64> = measured.per_second.iter().rev().take(width).rev().copied().collect();
    let block = Block::new().title(Span::from("events per second, a column a second").dim());
    frame.render_widget(
        Sparkline::default().data(latest).style(Style::new().fg(Color::Cyan)).block(block),
        place,
    );
}

fn draw_rows(frame: &mut Frame<'_>, place: Rect, table: &Rows) {
    let head = table.columns.iter().map(|name| Cell::from(*name).style(Modifier::BOLD));
    let rows = table.rows.iter().map(|row| Row::new(row.iter().map(|cell| Cell::from(cell.as_str()))));
    let widths = table.columns.iter().map(|_| Constraint::Fill(1));
    let widget = Table::new(rows, widths).header(Row::new(head));
    frame.render_widget(widget.block(Block::bordered().title(format!(" {} ", table.title))), place);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::views::Seen;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    #[test]
    fn numbers_and_top_rows_are_on_the_screen_and_a_small_one_is_no_error() {
        let shared = Measured::shared();
        shared.borrow_mut().wrote(100, Duration::from_millis(3), None);
        let rows = Rows { title: "revenue", columns: &["customer_id"], rows: vec![vec!["7".to_owned()]] };
        shared.borrow_mut().seen = Seen { tables: vec![rows], stored: 1_234_567, ..Seen::default() };
        for (width, height) in [(120, 40), (20, 5)] {
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            terminal.draw(|frame| draw(frame, "http://127.0.0.1:7070", &shared.borrow())).unwrap();
            let text = terminal.backend().to_string();
            if height == 40 {
                for part in ["1,234,567", "3.0 ms", "revenue", "customer_id", "try next"] {
                    assert!(text.contains(part), "{part} in {text}");
                }
            }
        }
    }
}
