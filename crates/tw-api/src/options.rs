//! What can be configured, with its bounds.

mod overload;

pub use overload::OverloadOptions;

use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;
use tw_wire::cloudevents::Limits;

/// The options of the HTTP interface. Every number has a bound, which [`Options::check`] enforces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// The address and port to listen on; port 0 takes a free one. Default `127.0.0.1:7070`.
    pub listen: SocketAddr,
    /// Allows an address that other machines can reach, although requests are not authenticated. Default false.
    pub insecure_no_auth: bool,
    /// Names by which clients may call this server, besides `localhost` and addresses. Default none.
    pub hosts: Vec<String>,
    /// How many connections may be open; further ones wait. 1 to 100,000, default 4,096.
    pub connections_max: u32,
    /// How many requests may be under way; further ones are refused with 503. Those that other nodes send here are counted by
    /// themselves. 1 to 100,000, default 4,096.
    pub requests_max: u32,
    /// How many `text/event-stream` readers there may be; further ones are refused with 429. 1 to 100,000, default 512.
    pub readers_max: u32,
    /// The longest header section of a request, in bytes. 8 KiB to 1 MiB, default 64 KiB.
    pub header_bytes_max: u32,
    /// How many headers a request may have. 10 to 1,000, default 128.
    pub headers_max: u32,
    /// The longest body of a request, in bytes. 1 KiB to 60 MiB, default 16 MiB.
    pub body_bytes_max: u32,
    /// How many bytes the bodies of all requests under way may have together; further ones wait, and are refused with 503
    /// if that takes `body_timeout_ms`, or if they do not say how long they are. Bodies up to 64 KiB are not counted.
    /// `body_bytes_max` to 4 GiB, default 256 MiB.
    pub body_bytes_total_max: u32,
    /// How many events one request may append. 1 to 1,000,000, default 100,000.
    pub events_max: u32,
    /// How many extension attributes an event may have. 1 to 1,000, default 64.
    pub extensions_max: u32,
    /// The longest attribute of an event, in bytes. 64 B to 64 KiB, default 4 KiB.
    pub attribute_bytes_max: u32,
    /// How deep the JSON data of an event may be nested. 1 to 120, default 100.
    pub depth_max: u32,
    /// The most events of one page of JSON. 1 to 100,000, default 10,000.
    pub page_events_max: u32,
    /// About how many bytes one page of JSON may have. 64 KiB to 64 MiB, default 8 MiB.
    pub page_bytes_max: u32,
    /// How long a client may take to send the headers of a request, and how long a connection is kept without one, in
    /// milliseconds. 100 ms to 10 min, default 30 s.
    pub header_timeout_ms: u32,
    /// How long a client may take to send the body of a request, in milliseconds. 100 ms to 1 h, default 60 s.
    pub body_timeout_ms: u32,
    /// How long a request may wait: an append for its durability, a read for its token. `timeout_ms` of a request can only
    /// make it shorter. In milliseconds, 100 ms to 10 min, default 30 s.
    pub request_timeout_ms: u32,
    /// How long a statement may run, the wait for its token included, in milliseconds. `timeout_ms` of a request can only
    /// make it shorter. 100 ms to 24 h, and at most `query_ms_max` of `[query]`; default 60 s.
    pub sql_timeout_ms: u32,
    /// How long a client may take nothing of an answer before its connection is closed, in milliseconds. 100 ms to
    /// 1 h, default 30 s.
    pub write_stall_ms_max: u32,
    /// How often an idle `text/event-stream` shows that it is alive, in milliseconds. 100 ms to 10 min, default 15 s.
    pub heartbeat_ms: u32,
    /// How long requests under way may take to end when the server shuts down, in milliseconds. 0 ms to 10 min, default
    /// 10 s.
    pub shutdown_ms_max: u32,
    /// How many requests are worked on at once.
    pub overload: OverloadOptions,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7070),
            insecure_no_auth: false,
            hosts: Vec::new(),
            connections_max: 4_096,
            requests_max: 4_096,
            readers_max: 512,
            header_bytes_max: 64 << 10,
            headers_max: 128,
            body_bytes_max: 16 << 20,
            body_bytes_total_max: 256 << 20,
            events_max: 100_000,
            extensions_max: 64,
            attribute_bytes_max: 4 << 10,
            depth_max: 100,
            page_events_max: 10_000,
            page_bytes_max: 8 << 20,
            header_timeout_ms: 30_000,
            body_timeout_ms: 60_000,
            request_timeout_ms: 30_000,
            sql_timeout_ms: 60_000,
            write_stall_ms_max: 30_000,
            heartbeat_ms: 15_000,
            shutdown_ms_max: 10_000,
            overload: OverloadOptions::default(),
        }
    }
}

