//! The history of the shell: a file of the user's own, in which no passwords are.

use reedline::{
    FileBackedHistory, History, HistoryItem, HistoryItemId, HistorySessionId, Result, SearchQuery,
};
use std::path::PathBuf;

/// How many statements are remembered.
const STATEMENTS_MAX: usize = 2_000;

/// Remembers statements, except those that seem to hold a password.
pub(super) struct Careful(FileBackedHistory);

impl Careful {
    /// The history in the user's file; in memory only, where there is none.
    pub(super) fn open() -> Option<Self> {
        let kept = file().and_then(|file| FileBackedHistory::with_file(STATEMENTS_MAX, file).ok());
        Some(Self(match kept {
            Some(kept) => kept,
            None => FileBackedHistory::new(STATEMENTS_MAX).ok()?,
        }))
    }
}

/// `$XDG_STATE_HOME/tradewind/history`, by default below `~/.local/state`: XDG Base Directory Specification 0.8.
fn file() -> Option<PathBuf> {
    let folder = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")))?;
    Some(state.join("tradewind").join("history"))
}

/// Whether a statement seems to hold a password: as an option, or within an address.
fn holds_password(text: &str) -> bool {
    let lower = text.to_lowercase();
    let in_address = lower.match_indices("://").any(|(at, _)| {
        let rest = lower.get(at + 3..).unwrap_or_default();
        let authority = rest.split(['/', '\'', '"', ' ', '?']).next().unwrap_or_default();
        authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
    });
    in_address || lower.contains("password")
}

impl History for Careful {
    fn save(&mut self, item: HistoryItem) -> Result<HistoryItem> {
        if holds_password(&item.command_line) {
            return Ok(item);
        }
        self.0.save(item)
    }

    fn load(&self, id: HistoryItemId) -> Result<HistoryItem> {
        self.0.load(id)
    }

    fn count(&self, query: SearchQuery) -> Result<i64> {
        self.0.count(query)
    }

    fn search(&self, query: SearchQuery) -> Result<Vec<HistoryItem>> {
        self.0.search(query)
    }

    fn update(&mut self, id: HistoryItemId, updater: &dyn Fn(HistoryItem) -> HistoryItem) -> Result<()> {
        self.0.update(id, updater)
    }

    fn clear(&mut self) -> Result<()> {
        self.0.clear()
    }

    fn delete(&mut self, id: HistoryItemId) -> Result<()> {
        self.0.delete(id)
    }

    fn sync(&mut self) -> std::io::Result<()> {
        self.0.sync()
    }

    fn session(&self) -> Option<HistorySessionId> {
        self.0.session()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_with_a_password_are_not_remembered() {
        let mut history = Careful(FileBackedHistory::new(10).unwrap());
        for sql in [
            "SELECT 1",
            "CREATE SOURCE a FROM POSTGRES 'postgres://u:p@h/db' TABLES (t)",
            "CREATE SOURCE a FROM POSTGRES 'postgres://u@h/db' TABLES (t)",
            "CREATE SOURCE a FROM POSTGRES 'postgres://u@h/db' TABLES (t) WITH (PASSWORD = 'x')",
        ] {
            history.save(HistoryItem::from_command_line(sql)).unwrap();
        }
        assert_eq!(history.count_all().unwrap(), 2);
    }
}
