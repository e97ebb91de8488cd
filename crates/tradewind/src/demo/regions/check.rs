//! Whether all regions hold the same: the writers pause, and the hashes are compared until they are equal.

use super::world::{Check, Shared};
use super::writer::STREAM;
use crate::client::Client;
use crate::commands::region::hashes::{Compared, ask};
use crate::error::Result;
use std::time::{Duration, Instant};

/// How often it is looked whether all writers rest.
const LOOK: Duration = Duration::from_millis(10);
/// How long after one comparison the next one begins.
const AGAIN: Duration = Duration::from_millis(250);

/// Has the writers pause, and waits until nothing is being written any more.
pub(super) async fn quiet(world: &Shared) {
    world.borrow_mut().pause(true);
    while !world.borrow().is_quiet() {
        tokio::time::sleep(LOOK).await;
    }
}

/// Compares until all regions hold the same, at most for `limit`; says whether they do. The writers rest afterwards, too.
///
/// # Errors
/// Those of the client.
pub(super) async fn until_equal(world: &Shared, limit: Option<Duration>) -> Result<bool> {
    quiet(world).await;
    world.borrow_mut().check = Check::Running;
    let urls: Vec<String> = world.borrow().regions.values().map(|region| region.url.clone()).collect();
    let clients = urls.iter().map(|url| Client::new(url)).collect::<Result<Vec<_>>>()?;
    let began = Instant::now();
    loop {
        // Nothing is written, so it does not matter that one is asked after the other.
        let mut held = Vec::new();
        for client in &clients {
            held.push(ask(client, Some(STREAM)).await?);
        }
        let compared = Compared::of(&held);
        let Some(why) = compared.why() else {
            world.borrow_mut().check = Check::equal(&compared, began.elapsed());
            return Ok(true);
        };
        world.borrow_mut().check = Check::Different(why);
        if limit.is_some_and(|limit| began.elapsed() >= limit) {
            return Ok(false);
        }
        tokio::time::sleep(AGAIN).await;
    }
}