/// An option that is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOption {
    /// A number is outside its bounds.
    #[error("option `{option}` is {value}, outside {} to {}", bounds.start(), bounds.end())]
    Bounds {
        /// Its name, which ends with its unit.
        option: &'static str,
        /// The refused value.
        value: u32,
        /// What is allowed.
        bounds: RangeInclusive<u32>,
    },
    /// The address can be reached from other machines.
    #[error(
        "`{0}` can be reached by other machines, and whoever reaches it can read, write and drop everything, because requests are not authenticated: listen on 127.0.0.1 or [::1], or say `insecure_no_auth` if the network protects it"
    )]
    Reachable(SocketAddr),
}

impl Options {
    /// Checks every bound, and that the address is safe.
    ///
    /// # Errors
    /// The first option that is not accepted.
    pub fn check(&self) -> Result<(), InvalidOption> {
        const MINUTE_MS: u32 = 60_000;
        let checks = [
            ("connections_max", self.connections_max, 1..=100_000),
            ("requests_max", self.requests_max, 1..=100_000),
            ("readers_max", self.readers_max, 1..=100_000),
            ("header_bytes_max", self.header_bytes_max, 8 << 10..=1 << 20),
            ("headers_max", self.headers_max, 10..=1_000),
            ("body_bytes_max", self.body_bytes_max, 1 << 10..=60 << 20),
            ("body_bytes_total_max", self.body_bytes_total_max, self.body_bytes_max..=u32::MAX),
            ("events_max", self.events_max, 1..=1_000_000),
            ("extensions_max", self.extensions_max, 1..=1_000),
            ("attribute_bytes_max", self.attribute_bytes_max, 64..=64 << 10),
            ("depth_max", self.depth_max, 1..=120),
            ("page_events_max", self.page_events_max, 1..=100_000),
            ("page_bytes_max", self.page_bytes_max, 64 << 10..=64 << 20),
            ("header_timeout_ms", self.header_timeout_ms, 100..=10 * MINUTE_MS),
            ("body_timeout_ms", self.body_timeout_ms, 100..=60 * MINUTE_MS),
            ("request_timeout_ms", self.request_timeout_ms, 100..=10 * MINUTE_MS),
            ("sql_timeout_ms", self.sql_timeout_ms, 100..=24 * 60 * MINUTE_MS),
            ("write_stall_ms_max", self.write_stall_ms_max, 100..=60 * MINUTE_MS),
            ("heartbeat_ms", self.heartbeat_ms, 100..=10 * MINUTE_MS),
            ("shutdown_ms_max", self.shutdown_ms_max, 0..=10 * MINUTE_MS),
        ];
        within(checks)?;
        self.overload.check()?;
        if !self.listen.ip().is_loopback() && !self.insecure_no_auth {
            return Err(InvalidOption::Reachable(self.listen));
        }
        Ok(())
    }

    /// What the readers of events accept.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            events_max: self.events_max,
            extensions_max: self.extensions_max,
            attribute_bytes_max: self.attribute_bytes_max,
            depth_max: self.depth_max,
        }
    }
}

/// Refuses the first value that is outside its bounds.
fn within<const N: usize>(
    checks: [(&'static str, u32, RangeInclusive<u32>); N],
) -> Result<(), InvalidOption> {
    let wrong = checks.into_iter().find(|(_, value, bounds)| !bounds.contains(value));
    wrong.map_or(Ok(()), |(option, value, bounds)| Err(InvalidOption::Bounds { option, value, bounds }))
}

/// Milliseconds of an option.
pub(crate) fn ms(ms: u32) -> Duration {
    Duration::from_millis(u64::from(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_within_bounds_and_unknown_options_are_errors() {
        Options::default().check().unwrap();
        assert!(serde_json::from_str::<Options>(r#"{"body_max":1}"#).is_err());
        let options: Options = serde_json::from_str(r#"{"depth_max":0}"#).unwrap();
        assert_eq!(options.check().unwrap_err().to_string(), "option `depth_max` is 0, outside 1 to 120");
    }

    #[test]
    fn an_address_that_others_can_reach_needs_consent() {
        let mut options = Options { listen: "0.0.0.0:7070".parse().unwrap(), ..Options::default() };
        assert_eq!(
            options.check().unwrap_err().to_string(),
            "`0.0.0.0:7070` can be reached by other machines, and whoever reaches it can read, write and drop everything, because requests are not authenticated: listen on 127.0.0.1 or [::1], or say `insecure_no_auth` if the network protects it"
        );
        options.insecure_no_auth = true;
        options.check().unwrap();
        options = Options { listen: "[::1]:0".parse().unwrap(), ..Options::default() };
        options.check().unwrap();
    }
}
