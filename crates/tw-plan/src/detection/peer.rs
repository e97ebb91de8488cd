//! What is known of one other node.

use super::{Options, Probe};

/// Another node, in one of its incarnations.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) incarnation: u64,
    pub(super) rtt_ms: Option<u32>,
    /// When it was heard of last; at first, when it was heard of at all.
    heard_ms: u64,
    /// How many probes in a row were refused.
    refused: u32,
    /// How many have brought nothing since it was heard of.
    vain: u32,
    probe_at_ms: u64,
    /// Since when a probe has been under way.
    asked_ms: Option<u64>,
}

impl Peer {
    pub(super) fn new(incarnation: u64, now_ms: u64) -> Self {
        Self {
            incarnation,
            rtt_ms: None,
            heard_ms: now_ms,
            refused: 0,
            vain: 0,
            probe_at_ms: now_ms,
            asked_ms: None,
        }
    }

    /// Forgets what speaks against it.
    pub(super) fn begin_anew(&mut self, now_ms: u64) {
        *self = Self { rtt_ms: self.rtt_ms, ..Self::new(self.incarnation, now_ms) };
    }

    pub(super) fn probed(&mut self, probe: Probe, now_ms: u64) {
        self.asked_ms = None;
        match probe {
            Probe::Answered { rtt_ms } => {
                (self.heard_ms, self.refused, self.vain) = (now_ms, 0, 0);
                self.rtt_ms = Some(rtt_ms);
            }
            Probe::Refused => {
                self.refused += 1;
                self.vain += 1;
            }
            Probe::Silent => {
                self.refused = 0;
                self.vain += 1;
            }
        }
    }

    /// Whether it is to be probed now, which is noted. One probe is under way at a time; one that is never answered for is
    /// given up.
    pub(super) fn is_to_be_probed(&mut self, now_ms: u64, options: &Options) -> bool {
        let is_waiting = self.asked_ms.is_some_and(|asked_ms| now_ms < asked_ms + 2 * options.probe_ms_max);
        if is_waiting || now_ms < self.probe_at_ms {
            return false;
        }
        (self.asked_ms, self.probe_at_ms) = (Some(now_ms), now_ms + options.probe_ms);
        true
    }

    pub(super) fn is_suspected(&self, now_ms: u64, options: &Options) -> bool {
        // Time alone says nothing: it has to have been asked.
        let is_silent = self.vain >= 2 && now_ms >= self.heard_ms + options.silent_ms_max;
        is_silent || self.refused >= options.refused_max
    }

    pub(super) fn wake_at_ms(&self, options: &Options) -> u64 {
        let probe_at_ms = match self.asked_ms {
            Some(asked_ms) => asked_ms + 2 * options.probe_ms_max,
            None => self.probe_at_ms,
        };
        let silent_at_ms = self.heard_ms + options.silent_ms_max;
        if self.vain > 0 { probe_at_ms.min(silent_at_ms) } else { probe_at_ms }
    }
}
