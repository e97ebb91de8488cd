//! How connections to the brokers are protected, and as whom this process logs in.

use rdkafka::ClientConfig;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use tw_log::Error;

/// The longest password, in bytes.
const PASSWORD_BYTES_MAX: u64 = 4 << 10;

/// Settings of the client library that are secrets: what is configured is shown to whoever may see the configuration.
const SECRETS: [&str; 6] = [
    "sasl.password",
    "sasl.oauthbearer.client.secret",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.password",
    "sasl.oauthbearer.assertion.private.key.pem",
];

/// Encrypted connections to the brokers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsOptions {
    /// Whether connections are encrypted (TLS 1.2 or 1.3), and the brokers' certificates and names checked. It needs a program
    /// that was built with `--features kafka-tls`.
    pub enabled: bool,
    /// The file (PEM) of the authorities that vouch for the brokers; empty: those that the system trusts.
    pub ca: PathBuf,
    /// The file (PEM) of this node's own certificate, if the brokers ask for one; empty: none.
    pub certificate: PathBuf,
    /// The file (PEM) of the certificate's key, without a passphrase.
    pub key: PathBuf,
}

/// Logging in at the brokers (SASL).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SaslOptions {
    /// `SCRAM-SHA-512`, `SCRAM-SHA-256`, or, over TLS alone, `PLAIN`; empty: nobody logs in. It needs a program that was built
    /// with `--features kafka-tls`.
    pub mechanism: String,
    /// Who logs in: the name of the user at the brokers.
    pub user: String,
    /// The file with the user's password, up to 4 KiB; a line's end at its end does not count. It is read when the node starts,
    /// and again for each client that is made later.
    pub password_file: PathBuf,
}

/// What is wrong with an option.
fn refused(option: &'static str, reason: impl Into<String>) -> Error {
    Error::InvalidText { option, reason: reason.into() }
}

impl TlsOptions {
    fn check(&self) -> Result<(), Error> {
        let is_said = |path: &Path| !path.as_os_str().is_empty();
        if !self.enabled && [&self.ca, &self.certificate, &self.key].into_iter().any(|path| is_said(path)) {
            return Err(refused(
                "tls",
                "names files, and is not enabled: say `enabled = true`, or leave it out",
            ));
        }
        if is_said(&self.certificate) != is_said(&self.key) {
            return Err(refused(
                "tls",
                "has a certificate without a key, or the other way round: name both files",
            ));
        }
        Ok(())
    }
}

impl SaslOptions {
    fn check(&self, is_encrypted: bool) -> Result<(), Error> {
        match self.mechanism.as_str() {
            "" if self.user.is_empty() && self.password_file.as_os_str().is_empty() => return Ok(()),
            "" => {
                let reason = "has a user or a password and no `mechanism`: name it, such as `SCRAM-SHA-512`";
                return Err(refused("sasl", reason));
            }
            "PLAIN" if !is_encrypted => {
                let reason = "has the mechanism `PLAIN`, which sends the password as it is, without TLS: say `enabled = true` in \
                              [kafka.tls], or use `SCRAM-SHA-512`";
                return Err(refused("sasl", reason));
            }
            "PLAIN" | "SCRAM-SHA-256" | "SCRAM-SHA-512" => {}
            other => {
                let reason = format!(
                    "has the mechanism `{other}`: it must be `SCRAM-SHA-512`, `SCRAM-SHA-256` or `PLAIN`"
                );
                return Err(refused("sasl", reason));
            }
        }
        if self.user.is_empty() || self.password_file.as_os_str().is_empty() {
            return Err(refused("sasl", "needs `user` and `password_file` with its `mechanism`"));
        }
        Ok(())
    }

    fn is_used(&self) -> bool {
        !self.mechanism.is_empty()
    }

    fn password(&self) -> Result<String, Error> {
        let unusable = |reason: String| {
            refused("sasl", format!("names the password file `{}`: {reason}", self.password_file.display()))
        };
        let mut text = String::new();
        let file = fs::File::open(&self.password_file).map_err(|error| unusable(error.to_string()))?;
        let read = file.take(PASSWORD_BYTES_MAX + 1).read_to_string(&mut text);
        read.map_err(|error| unusable(error.to_string()))?;
        if text.len() as u64 > PASSWORD_BYTES_MAX {
            return Err(unusable(format!("it has more than {PASSWORD_BYTES_MAX} bytes")));
        }
        let password = text.trim_end_matches(['\n', '\r']);
        if password.is_empty() {
            return Err(unusable("it is empty".to_owned()));
        }
        Ok(password.to_owned())
    }
}

/// Checks what is said of the connections. `is_built` is whether this program has TLS and SASL for Kafka at all.
pub(crate) fn check(options: &crate::Options, is_built: bool) -> Result<(), Error> {
    options.tls.check()?;
    options.sasl.check(options.tls.enabled)?;
    if let Some(secret) = options.client.keys().find(|name| SECRETS.contains(&name.as_str())) {
        let reason = format!(
            "has `{secret}`, and the configuration is shown: use `password_file` of [kafka.sasl], or `key` of [kafka.tls]"
        );
        return Err(refused("client", reason));
    }
    let own = |name: &str| matches!(name, "security.protocol" | "sasl.mechanism" | "sasl.mechanisms");
    if let Some(name) = options.client.keys().find(|name| own(name)) {
        let reason = format!("has `{name}`: say it in [kafka.tls] and [kafka.sasl]");
        return Err(refused("client", reason));
    }
    if !is_built && (options.tls.enabled || options.sasl.is_used()) {
        let option = if options.tls.enabled { "tls" } else { "sasl" };
        let reason =
            "is asked for, and this program was built without it: build it with `--features kafka-tls`";
        return Err(refused(option, reason));
    }
    Ok(())
}

