//! A merged row as it is in the log now: what its view has, and the changes that came since.

use crate::core::Core;
use crate::parts::problem::of_project;
use std::sync::Arc;
use tw_api::{Code, Problem};
use tw_project::MergedRow;
use tw_types::{Stored, StreamDef, Version};

/// How many of the latest changes are read first; then more, as long as the view has none of them.
const LATEST: u64 = 16;
/// How many changes a view may be behind with a row that is asked.
const BEHIND_MAX: u64 = 65_536;

/// Lets something look at a row, and says which version the row has then.
///
/// # Errors
/// The row cannot be read; a change of it is not one; its view is far behind.
pub(crate) async fn with<T: Send + 'static>(
    core: &Arc<Core>,
    stream: &Arc<StreamDef>,
    subject: &str,
    look: impl FnOnce(&mut MergedRow) -> T + Send + 'static,
) -> Result<(T, Version), Problem> {
    let version = core.events.version(stream.id, subject).await?;
    let (engine, def, name) = (core.engine.clone(), stream.clone(), subject.to_owned());
    let row = tokio::task::spawn_blocking(move || engine.merged_row(&def, &name)).await;
    let mut row = row.map_err(interrupted)?.map_err(of_project)?;
    let since = since(core, stream, subject, version, &row).await?;
    let name = format!("row `{subject}` of `{}`", stream.name);
    // What regions have seen is looked up in the log.
    let looked = tokio::task::spawn_blocking(move || {
        for change in since.iter().rev() {
            row.take(change).map_err(|why| {
                let detail = format!(
                    "{name} has a change that cannot be read, and is parked ({why}): decide about it first, see `tradewind parked list`"
                );
                Problem::new(Code::WrongState, detail)
            })?;
        }
        Ok::<T, Problem>(look(&mut row))
    });
    Ok((looked.await.map_err(interrupted)??, version))
}

fn interrupted(error: tokio::task::JoinError) -> Problem {
    Problem::new(Code::Internal, format!("reading a row was interrupted: {error}"))
}

/// The changes up to a version that the view does not have, the latest one first.
async fn since(
    core: &Core,
    stream: &StreamDef,
    subject: &str,
    version: Version,
    row: &MergedRow,
) -> Result<Vec<Stored>, Problem> {
    let (mut since, mut until, mut count) = (Vec::new(), version.0, LATEST);
    while until > 0 {
        let from = until.saturating_sub(count) + 1;
        for change in range(core, stream, subject, from, until).await?.into_iter().rev() {
            if row.holds(&change) {
                return Ok(since);
            }
            since.push(change);
        }
        if since.len() as u64 >= BEHIND_MAX {
            let detail = format!(
                "the table `{}` is more than {BEHIND_MAX} changes of `{subject}` behind: try again when it has caught up",
                stream.name
            );
            return Err(Problem::new(Code::NotReady, detail));
        }
        (until, count) = (from - 1, count * 2);
    }
    Ok(since)
}

/// The changes with these versions, in their order.
async fn range(
    core: &Core,
    stream: &StreamDef,
    subject: &str,
    from: u64,
    until: u64,
) -> Result<Vec<Stored>, Problem> {
    let (mut changes, mut next): (Vec<Stored>, u64) = (Vec::new(), from);
    while next <= until {
        let limit = (until - next + 1) as usize;
        let page = core.events.history(stream.id, subject, Version(next), limit).await?;
        let Some(last) = page.last() else { break };
        next = last.version.0 + 1;
        changes.extend(page);
    }
    Ok(changes)
}
