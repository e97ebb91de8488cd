//! Brokers that take encrypted connections alone, from whom they know.
#![cfg(feature = "tls")]

use crate::{all, ids, put, stream};
use std::path::PathBuf;
use tw_env::Env;
use tw_log_kafka::{KafkaLog, Options, SaslOptions, TlsOptions};
use tw_testing::{Authority, Kafka, free_port};

/// A broker with a listener that asks for a user, and one that asks for a certificate.
struct World {
    authority: Authority,
    kafka: Kafka,
    for_users: String,
    for_certificates: String,
}

fn world() -> World {
    let authority = Authority::new();
    let server = authority.issue("broker");
    let (users, certificates) = (free_port(), free_port());
    let (keys, trusted) = (server.both.display().to_string(), authority.file().display().to_string());
    let mut builder =
        Kafka::builder().listener("USERS", "SASL_SSL", users).listener("CERTIFICATES", "SSL", certificates);
    for listener in ["users", "certificates"] {
        let name = |rest: &str| format!("listener.name.{listener}.{rest}");
        builder =
            builder.setting(&name("ssl.keystore.type"), "PEM").setting(&name("ssl.keystore.location"), &keys);
        builder = builder.setting(&name("ssl.truststore.type"), "PEM");
        builder = builder.setting(&name("ssl.truststore.location"), &trusted);
    }
    let plain = "org.apache.kafka.common.security.plain.PlainLoginModule required user_ann=\"plain secret\";";
    let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
    let kafka = builder
        .setting("listener.name.certificates.ssl.client.auth", "required")
        .setting("listener.name.users.sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-512")
        .setting("listener.name.users.plain.sasl.jaas.config", plain)
        .setting("listener.name.users.scram-sha-512.sasl.jaas.config", scram)
        .start();
    kafka.add_scram_user("bob", "scram-secret");
    let at = |port| format!("127.0.0.1:{port}");
    World { authority, kafka, for_users: at(users), for_certificates: at(certificates) }
}

impl World {
    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.authority.file().with_file_name(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn tls(&self) -> TlsOptions {
        TlsOptions { enabled: true, ca: self.authority.file(), ..TlsOptions::default() }
    }

    fn user(&self, mechanism: &str, user: &str, password: &str) -> SaslOptions {
        let password_file = self.file(&format!("{user}.password"), &format!("{password}\n"));
        SaslOptions { mechanism: mechanism.to_owned(), user: user.to_owned(), password_file }
    }
}

/// Little patience, for those who do not get in.
fn hasty(options: Options) -> Options {
    Options { request_ms_max: 3_000, ..options }
}

fn open(options: Options) -> tw_log::Result<KafkaLog> {
    KafkaLog::open(options, Env::real())
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_the_brokers_know_writes_and_reads_encrypted_and_nobody_else() {
    let world = world();
    let known = world.authority.issue("node-1");
    let scram = Options {
        servers: world.for_users.clone(),
        prefix: "secured".to_owned(),
        tls: world.tls(),
        sasl: world.user("SCRAM-SHA-512", "bob", "scram-secret"),
        ..crate::options(&world.kafka)
    };
    let log = open(scram.clone()).unwrap();
    let at = stream(&log, "s").await;
    put(&log, at, "by bob", None).await.unwrap();
    drop(log);

    let plain = Options { sasl: world.user("PLAIN", "ann", "plain secret"), ..scram.clone() };
    let log = open(plain).unwrap();
    put(&log, at, "by ann", None).await.unwrap();
    drop(log);

    let (certificate, key) = (known.certificate, known.key);
    let by_certificate = Options {
        servers: world.for_certificates.clone(),
        tls: TlsOptions { certificate, key, ..world.tls() },
        sasl: SaslOptions::default(),
        ..scram.clone()
    };
    let log = open(by_certificate.clone()).unwrap();
    put(&log, at, "by node-1", None).await.unwrap();
    assert_eq!(ids(&all(&log, at).await), ["by bob", "by ann", "by node-1"]);
    drop(log);

    let stranger = Authority::new();
    for (what, options) in [
        (
            "a wrong password",
            Options { sasl: world.user("SCRAM-SHA-512", "bob", "guessed"), ..scram.clone() },
        ),
        ("no certificate", Options { tls: world.tls(), ..by_certificate.clone() }),
        (
            "brokers of another authority",
            Options { tls: TlsOptions { ca: stranger.file(), ..world.tls() }, ..scram.clone() },
        ),
        (
            "no encryption",
            Options { tls: TlsOptions::default(), sasl: SaslOptions::default(), ..scram.clone() },
        ),
    ] {
        let Err(error) = open(hasty(options)) else { panic!("{what} gets in") };
        assert!(matches!(error, tw_log::Error::Unavailable { .. }), "{what}: {error:?}");
    }
}

#[test]
fn files_that_are_not_there_are_named() {
    let tls = TlsOptions { enabled: true, ca: "/nowhere/ca.pem".into(), ..TlsOptions::default() };
    let Err(error) = open(Options { tls, ..Options::default() }) else { panic!("it opens") };
    let error = error.to_string();
    assert_eq!(
        error,
        "option `tls` of the log names the file `/nowhere/ca.pem`: No such file or directory (os error 2)"
    );
}