/// Checks that the files that are named can be read.
pub(crate) fn check_files(options: &crate::Options) -> Result<(), Error> {
    let tls = &options.tls;
    for path in [&tls.ca, &tls.certificate, &tls.key] {
        if !path.as_os_str().is_empty()
            && let Err(error) = fs::File::open(path)
        {
            return Err(refused("tls", format!("names the file `{}`: {error}", path.display())));
        }
    }
    if options.sasl.is_used() { options.sasl.password().map(drop) } else { Ok(()) }
}

/// Tells the client library.
pub(crate) fn apply(config: &mut ClientConfig, options: &crate::Options) {
    let (tls, sasl) = (&options.tls, &options.sasl);
    let protocol = match (tls.enabled, sasl.is_used()) {
        (false, false) => return,
        (true, false) => "ssl",
        (false, true) => "sasl_plaintext",
        (true, true) => "sasl_ssl",
    };
    config.set("security.protocol", protocol);
    if tls.enabled {
        let ca = if tls.ca.as_os_str().is_empty() { "probe".into() } else { tls.ca.to_string_lossy() };
        config.set("ssl.ca.location", ca).set("ssl.endpoint.identification.algorithm", "https");
        if !tls.certificate.as_os_str().is_empty() {
            config
                .set("ssl.certificate.location", tls.certificate.to_string_lossy())
                .set("ssl.key.location", tls.key.to_string_lossy());
        }
    }
    if sasl.is_used() {
        let password = sasl.password().unwrap_or_else(|error| {
            // It could be read when the log was opened; the brokers will refuse this client, and say so.
            tracing::error!(%error, "the password for Kafka cannot be read any more");
            String::new()
        });
        config
            .set("sasl.mechanism", &sasl.mechanism)
            .set("sasl.username", &sasl.user)
            .set("sasl.password", password);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;

    fn checked(text: &str, is_built: bool) -> Result<(), String> {
        let options: Options = serde_json::from_str(text).unwrap();
        check(&options, is_built).map_err(|error| error.to_string())
    }

    #[test]
    fn what_protects_connections_is_whole_or_refused_with_the_remedy() {
        for (text, part) in [
            (r#"{"tls":{"ca":"ca.pem"}}"#, "is not enabled: say `enabled = true`"),
            (r#"{"tls":{"enabled":true,"key":"k.pem"}}"#, "name both files"),
            (r#"{"sasl":{"user":"ann"}}"#, "no `mechanism`: name it"),
            (r#"{"sasl":{"mechanism":"GSSAPI"}}"#, "must be `SCRAM-SHA-512`"),
            (r#"{"sasl":{"mechanism":"SCRAM-SHA-512","user":"ann"}}"#, "needs `user` and `password_file`"),
            (r#"{"sasl":{"mechanism":"PLAIN","user":"a","password_file":"p"}}"#, "without TLS"),
            (r#"{"client":{"sasl.password":"x"}}"#, "the configuration is shown: use `password_file`"),
            (r#"{"client":{"security.protocol":"ssl"}}"#, "say it in [kafka.tls]"),
        ] {
            let error = checked(text, true).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        for text in [
            "{}",
            r#"{"tls":{"enabled":true}}"#,
            r#"{"tls":{"enabled":true,"certificate":"c","key":"k"},"sasl":{"mechanism":"PLAIN","user":"a","password_file":"p"}}"#,
            r#"{"sasl":{"mechanism":"SCRAM-SHA-256","user":"a","password_file":"p"},"client":{"client.rack":"a"}}"#,
        ] {
            assert_eq!(checked(text, true), Ok(()), "{text}");
            let needs_it = text.contains("enabled") || text.contains("mechanism");
            assert_eq!(checked(text, false).is_err(), needs_it, "{text}");
        }
        let error = checked(r#"{"tls":{"enabled":true}}"#, false).unwrap_err();
        assert_eq!(
            error,
            "option `tls` of the log is asked for, and this program was built without it: build it with `--features kafka-tls`"
        );
    }

    #[test]
    fn a_password_is_the_text_of_its_file_without_the_end_of_the_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        let options = SaslOptions { password_file: path.clone(), ..SaslOptions::default() };
        let error = options.password().unwrap_err().to_string();
        assert!(error.contains("names the password file") && error.contains("No such file"), "{error}");
        fs::write(&path, "two words \r\n").unwrap();
        assert_eq!(options.password().unwrap(), "two words ");
        for (text, part) in [("\n".to_owned(), "it is empty"), ("x".repeat(5_000), "more than 4096 bytes")] {
            fs::write(&path, text).unwrap();
            let error = options.password().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
