//! The options of a region and its links.

use crate::link::inbound;
use crate::tls;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;
use tw_types::RegionId;

/// A region and its links.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// The number of the region: 1 to 65,535, given by an administrator, never to be used for another one. A log belongs to one region for ever.
    /// Default 0: this installation is the only one.
    pub id: RegionId,
    /// Where other regions connect, as `host:port`. Default `127.0.0.1:7079`.
    pub listen: String,
    /// The folder with `region.pem`, `region.key` and `ca.pem`. Default `region`.
    pub certificates: PathBuf,
    /// The regions of which this one takes what they accept.
    pub peers: Vec<PeerOptions>,
    /// How often a region says that it is there, if there is nothing else to say, in milliseconds: 10 to 60,000. Default 200.
    pub heartbeat_ms: u64,
    /// How long a peer may say nothing before the connection is given up, in milliseconds: 100 to 600,000, more than `heartbeat_ms`. Default
    /// 3,000.
    pub silent_ms_max: u64,
    /// How long a connection may take to begin, in milliseconds: 100 to 600,000. Default 10,000.
    pub handshake_ms_max: u64,
    /// How long to wait at most before a failed connection is tried again, in milliseconds: 100 to 600,000. Default 2,000.
    pub reconnect_ms_max: u64,
    /// Whether this region sends on to others what it takes from its peers, if they ask for it with `via`: regions that do not reach each other. It costs as much
    /// traffic as if it had accepted all of that itself. Default false.
    pub relays: bool,
    /// How many bytes per second are sent to each region that takes events from here, over all its connections together: 10,000 to
    /// 100,000,000,000; 0: as many as the line takes. Counted are compressed bytes, without what encryption adds; requests that are sent on to a home are not
    /// limited. Default 0.
    pub send_bytes_per_second_max: u64,
    /// How long nobody may hear of a region before it can be [evicted](../operations.md#a-region-that-is-gone), in milliseconds: 1,000 to 2,592,000,000 (30
    /// days). Default 86,400,000, a day.
    pub evict_after_ms: u64,
    /// Whether a region is evicted by itself after that time, if most of the others are reached and it is the home of nothing. Default false: a
    /// person decides.
    pub evicts_silent: bool,
    /// How often the certificates are looked at, in milliseconds: 100 to 86,400,000. Default 5,000.
    pub reload_ms: u64,
    /// What is held and appended of others.
    pub inbound: inbound::Options,
}

/// Another region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerOptions {
    /// Its number.
    pub id: RegionId,
    /// Where it listens, as `host:port`. Default: none, which needs `via`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub address: String,
    /// The number of another peer that has an `address` and relays this one, which is not reached from here: its events come by way of that one, which has to
    /// allow it with `relays`. Default: none, which needs an `address`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<RegionId>,
}

/// An option that is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("option `{option}` is `{value}`: {rule}")]
pub struct InvalidOption {
    /// The option's name.
    pub option: &'static str,
    /// The refused value.
    pub value: String,
    /// The rule.
    pub rule: &'static str,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            id: RegionId(0),
            listen: "127.0.0.1:7079".into(),
            certificates: PathBuf::from("region"),
            peers: Vec::new(),
            heartbeat_ms: 200,
            silent_ms_max: 3_000,
            handshake_ms_max: 10_000,
            reconnect_ms_max: 2_000,
            relays: false,
            send_bytes_per_second_max: 0,
            evict_after_ms: 86_400_000,
            evicts_silent: false,
            reload_ms: 5_000,
            inbound: inbound::Options::default(),
        }
    }
}

impl Options {
    /// Whether this installation is one of several regions.
    pub const fn is_region(&self) -> bool {
        self.id.0 != 0
    }

    /// Checks every bound.
    ///
    /// # Errors
    /// The first option that breaks a rule.
    pub fn check(&self) -> Result<(), InvalidOption> {
        for (option, value, min, max, rule) in [
            ("heartbeat_ms", self.heartbeat_ms, 10, 60_000, "it must be 10 to 60000 ms"),
            ("silent_ms_max", self.silent_ms_max, 100, 600_000, "it must be 100 to 600000 ms"),
            ("handshake_ms_max", self.handshake_ms_max, 100, 600_000, "it must be 100 to 600000 ms"),
            ("reconnect_ms_max", self.reconnect_ms_max, 100, 600_000, "it must be 100 to 600000 ms"),
            ("reload_ms", self.reload_ms, 100, 86_400_000, "it must be 100 to 86400000 ms"),
            ("evict_after_ms", self.evict_after_ms, 1_000, 2_592_000_000, "it must be 1000 to 2592000000 ms"),
        ] {
            if !(min..=max).contains(&value) {
                return Err(InvalidOption { option, value: value.to_string(), rule });
            }
        }
        let limit = self.send_bytes_per_second_max;
        if limit != 0 && !(10_000..=100_000_000_000).contains(&limit) {
            let rule = "it must be 10000 to 100000000000 bytes, or 0 for no limit";
            let (option, value) = ("send_bytes_per_second_max", limit.to_string());
            return Err(InvalidOption { option, value, rule });
        }
        if self.silent_ms_max <= self.heartbeat_ms {
            let rule = "it must be more than `heartbeat_ms`, or every connection is given up";
            return Err(InvalidOption {
                option: "silent_ms_max",
                value: self.silent_ms_max.to_string(),
                rule,
            });
        }
        let refused = |error: inbound::OptionsError| InvalidOption {
            option: "inbound",
            value: error.to_string(),
            rule: "each option of this table has bounds",
        };
        self.inbound.check().map_err(refused)?;
        let mut known = vec![self.id];
        for peer in &self.peers {
            let value = peer.id.to_string();
            if !self.is_region() {
                let rule = "a region without a number has no peers: give it an `id`";
                return Err(InvalidOption { option: "peers", value, rule });
            }
            if peer.id == RegionId(0) || known.contains(&peer.id) {
                let rule = "each peer has a number of its own, which is not 0 and not this region's";
                return Err(InvalidOption { option: "peers", value, rule });
            }
            self.check_way(peer)?;
            known.push(peer.id);
        }
        Ok(())
    }

