//! Addresses of servers: `postgres://user@host:port/database?sslmode=…`, as libpq reads them, without a password.

use crate::Error;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    /// A name or an IP address.
    Tcp(String),
    /// The folder of a Unix socket.
    Unix(PathBuf),
}

/// How much is asked of encryption; names and meaning as in libpq's `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TlsMode {
    /// None.
    Disable,
    /// Encrypted if the server can, without knowing who it is.
    Prefer,
    /// Encrypted; the certificate is checked only if a root certificate is given.
    Require,
    /// Encrypted, with a certificate that a trusted authority has signed.
    VerifyCa,
    /// The same, and the certificate is for this host.
    VerifyFull,
}

/// What a `postgres://` address says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) host: Host,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) database: String,
    pub(crate) tls: TlsMode,
    /// A PEM file with the authorities to trust; the system's if None.
    pub(crate) root_certificate: Option<PathBuf>,
    pub(crate) application_name: String,
    pub(crate) connect_timeout: Duration,
}

impl fmt::Display for Address {
    /// Whom we talk to, for messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Tcp(host) if host.contains(':') => write!(f, "[{host}]:{}", self.port)?,
            Host::Tcp(host) => write!(f, "{host}:{}", self.port)?,
            Host::Unix(folder) => write!(f, "{}:{}", folder.display(), self.port)?,
        }
        write!(f, "/{}", self.database)
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text).map_err(|rule| Error::Address { address: redact(text), rule })
    }
}

const PASSWORD: &str = "it holds a password: leave it out, and give the source the password separately";

/// Whether a password stands between user and host: a `:` before the first `@`.
fn holds_password(rest: &str) -> bool {
    rest.split_once('@').is_some_and(|(user, _)| user.contains(':'))
}

/// The address without what may be a password.
fn redact(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    if holds_password(rest) {
        // A password may hold an unescaped `/`, `?` or `@`, and so end anywhere: only the user is shown.
        return format!("{scheme}://{}:…", rest.split(':').next().unwrap_or_default());
    }
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    // What looks like a port may be a password whose `@` was forgotten.
    let shown = match authority.rsplit_once(':') {
        Some((host, port)) if !port.bytes().all(|digit| digit.is_ascii_digit()) => format!("{host}:…"),
        _ => authority.to_owned(),
    };
    format!("{scheme}://{shown}{}", if rest.len() > authority.len() { "/…" } else { "" })
}

fn parse(text: &str) -> Result<Address, String> {
    let rest = text
        .strip_prefix("postgres://")
        .or_else(|| text.strip_prefix("postgresql://"))
        .ok_or("it starts neither with `postgres://` nor with `postgresql://`")?;
    if holds_password(rest) {
        return Err(PASSWORD.into());
    }
    let (rest, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, place) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (host, port) = host_and_port(place)?;
    let mut address = Address {
        host: Host::Tcp("localhost".into()),
        port: port.unwrap_or(5432),
        user: decode(user)?,
        database: decode(database)?,
        tls: TlsMode::Prefer,
        root_certificate: None,
        application_name: "tradewind".into(),
        connect_timeout: Duration::from_secs(10),
    };
    if !host.is_empty() {
        address.host = host_of(decode(host)?);
    }
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        apply(&mut address, name, decode(value)?)?;
    }
    if address.user.is_empty() {
        return Err("it names no user".into());
    }
    if address.database.is_empty() {
        address.database.clone_from(&address.user);
    }
    Ok(address)
}

fn apply(address: &mut Address, name: &str, value: String) -> Result<(), String> {
    match name {
        "sslmode" => {
            address.tls = match value.as_str() {
                "disable" => TlsMode::Disable,
                "prefer" => TlsMode::Prefer,
                "require" => TlsMode::Require,
                "verify-ca" => TlsMode::VerifyCa,
                "verify-full" => TlsMode::VerifyFull,
                _ => {
                    return Err(
                        "`sslmode` is neither disable, prefer, require, verify-ca nor verify-full".into()
                    );
                }
            }
        }
        "sslrootcert" => address.root_certificate = (value != "system").then(|| PathBuf::from(value)),
        "application_name" => address.application_name = value,
        "host" => address.host = host_of(value),
        "port" => address.port = port_of(&value)?,
        "user" => address.user = value,
        "dbname" => address.database = value,
        "connect_timeout" => {
            let seconds = value.parse().ok().filter(|seconds| (1..=3600).contains(seconds));
            address.connect_timeout =
                Duration::from_secs(seconds.ok_or("`connect_timeout` is not 1 to 3600 seconds")?);
        }
        "password" => {
            return Err(PASSWORD.into());
        }
        _ => {
            return Err(format!(
                "`{name}` is not known: use sslmode, sslrootcert, application_name, connect_timeout, host, port, user or dbname"
            ));
        }
    }
    Ok(())
}

