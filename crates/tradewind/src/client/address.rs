//! Where a node is.

use crate::error::{Error, Result};
use std::fmt;

/// The port of a node, if nobody says otherwise.
const PORT: u16 = 7070;

/// The address of a node's interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// A name or an IP address; an IPv6 address without brackets.
    pub(crate) host: String,
    /// The port.
    pub(crate) port: u16,
    /// What comes before every path, for a node behind a proxy; without a slash at its end.
    pub(crate) prefix: String,
}

impl Address {
    /// Reads `http://host:port/prefix`; scheme, port and prefix may be missing.
    ///
    /// # Errors
    /// When it is something else.
    pub(crate) fn parse(url: &str) -> Result<Self> {
        let wrong = |rule: &str| {
            let shown: String = url.chars().take(200).collect();
            Err(Error::Usage(format!("`{shown}` is not the address of a node: {rule}")))
        };
        let rest = match url.split_once("://") {
            Some(("http", rest)) => rest,
            Some(("https", _)) => {
                return wrong("a node speaks http; let a proxy beside you speak https to the outside");
            }
            Some(_) => return wrong("use http://host:port"),
            None => url,
        };
        let (authority, prefix) = rest
            .split_once('/')
            .map_or((rest, ""), |(authority, path)| (authority, path.trim_end_matches('/')));
        if authority.contains('@') {
            return wrong("a node asks for no user");
        }
        let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => authority.rsplit_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
        };
        let Ok(port) = port.map_or(Ok(PORT), str::parse) else {
            return wrong("its port must be a number up to 65535");
        };
        let printable = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if host.is_empty() || !printable(host) || !printable(prefix) || prefix.contains(['?', '#']) {
            return wrong("use http://host:port");
        }
        let prefix = if prefix.is_empty() { String::new() } else { format!("/{prefix}") };
        Ok(Self { host: host.to_owned(), port, prefix })
    }

    /// `host:port`, as the header Host says it.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority(), self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn scheme_port_and_prefix_may_be_missing() {
        for (url, read) in [
            ("http://127.0.0.1:7070", "http://127.0.0.1:7070"),
            ("localhost", "http://localhost:7070"),
            ("http://[::1]:80/", "http://[::1]:80"),
            ("http://[::1]", "http://[::1]:7070"),
            ("http://proxy/tw/one/", "http://proxy:7070/tw/one"),
        ] {
            assert_eq!(Address::parse(url).unwrap().to_string(), read);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_rule() {
        let rule = |url| Address::parse(url).unwrap_err().to_string();
        assert_eq!(rule("ftp://x"), "`ftp://x` is not the address of a node: use http://host:port");
        assert_eq!(
            rule("http://x:99999"),
            "`http://x:99999` is not the address of a node: its port must be a number up to 65535"
        );
        for url in ["", "http://", "http://a b", "http://u@h", "http://h/p?q", "https://h"] {
            assert!(Address::parse(url).is_err(), "{url}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(url in ".{0,40}") {
            if let Ok(address) = Address::parse(&url) {
                prop_assert_eq!(Address::parse(&address.to_string()).unwrap(), address);
            }
        }
    }
}