    /// Checks how what a peer accepts comes here.
    fn check_way(&self, peer: &PeerOptions) -> Result<(), InvalidOption> {
        let refused = |value: String, rule| Err(InvalidOption { option: "peers", value, rule });
        let is_address = |address: &str| {
            let parts = address.rsplit_once(':');
            parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        let Some(via) = peer.via else {
            return match is_address(&peer.address) {
                true => Ok(()),
                false if peer.address.is_empty() => refused(
                    peer.id.to_string(),
                    "a peer has an `address`, or `via`: the number of another peer that relays it",
                ),
                false => refused(peer.address.clone(), "the address of a peer is `host:port`"),
            };
        };
        let value = format!("{} via {via}", peer.id);
        if !peer.address.is_empty() {
            let rule = "a peer is reached by its `address`, or comes by way of another one: leave out `address` or `via`";
            return refused(value, rule);
        }
        if via == self.id || via == peer.id {
            let rule = "`via` is another peer, neither the relayed one itself nor this region";
            return refused(value, rule);
        }
        match self.peers.iter().find(|one| one.id == via) {
            None => refused(value, "`via` is not among `peers`: name it there, with its `address`"),
            Some(relay) if relay.via.is_some() => refused(
                value,
                "`via` comes by way of another region itself: name the peer to which this region connects, which may have it by way of others",
            ),
            Some(_) => Ok(()),
        }
    }

    /// The peers to which this region connects.
    pub(crate) fn direct(&self) -> impl Iterator<Item = &PeerOptions> {
        self.peers.iter().filter(|peer| peer.via.is_none())
    }

    /// The peer to which this region connects to have the events of `peer`: that itself, or its relay.
    pub(crate) fn line<'a>(&'a self, peer: &'a PeerOptions) -> &'a PeerOptions {
        let relay = peer.via.and_then(|via| self.direct().find(|one| one.id == via));
        relay.unwrap_or(peer)
    }

    pub(crate) fn tls(&self) -> tls::Options {
        tls::Options { handshake_ms_max: self.handshake_ms_max }
    }

    pub(crate) fn heartbeat(&self) -> Duration {
        Duration::from_millis(self.heartbeat_ms)
    }

    pub(crate) fn silent_max(&self) -> Duration {
        Duration::from_millis(self.silent_ms_max)
    }

    pub(crate) fn handshake_max(&self) -> Duration {
        Duration::from_millis(self.handshake_ms_max)
    }

    pub(crate) fn reload_every(&self) -> Duration {
        Duration::from_millis(self.reload_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(options: &Options) -> String {
        options.check().unwrap_err().to_string()
    }

    #[test]
    fn what_breaks_a_rule_is_named_with_the_rule() {
        Options::default().check().unwrap();
        let peer = |id, address: &str| PeerOptions { id: RegionId(id), address: address.into(), via: None };
        let with = |id, peers| Options { id: RegionId(id), peers, ..Options::default() };
        with(1, vec![peer(2, "eu.example:7079"), peer(3, "[::1]:7079")]).check().unwrap();
        assert!(refused(&with(0, vec![peer(2, "a:1")])).contains("give it an `id`"));
        assert!(refused(&with(1, vec![peer(1, "a:1")])).contains("not this region's"));
        assert!(refused(&with(1, vec![peer(2, "a:1"), peer(2, "b:1")])).contains("of its own"));
        assert!(refused(&with(1, vec![peer(2, "nowhere")])).contains("host:port"));
        let via = |id, via, address: &str| PeerOptions { via: Some(RegionId(via)), ..peer(id, address) };
        let relayed = |id, through, address| {
            refused(&with(1, vec![via(id, through, address), peer(2, "a:1"), via(4, 2, "")]))
        };
        with(1, vec![via(3, 2, ""), peer(2, "a:1"), via(4, 2, "")]).check().unwrap();
        assert!(refused(&with(1, vec![peer(2, "")])).contains("an `address`, or `via`"));
        assert!(relayed(3, 2, "b:1").contains("leave out `address` or `via`"));
        assert!(relayed(3, 1, "").contains("neither the relayed one itself nor this region"));
        assert!(relayed(3, 3, "").contains("neither the relayed one itself nor this region"));
        assert!(relayed(3, 9, "").contains("not among `peers`"));
        assert!(relayed(3, 4, "").contains("to which this region connects"));
        let line = with(1, vec![via(3, 2, ""), peer(2, "a:1")]);
        assert_eq!(line.line(&line.peers[0]).address, "a:1");
        let hasty = Options { silent_ms_max: 200, ..Options::default() };
        assert!(refused(&hasty).contains("heartbeat_ms"));
        let limited = |limit| Options { send_bytes_per_second_max: limit, ..Options::default() };
        limited(10_000).check().unwrap();
        assert!(refused(&limited(9_999)).contains("0 for no limit"));
        let mut inbound = Options::default();
        inbound.inbound.retry_ms = 1;
        assert!(refused(&inbound).contains("retry_ms"));
    }
}
