//! How etcd is reached.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The options of the engine on etcd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EtcdOptions {
    /// The servers' client URLs, such as `http://10.0.0.1:2379`, or `https://` for encrypted connections: 1 to 32. One is used until it
    /// fails, then the next.
    pub endpoints: Vec<String>,
    /// What all keys start with, so that several clusters share one etcd: 1 to 200 bytes, without `/` at either end.
    pub namespace: String,
    /// How long connecting to one server may take, in milliseconds: 10 to 60,000.
    pub connect_ms_max: u64,
    /// How long one server may take to answer before the next is asked, in milliseconds: 10 to 60,000. A transaction is not
    /// asked of another server, because it might happen twice.
    pub attempt_ms_max: u64,
    /// How long a request may take in all, in milliseconds: `attempt_ms_max` to 600,000.
    pub request_ms_max: u64,
    /// The pause before a failed request or watch is tried again, in milliseconds: 1 to 60,000. It doubles from try to try.
    pub retry_ms_min: u64,
    /// The longest such pause, in milliseconds: `retry_ms_min` to 60,000.
    pub retry_ms_max: u64,
    /// How often a connection on which something is under way, such as a watch, is probed, in milliseconds: 5,000 (below that,
    /// etcd's default closes it) to 600,000.
    pub probe_interval_ms: u64,
    /// How long the answer to a probe may take before the connection is given up, in milliseconds: 100 to 60,000.
    pub probe_ms_max: u64,
    /// How many entries are fetched at once: 1 to 100,000.
    pub page_entries: u32,
    /// The largest answer, in bytes: 2 MiB to 1 GiB.
    pub answer_bytes_max: u64,
    /// Encrypted connections, to endpoints with `https://`.
    pub tls: EtcdTls,
}

/// How connections to endpoints with `https://` are protected: TLS 1.2 or 1.3; the server's certificate and its name are checked.
/// The files are read when the node starts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EtcdTls {
    /// The file (PEM) of the authorities that vouch for the servers; empty: those that the system trusts.
    pub ca: PathBuf,
    /// The file (PEM) of this node's own certificate, if the servers ask for one; empty: none. If etcd knows users, the common name
    /// of the certificate is the user.
    pub certificate: PathBuf,
    /// The file (PEM) of the certificate's key, without a passphrase.
    pub key: PathBuf,
}

impl Default for EtcdOptions {
    fn default() -> Self {
        Self {
            endpoints: vec!["http://127.0.0.1:2379".into()],
            namespace: "tradewind".into(),
            connect_ms_max: 1_000,
            attempt_ms_max: 2_000,
            request_ms_max: 5_000,
            retry_ms_min: 20,
            retry_ms_max: 1_000,
            probe_interval_ms: 10_000,
            probe_ms_max: 5_000,
            page_entries: 1_000,
            answer_bytes_max: 64 << 20,
            tls: EtcdTls::default(),
        }
    }
}

impl EtcdOptions {
    /// Checks every bound.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn check(&self) -> Result<()> {
        let check = |option, value: String, holds: bool, rule| {
            if holds { Ok(()) } else { Err(Error::InvalidOption { option, value, rule }) }
        };
        let number = |option, value: u64, min: u64, max: u64, rule| {
            check(option, value.to_string(), (min..=max).contains(&value), rule)
        };
        check(
            "endpoints",
            format!("{:?}", self.endpoints),
            (1..=32).contains(&self.endpoints.len()),
            "1 to 32 URLs",
        )?;
        let name = &self.namespace;
        let is_name = (1..=200).contains(&name.len()) && !name.starts_with('/') && !name.ends_with('/');
        check("namespace", name.clone(), is_name, "1 to 200 bytes, without `/` at either end")?;
        number("connect_ms_max", self.connect_ms_max, 10, 60_000, "10 to 60,000")?;
        number("attempt_ms_max", self.attempt_ms_max, 10, 60_000, "10 to 60,000")?;
        let rule = "`attempt_ms_max` to 600,000";
        number("request_ms_max", self.request_ms_max, self.attempt_ms_max, 600_000, rule)?;
        number("retry_ms_min", self.retry_ms_min, 1, 60_000, "1 to 60,000")?;
        let rule = "`retry_ms_min` to 60,000";
        number("retry_ms_max", self.retry_ms_max, self.retry_ms_min, 60_000, rule)?;
        number("probe_interval_ms", self.probe_interval_ms, 5_000, 600_000, "5,000 to 600,000")?;
        number("probe_ms_max", self.probe_ms_max, 100, 60_000, "100 to 60,000")?;
        number("page_entries", u64::from(self.page_entries), 1, 100_000, "1 to 100,000")?;
        number("answer_bytes_max", self.answer_bytes_max, 2 << 20, 1 << 30, "2 MiB to 1 GiB")?;
        let EtcdTls { ca, certificate, key } = &self.tls;
        let is_used = self.endpoints.iter().any(|endpoint| endpoint.starts_with("https://"));
        let names = [ca, certificate, key].into_iter().find(|path| !path.as_os_str().is_empty());
        let named = names.map(|path| path.display().to_string()).unwrap_or_default();
        check(
            "tls",
            named.clone(),
            is_used || named.is_empty(),
            "its files are for `https://` endpoints: name such an endpoint, or leave the files out",
        )?;
        let is_pair = certificate.as_os_str().is_empty() == key.as_os_str().is_empty();
        check("tls", named, is_pair, "both `certificate` and `key`, or neither")
    }
}
