//! How busy this node is, told to the others now and then.

use crate::core::Core;
use std::sync::Weak;
use std::time::Duration;
use tw_cluster::Load;

/// The memory of this machine; None where the system does not say.
pub(crate) fn memory_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = total.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib << 10)
}

/// The processor time that this process has used, in clock ticks of a hundredth of a second, and its memory in bytes.
fn used() -> Option<(u64, u64)> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the name in parentheses, and may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    let pages: u64 = fields.get(21)?.parse().ok()?;
    Some((ticks, pages * rustix::param::page_size() as u64))
}

/// Tells how busy the node is, and weighs all partitions, until it is gone.
pub(crate) async fn tell(core: Weak<Core>, every_ms: u64) {
    let every = Duration::from_millis(every_ms);
    let mut before = used().map(|(ticks, _)| ticks);
    loop {
        tokio::time::sleep(every).await;
        let Some(core) = core.upgrade() else { return };
        let (Some(owners), Some(host)) = (core.cluster.owners(), core.cluster.host()) else { return };
        host.weigh(&core);
        // What is not known is not told.
        let Some((ticks, memory_bytes)) = used() else { continue };
        let Some(spent) = before.replace(ticks).map(|before| ticks.saturating_sub(before)) else { continue };
        let views = core.workers.status();
        let lag_events = views.iter().flat_map(|view| &view.partitions).map(|part| part.lag_events).sum();
        let load = Load {
            // Ticks are hundredths of a second: ten milliseconds each.
            cpu_millicores: spent * 10 * 1_000 / every_ms.max(1),
            memory_bytes,
            in_flight: core.options.requests().into(),
            queued_writes: core.events.waiting() as u64,
            lag_events,
            at_ms: 0,
        };
        if let Err(error) = owners.report(&load).await {
            tracing::debug!(%error, "the load was not told");
        }
    }
}
