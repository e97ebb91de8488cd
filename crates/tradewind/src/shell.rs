//! The interactive shell of `tradewind sql`: history, completion, statements over several lines, and a few commands that
//! start with a backslash, as psql has them.

mod editor;
mod history;
mod meta;
mod names;

use crate::cli::Context;
use crate::client::Client;
use crate::commands::sql::{self, Settings, Statement};
use crate::error::{Error, Result};
use crate::output::{Output, note, stderr_style};
use crate::statements;
use editor::Editor;
use meta::Meta;
use names::Names;
use std::io::Write as _;

/// Runs the shell until it is left.
///
/// # Errors
/// When no node answers at first, or the terminal is gone; a statement that fails ends nothing.
pub(crate) fn run(client: &Client, settings: Settings, context: &Context) -> Result<()> {
    let out = context.output();
    let mut shell = Shell { client, settings, out, names: Names::default(), last: None };
    let greeting = context.run(async {
        let status: serde_json::Value = client.get("/v1/status").await?;
        Ok(format!("tradewind {} at {}", crate::commands::text(&status, "version"), client.url()))
    })?;
    note(format_args!("{greeting}  \\? for help, \\q or Ctrl-D to leave"));
    let mut editor = Editor::open(shell.names.clone());
    context.run(async {
        shell.learn().await;
        while let Some(text) = editor.read()? {
            match shell.input(&text).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) if error.is_closed_pipe() => return Err(error),
                Err(error) => tell(&error),
            }
        }
        Ok(())
    })
}

fn tell(error: &Error) {
    let style = stderr_style();
    let mut stderr = std::io::stderr().lock();
    // A shell that cannot say what is wrong goes on all the same.
    let _unheard = writeln!(stderr, "{} {}", style.bad("error:"), error.describe());
    if let Some(hint) = error.hint() {
        let _unheard = writeln!(stderr, "{} {hint}", style.strong("hint:"));
    }
}

struct Shell<'a> {
    client: &'a Client,
    settings: Settings,
    out: Output,
    names: Names,
    /// The statement before, which `\watch` repeats.
    last: Option<String>,
}

impl Shell<'_> {
    /// Does what was typed; false ends the shell.
    async fn input(&mut self, text: &str) -> Result<bool> {
        if let Some(command) = text.trim().strip_prefix('\\') {
            return self.meta(meta::parse(command).map_err(Error::Usage)?).await;
        }
        self.statements(text).await?;
        Ok(true)
    }

    async fn statements(&mut self, text: &str) -> Result<()> {
        let split = statements::split(text);
        let rest = Some(split.rest).filter(|rest| !rest.is_empty());
        for sql in split.complete.into_iter().chain(rest) {
            self.statement(sql).await?;
        }
        Ok(())
    }

    /// Carries out a statement; Ctrl-C stops it.
    async fn statement(&mut self, sql: &str) -> Result<()> {
        self.last = Some(sql.to_owned());
        let params = Vec::new();
        let statement = Statement { sql, params: &params };
        tokio::select! {
            outcome = sql::execute(self.client, statement, &self.settings, &mut self.out) => outcome?,
            _ = tokio::signal::ctrl_c() => {
                self.out.flush()?;
                note("stopped");
                return Ok(());
            }
        }
        if changes_names(sql) {
            self.learn().await;
        }
        Ok(())
    }

    /// Asks the node for names to complete. Without them the shell works as well.
    async fn learn(&self) {
        if let Err(error) = self.names.learn(self.client).await
            && !matches!(error, Error::Problem(_))
        {
            note(format_args!("no names to complete: {}", error.describe()));
        }
    }

    async fn meta(&mut self, meta: Meta) -> Result<bool> {
        match meta {
            Meta::Quit => return Ok(false),
            Meta::Help => {
                self.out.line(meta::HELP)?;
                self.out.flush()?;
            }
            Meta::Describe(None) => {
                self.statement("SHOW STREAMS").await?;
                self.statement("SHOW PROJECTIONS").await?;
            }
            Meta::Describe(Some(name)) => self.statement(&format!("DESCRIBE {name}")).await?,
            Meta::Projections => self.statement("SHOW PROJECTIONS").await?,
            Meta::Sources => self.statement("SHOW SOURCES").await?,
            Meta::Expanded(expanded) => {
                self.settings.expanded = meta::next(self.settings.expanded, expanded);
                note(format_args!("expanded: {}", meta::name(self.settings.expanded)));
            }
            Meta::Timing => {
                self.settings.timing = !self.settings.timing;
                note(format_args!("timing: {}", if self.settings.timing { "on" } else { "off" }));
            }
            Meta::Format(format) => self.out.format = format,
            Meta::Include(path) => {
                let text = std::fs::read_to_string(&path).map_err(|source| Error::File {
                    action: "read",
                    path: path.clone(),
                    source,
                })?;
                self.statements(&text).await?;
            }
            Meta::Watch(every) => {
                let Some(last) = self.last.clone() else {
                    return Err(Error::Usage("there is no statement to repeat yet".to_owned()));
                };
                let params = Vec::new();
                let statement = Statement { sql: &last, params: &params };
                sql::watch(self.client, statement, &self.settings, every, &mut self.out).await?;
            }
        }
        Ok(true)
    }
}

/// Whether a statement may have made or removed a name.
fn changes_names(sql: &str) -> bool {
    let word = sql.split_whitespace().next().unwrap_or_default();
    ["create", "drop", "alter"].iter().any(|verb| word.eq_ignore_ascii_case(verb))
}
