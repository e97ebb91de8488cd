//! What happens where nobody sits at the keys: a link is cut, healed, and in the end all regions hold the same.

use super::check::{quiet, until_equal};
use super::world::Shared;
use crate::error::{Error, Result};
use crate::output::count;
use std::time::Duration;

/// How long regions may take to become the same once nothing is written any more and all links are whole.
const EQUAL_MAX: Duration = Duration::from_secs(60);
/// The link that is cut.
const LINK: (u16, u16) = (1, 2);

/// Plays the script within so many seconds, and then compares; without a number, it waits for ever.
///
/// # Errors
/// [`Error::Degraded`] when the regions do not become the same, and those of the client.
pub(super) async fn run(seconds: Option<u64>, world: Shared) -> Result<()> {
    let Some(seconds) = seconds else { return std::future::pending().await };
    let third = Duration::from_secs(seconds) / 3;
    tokio::time::sleep(third).await;
    world.borrow_mut().cut(true, |pair| pair == LINK)?;
    tokio::time::sleep(third).await;
    world.borrow_mut().cut(false, |_| true)?;
    tokio::time::sleep(third).await;
    quiet(&world).await;
    let accepted: u64 = world.borrow().regions.values().map(|region| region.accepted).sum();
    let accepted = count(accepted);
    world
        .borrow_mut()
        .tell(format!("the writers have stopped; {accepted} events were accepted in this run"))?;
    let is_equal = until_equal(&world, Some(EQUAL_MAX)).await?;
    let words = world.borrow().check.words();
    if !is_equal {
        return Err(Error::Degraded(words));
    }
    world.borrow_mut().tell(words)
}