fn host_of(host: String) -> Host {
    if host.starts_with('/') { Host::Unix(host.into()) } else { Host::Tcp(host) }
}

fn port_of(text: &str) -> Result<u16, String> {
    text.parse().ok().filter(|port| *port > 0).ok_or_else(|| "its port is not 1 to 65535".into())
}

/// Splits `host:port` and `[IPv6]:port`.
fn host_and_port(place: &str) -> Result<(&str, Option<u16>), String> {
    if place.contains(',') {
        return Err("it names several hosts: name one".into());
    }
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or("the `[` of an IPv6 address is not closed")?;
            match rest.strip_prefix(':') {
                Some(port) => (host, port),
                None if rest.is_empty() => (host, ""),
                None => return Err("something follows the `]` of an IPv6 address".into()),
            }
        }
        None => place.split_once(':').unwrap_or((place, "")),
    };
    Ok((host, if port.is_empty() { None } else { Some(port_of(port)?) }))
}

/// Resolves `%41` and the like.
pub(crate) fn decode(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
            .filter(|byte| *byte != 0)
            .ok_or("a `%` is not followed by two hexadecimal digits (or by two zeros)")?;
        bytes.push(byte);
        rest = rest.get(2..).unwrap_or_default();
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8 once its `%` are resolved".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_part_of_an_address_is_understood() {
        let address: Address =
            "postgresql://an%20na@db.example:6543/shop?sslmode=verify-full&sslrootcert=/ca.pem&connect_timeout=3"
                .parse()
                .unwrap();
        assert_eq!(address.host, Host::Tcp("db.example".into()));
        assert_eq!((address.port, address.user.as_str(), address.database.as_str()), (6543, "an na", "shop"));
        assert_eq!((address.tls, address.connect_timeout), (TlsMode::VerifyFull, Duration::from_secs(3)));
        assert_eq!(address.root_certificate, Some("/ca.pem".into()));
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        let address: Address = "postgres://anna@db".parse().unwrap();
        assert_eq!((address.port, address.database.as_str(), address.tls), (5432, "anna", TlsMode::Prefer));
        assert_eq!("postgres://u@[::1]:7/d".parse::<Address>().unwrap().to_string(), "[::1]:7/d");
        let socket: Address = "postgres://u@%2Fvar%2Frun/d".parse().unwrap();
        assert_eq!(socket.host, Host::Unix("/var/run".into()));
        assert_eq!("postgres:///d?host=/run&user=u".parse::<Address>().unwrap().to_string(), "/run:5432/d");
    }

    #[test]
    fn a_password_is_refused_and_not_repeated() {
        for text in [
            "postgres://u:hunter2@db/shop",
            "postgres://u:hunt/er2@db/shop",
            "postgres://u:hun?ter2@db/shop",
            "postgres://u:hunt@er2@db/shop",
            "postgres://u@db/shop?password=hunter2",
            "postgres://u:hunter2/shop",
        ] {
            let message = text.parse::<Address>().unwrap_err().to_string();
            assert!(!message.contains("hun") && !message.contains("er2"), "{message}");
        }
    }

    #[test]
    fn each_mistake_is_named() {
        for (text, part) in [
            ("mysql://u@h/d", "postgres://"),
            ("postgres://h/d", "user"),
            ("postgres://u@h:0/d", "port"),
            ("postgres://u@h,i/d", "several hosts"),
            ("postgres://u@h/d?sslmode=maybe", "sslmode"),
            ("postgres://u@h/d?options=-csearch_path", "options"),
            ("postgres://u@[::1/d", "not closed"),
            ("postgres://u@h/d%zz", "hexadecimal"),
        ] {
            let message = text.parse::<Address>().unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(postgres://)?[a-z:@/?%=&\\[\\],0-9ü]{0,60}") {
            let _understood_or_not = text.parse::<Address>();
        }
    }
}
