//! Colours: few, and readable on light and dark terminals alike.

use nu_ansi_term::{Color, Style as Ansi};
use std::fmt::Display;

/// Paints texts, or leaves them as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    on: bool,
}

impl Style {
    /// A style that paints, or one that does not.
    pub(crate) fn new(on: bool) -> Self {
        Self { on }
    }

    /// Whether it paints.
    pub(crate) fn is_on(self) -> bool {
        self.on
    }

    fn paint(self, style: Ansi, text: impl Display) -> String {
        if self.on { style.paint(text.to_string()).to_string() } else { text.to_string() }
    }

    /// Headings and names.
    pub(crate) fn strong(self, text: impl Display) -> String {
        self.paint(Ansi::new().bold(), text)
    }

    /// What is there but does not matter now.
    pub(crate) fn dim(self, text: impl Display) -> String {
        self.paint(Ansi::new().dimmed(), text)
    }

    /// As it should be.
    pub(crate) fn good(self, text: impl Display) -> String {
        self.paint(Color::Green.normal(), text)
    }

    /// Worth a look.
    pub(crate) fn warn(self, text: impl Display) -> String {
        self.paint(Color::Yellow.normal(), text)
    }

    /// Wrong.
    pub(crate) fn bad(self, text: impl Display) -> String {
        self.paint(Color::Red.bold(), text)
    }

    /// One of several things, each in a colour of its own as far as there are some; its name says which it is, too.
    pub(crate) fn nth(self, index: usize, text: impl Display) -> String {
        const COLOURS: [Color; 5] = [Color::Cyan, Color::Purple, Color::Green, Color::Yellow, Color::Blue];
        let colour = COLOURS.get(index % COLOURS.len()).copied().unwrap_or(Color::Cyan);
        self.paint(colour.normal(), text)
    }

    /// A state, by what it says.
    pub(crate) fn state(self, state: &str) -> String {
        match state {
            "running" | "streaming" | "ready" | "in-sync" => self.good(state),
            "failed" | "stopped" | "down" | "parked" => self.bad(state),
            "degraded" | "paused" | "retrying" | "catching-up" | "quarantined" => self.warn(state),
            _ => state.to_owned(),
        }
    }
}
