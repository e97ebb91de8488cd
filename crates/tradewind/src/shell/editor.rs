//! The line editor.

use super::history::Careful;
use super::names::{KEYWORDS, Names};
use crate::error::Result;
use crate::output::stderr_style;
use crate::statements;
use nu_ansi_term::{Color, Style};
use reedline::{
    ColumnarMenu, DefaultHinter, EditCommand, Emacs, Highlighter, KeyCode, KeyModifiers, MenuBuilder as _,
    Prompt, PromptEditMode, PromptHistorySearch, Reedline, ReedlineEvent, ReedlineMenu, Signal, StyledText,
    ValidationResult, Validator, default_emacs_keybindings,
};
use std::borrow::Cow;

const MENU: &str = "names";

/// Reads statements from the terminal.
pub(super) struct Editor(Reedline);

impl Editor {
    /// An editor that completes `names`.
    pub(super) fn open(names: Names) -> Self {
        let mut keys = default_emacs_keybindings();
        let complete = vec![ReedlineEvent::Menu(MENU.to_owned()), ReedlineEvent::MenuNext];
        keys.add_binding(KeyModifiers::NONE, KeyCode::Tab, ReedlineEvent::UntilFound(complete));
        let line = ReedlineEvent::Edit(vec![EditCommand::InsertNewline]);
        keys.add_binding(KeyModifiers::ALT, KeyCode::Enter, line);
        let menu = Box::new(ColumnarMenu::default().with_name(MENU));
        let colours = stderr_style() != crate::output::Style::new(false);
        let mut editor = Reedline::create()
            .with_completer(Box::new(names))
            .with_menu(ReedlineMenu::EngineCompleter(menu))
            .with_quick_completions(true)
            .with_partial_completions(true)
            .with_edit_mode(Box::new(Emacs::new(keys)))
            .with_validator(Box::new(Complete))
            .with_highlighter(Box::new(Keywords))
            .with_hinter(Box::new(DefaultHinter::default().with_style(Style::new().dimmed())))
            .with_ansi_colors(colours)
            .use_bracketed_paste(true);
        if let Some(history) = Careful::open() {
            editor = editor.with_history(Box::new(history));
        }
        Self(editor)
    }

    /// What was typed; None when the shell is to be left. Ctrl-C drops what was typed.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(super) fn read(&mut self) -> Result<Option<String>> {
        loop {
            match self.0.read_line(&TheirPrompt)? {
                Signal::Success(text) if text.trim().is_empty() => {}
                Signal::Success(text) => return Ok(Some(text)),
                Signal::CtrlD => return Ok(None),
                _ => {}
            }
        }
    }
}

/// Whether a statement is complete: it ends with a semicolon, or is a command of the shell.
struct Complete;

impl Validator for Complete {
    fn validate(&self, text: &str) -> ValidationResult {
        let trimmed = text.trim();
        let split = statements::split(text);
        if trimmed.is_empty() || trimmed.starts_with('\\') || split.rest.is_empty() && !split.open {
            ValidationResult::Complete
        } else {
            ValidationResult::Incomplete
        }
    }
}

/// Shows which words are keywords.
struct Keywords;

impl Highlighter for Keywords {
    fn highlight(&self, text: &str, _cursor: usize) -> StyledText {
        let mut styled = StyledText::new();
        let keyword = Color::Blue.bold();
        let mut rest = text;
        while !rest.is_empty() {
            let in_word = |c: char| c.is_alphanumeric() || c == '_';
            let is_word = rest.starts_with(in_word);
            let end = rest.find(|c| in_word(c) != is_word).unwrap_or(rest.len());
            let (word, tail) = rest.split_at(end);
            let known = is_word && KEYWORDS.iter().any(|keyword| keyword.eq_ignore_ascii_case(word));
            styled.push((if known { keyword } else { Style::new() }, word.to_owned()));
            rest = tail;
        }
        styled
    }
}

/// `tradewind> `, and on further lines as much space.
struct TheirPrompt;

impl Prompt for TheirPrompt {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        "tradewind".into()
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        "".into()
    }

    fn render_prompt_indicator(&self, _mode: PromptEditMode) -> Cow<'_, str> {
        "> ".into()
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        "        -> ".into()
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        format!("(search `{}`) ", search.term).into()
    }

    fn get_prompt_color(&self) -> reedline::Color {
        reedline::Color::Default
    }

    fn get_indicator_color(&self) -> reedline::Color {
        reedline::Color::Default
    }
}
