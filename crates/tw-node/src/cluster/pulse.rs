//! Whether this node reaches the servers of the log.
//!
//! A node that reaches etcd and the other nodes, but not the log, would keep partitions that nobody can write. It asks the log
//! for a sign of life, says so when there is none, and the others take that for silence ([`super::probes`]).

use crate::core::Core;
use std::sync::Weak;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tw_log::CONFIG_PARTITION;

/// How many signs of life are asked for in the time that the log may be silent.
const BEATS: u64 = 5;

/// When the log was heard of last.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    /// In milliseconds of the clock that only rises; 0: it is not asked.
    heard_ms: AtomicU64,
    silent_ms_max: AtomicU64,
}

impl Pulse {
    /// How long the log has been silent, in milliseconds, if that is too long.
    pub(crate) fn silent_ms(&self, now: Duration) -> Option<u64> {
        let heard_ms = self.heard_ms.load(Ordering::Relaxed);
        let silent_ms = millis(now).saturating_sub(heard_ms);
        (heard_ms > 0 && silent_ms > self.silent_ms_max.load(Ordering::Relaxed)).then_some(silent_ms)
    }

    fn hear(&self, now: Duration) {
        self.heard_ms.store(millis(now).max(1), Ordering::Relaxed);
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Asks the log for signs of life, until the node is gone.
pub(super) async fn beat(core: Weak<Core>, silent_ms_max: u64) {
    let limit = Duration::from_millis(silent_ms_max);
    let Some(first) = core.upgrade() else { return };
    first.cluster.pulse().silent_ms_max.store(silent_ms_max, Ordering::Relaxed);
    first.cluster.pulse().hear(first.env.clock.monotonic());
    drop(first);
    loop {
        let Some((log, clock)) = core.upgrade().map(|core| (core.log.clone(), core.env.clock.clone())) else {
            return;
        };
        // The end of a partition that every log has, as its servers know it now.
        match tokio::time::timeout(limit, log.refresh(&[CONFIG_PARTITION])).await {
            Ok(Ok(())) => {
                let Some(core) = core.upgrade() else { return };
                core.cluster.pulse().hear(clock.monotonic());
            }
            Ok(Err(error)) => {
                tracing::debug!(error = tw_types::chain(&error), "the log gives no sign of life");
            }
            Err(_) => tracing::debug!("the log gives no sign of life in time"),
        }
        drop(log);
        tokio::time::sleep(limit / BEATS as u32).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_is_not_asked_is_not_silent_and_one_that_is_asked_may_be_for_its_time() {
        let pulse = Pulse::default();
        let at = Duration::from_millis;
        assert_eq!(pulse.silent_ms(at(1_000_000)), None);
        pulse.silent_ms_max.store(5_000, Ordering::Relaxed);
        pulse.hear(at(0));
        assert_eq!((pulse.silent_ms(at(5_000)), pulse.silent_ms(at(5_002))), (None, Some(5_001)));
        pulse.hear(at(6_000));
        assert_eq!(pulse.silent_ms(at(11_000)), None);
    }
}
