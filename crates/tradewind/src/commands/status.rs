//! `tradewind status`: whether a node is as it should be.

use super::{number, text};
use crate::cli::Context;
use crate::error::{Error, Result};
use crate::output::{bytes, count, duration_ms, record};
use serde_json::Value;

const EXAMPLES: &str = "\
Examples:
  tradewind status
  tradewind status -o json
  tradewind status >/dev/null || echo \"not as it should be: $?\"

Exits with 0 when the node is ready, 6 when it runs but something is not as it should be, 1 when
no node answers.";

/// Show whether the node is as it should be
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {}

/// Runs the command.
///
/// # Errors
/// [`Error::Degraded`], or those of the client.
pub(crate) fn run(_: &Options, context: &Context) -> Result<()> {
    let client = context.client()?;
    context.run(async {
        let status: Value = client.get("/v1/status").await?;
        let mut out = context.output();
        let state = text(&status, "state").to_owned();
        let problems = super::troubles(&status);
        let mut lines = vec![("state", out.style.state(&state))];
        for (index, problem) in problems.iter().enumerate() {
            lines.push((if index == 0 { "problems" } else { "" }, out.style.warn(problem)));
        }
        let free = bytes(number(&status, "disk_free_bytes"));
        lines.extend([
            ("node", client.url()),
            ("version", text(&status, "version").to_owned()),
            ("up for", duration_ms(number(&status, "uptime_ms"))),
            ("data", format!("{} ({free} free)", text(&status, "data_folder"))),
            ("streams", count(number(&status, "streams"))),
            ("sources", count(number(&status, "sources"))),
            ("projections", count(number(&status, "projections"))),
            ("parked", count(number(&status, "parked"))),
        ]);
        record(&lines, &status, &mut out)?;
        match state.as_str() {
            "ready" => Ok(()),
            _ if problems.is_empty() => Err(Error::Degraded(format!("the node is {state}"))),
            _ => Err(Error::Degraded(problems.join("; "))),
        }
    })
}
