//! Getting in: authentication, encryption, privileges, settings; each refusal says what to do and no secret.

use crate::support::{MINUTE, World, eventually};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tw_capture::{Options, Secret, SourcePhase};
use tw_testing::{Postgres, PostgresBuilder};

const PASSWORD: &str = "hunter2 with ünïcode";

/// A certificate authority and what it has signed.
struct Certificates {
    authority: String,
    certificate: String,
    key: String,
}

fn certificates(host: &str) -> Certificates {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    Certificates { authority: authority.pem(), certificate: certificate.pem(), key: key.serialize_pem() }
}

fn encrypted(certificates: &Certificates) -> PostgresBuilder {
    Postgres::builder()
        .setting("ssl", "on")
        .setting("ssl_cert_file", "server.crt")
        .setting("ssl_key_file", "server.key")
        .file("server.crt", &certificates.certificate)
        .file("server.key", &certificates.key)
}

/// A world with a table and a user `cat`, whom the server lets in by `method`.
fn world(builder: PostgresBuilder, kind: &str, method: &str) -> World {
    let lines = format!(
        "host all postgres 127.0.0.1/32 trust\n{kind} all cat 127.0.0.1/32 {method}\n{kind} replication cat 127.0.0.1/32 {method}\n"
    );
    let mut world = World::with(builder.access(&lines));
    let hash = if method == "md5" { "md5" } else { "scram-sha-256" };
    world.sql(&format!(
        "SET password_encryption = '{hash}'; CREATE ROLE cat LOGIN REPLICATION PASSWORD '{PASSWORD}'"
    ));
    world.sql("GRANT CREATE ON DATABASE postgres TO cat; CREATE TABLE t (id int PRIMARY KEY); ALTER TABLE t OWNER TO cat; INSERT INTO t VALUES (1)");
    world
}

fn as_cat(world: &World, parameters: &str) -> Options {
    let url = format!("postgres://cat@127.0.0.1:{}/postgres?{parameters}", world.server.port());
    Options { url, password: Secret::new(PASSWORD), ..world.options(&["t"]) }
}

fn captures(world: &mut World, options: Options) {
    let source = world.start(options);
    world.catch_up(&source);
    world.sql("INSERT INTO t SELECT max(id) + 1 FROM t");
    world.catch_up(&source);
    world.assert_same("shop.t", "public.t");
    source.stop();
}

/// What keeps a source from starting.
fn refusal(world: &World, options: Options) -> String {
    let source = world.start(options);
    let status = eventually(&source, |status| status.last_error.is_some());
    let message = status.last_error.unwrap().message;
    source.stop();
    assert!(!message.contains("hunter2"), "{message}");
    message
}

#[test]
fn each_method_of_authentication_lets_a_source_in() {
    for method in ["scram-sha-256", "md5", "password"] {
        let mut world = world(Postgres::builder(), "host", method);
        let options = as_cat(&world, "");
        captures(&mut world, options);
    }
}

#[test]
fn a_wrong_or_missing_password_is_told_without_telling_it() {
    let world = world(Postgres::builder(), "host", "scram-sha-256");
    let wrong = Options { password: Secret::new("hunter22"), ..as_cat(&world, "") };
    let message = refusal(&world, wrong);
    assert!(message.contains("password authentication failed"), "{message}");
    let none = Options { password: Secret::default(), ..as_cat(&world, "") };
    let message = refusal(&world, none);
    assert!(message.contains("asks for the password of `cat`"), "{message}");
}

#[test]
fn encryption_is_as_strict_as_the_address_says() {
    let certificates = certificates("127.0.0.1");
    let other = certificates_of_a_stranger();
    // hostssl with scram: the password exchange is bound to the channel.
    let mut world = world(encrypted(&certificates), "hostssl", "scram-sha-256");
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root.pem");
    std::fs::write(&root, &certificates.authority).unwrap();
    let stranger = folder.path().join("stranger.pem");
    std::fs::write(&stranger, &other.authority).unwrap();
    for parameters in [
        "sslmode=prefer".to_owned(),
        "sslmode=require".to_owned(),
        format!("sslmode=verify-ca&sslrootcert={}", root.display()),
        format!("sslmode=verify-full&sslrootcert={}", root.display()),
    ] {
        let options = as_cat(&world, &parameters);
        captures(&mut world, options);
        let ciphers = "SELECT count(*) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE a.usename = 'cat' AND NOT s.ssl";
        assert_eq!(world.value(ciphers), "0");
    }
    for (parameters, part) in [
        ("sslmode=disable".to_owned(), "no pg_hba.conf entry"),
        (format!("sslmode=verify-full&sslrootcert={}", stranger.display()), "invalid peer certificate"),
        (format!("sslmode=verify-ca&sslrootcert={}", stranger.display()), "invalid peer certificate"),
        (format!("sslmode=verify-full&sslrootcert={}/none.pem", folder.path().display()), "cannot be read"),
    ] {
        let message = refusal(&world, as_cat(&world, &parameters));
        assert!(message.contains(part), "{parameters}: {message}");
    }
}

fn certificates_of_a_stranger() -> Certificates {
    certificates("stranger.example")
}

#[test]
fn a_certificate_for_another_host_passes_only_where_hosts_are_not_checked() {
    let certificates = certificates("stranger.example");
    let mut world = world(encrypted(&certificates), "hostssl", "scram-sha-256");
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root.pem");
    std::fs::write(&root, &certificates.authority).unwrap();
    let options = as_cat(&world, &format!("sslmode=verify-ca&sslrootcert={}", root.display()));
    captures(&mut world, options);
    let message =
        refusal(&world, as_cat(&world, &format!("sslmode=verify-full&sslrootcert={}", root.display())));
    assert!(message.contains("NotValidForName") || message.contains("not valid for name"), "{message}");
}

#[test]
fn a_server_without_encryption_is_refused_where_it_is_required() {
    let world = world(Postgres::builder(), "host", "trust");
    let message = refusal(&world, as_cat(&world, "sslmode=require"));
    assert!(message.contains("does not encrypt"), "{message}");
}

#[test]
fn a_unix_socket_will_do() {
    let mut world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)");
    let url = format!(
        "postgres:///postgres?user=postgres&port={}&host={}",
        world.server.port(),
        world.server.socket_folder().display()
    );
    let options = Options { url, ..world.options(&["t"]) };
    captures(&mut world, options);
}

#[test]
fn what_the_server_lacks_is_told_with_the_remedy() {
    let mut world = World::with(Postgres::builder().setting("wal_level", "replica"));
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    let found = world.runtime.block_on(tw_capture::check(&world.options(&["t", "nowhere"]), MINUTE)).unwrap();
    let problems: Vec<_> = found.problems.iter().map(|problem| problem.problem.as_str()).collect();
    assert!(problems[0].contains("`wal_level` is `replica`"), "{problems:?}");
    assert!(problems[1].contains("`public.nowhere` does not exist"), "{problems:?}");
    let message = refusal(&world, world.options(&["t"]));
    assert!(message.contains("ALTER SYSTEM SET wal_level = logical"), "{message}");
}

#[test]
fn a_server_that_is_not_there_is_tried_again() {
    let mut world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)");
    world.server.stop();
    let source = world.capture(&["t"]);
    let status = eventually(&source, |status| status.phase == SourcePhase::Retrying);
    assert!(status.last_error.unwrap().message.contains("cannot be reached"));
    world.server.start_again();
    let status = world.catch_up(&source);
    assert_eq!(status.last_error, None);
    world.assert_same("shop.t", "public.t");
    source.stop();
}

#[test]
fn missing_privileges_are_named() {
    let mut world = world(Postgres::builder(), "host", "trust");
    world.sql("CREATE TABLE secret (id int PRIMARY KEY)");
    world.sql("ALTER ROLE cat NOREPLICATION; REVOKE CREATE ON DATABASE postgres FROM cat");
    let options = Options { tables: vec!["t".into(), "secret".into()], ..as_cat(&world, "") };
    let found = world.runtime.block_on(tw_capture::check(&options, MINUTE)).unwrap();
    let told = format!("{:?}", found.problems);
    for part in [
        "user `cat` may not replicate",
        "may not read table `public.secret`",
        "may not make the publication `tradewind_shop`",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let message = refusal(&world, as_cat(&world, ""));
    assert!(message.contains("may not replicate") && message.contains("ALTER ROLE \"cat\""), "{message}");
    world.sql("ALTER ROLE cat REPLICATION");
    let message = refusal(&world, as_cat(&world, ""));
    assert!(message.contains("may not make the publication"), "{message}");
}

#[test]
fn somebody_elses_publication_is_checked_and_left_alone() {
    let mut world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, x text); CREATE TABLE u (id int PRIMARY KEY); INSERT INTO t VALUES (1, 'a')");
    let options = Options { publication: Some("ours".into()), ..world.options(&["t", "u"]) };
    world.sql("CREATE PUBLICATION ours FOR TABLE t WITH (publish = 'insert')");
    let message = refusal(&world, options.clone());
    assert!(message.contains("SET (publish = 'insert, update, delete, truncate')"), "{message}");
    world.sql("ALTER PUBLICATION ours SET (publish = 'insert, update, delete, truncate')");
    let message = refusal(&world, options.clone());
    assert!(message.contains("ALTER PUBLICATION \"ours\" ADD TABLE ONLY \"public\".\"u\""), "{message}");
    let found = world.runtime.block_on(tw_capture::check(&options, MINUTE)).unwrap();
    assert!(found.problems[0].problem.contains("does not cover table `public.u`"), "{found:?}");
    // A column list and a row filter hold for the snapshot, too.
    world.sql("DROP PUBLICATION ours; CREATE PUBLICATION ours FOR TABLE t (id) WHERE (id < 100), TABLE u");
    world.sql("INSERT INTO t VALUES (200, 'filtered')");
    let source = world.start(options.clone());
    world.catch_up(&source);
    world.sql("INSERT INTO t VALUES (2, 'b'), (300, 'filtered')");
    world.catch_up(&source);
    world.assert_same("shop.t", "(SELECT id FROM public.t WHERE id < 100) t");
    source.stop();
    world.runtime.block_on(tw_capture::remove(&options, MINUTE)).unwrap();
    assert_eq!(world.value("SELECT string_agg(pubname, ',') FROM pg_publication"), "ours");
}

#[test]
fn a_standby_is_refused() {
    let mut world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    world.server.stop();
    std::fs::write(world.server.data_folder().join("standby.signal"), "").unwrap();
    world.server.start_again();
    let message = refusal(&world, world.options(&["t"]));
    assert!(message.contains("standby") && message.contains("primary"), "{message}");
}

#[test]
fn a_value_that_does_not_read_stops_the_source_and_is_named() {
    // A database without an encoding takes any bytes.
    let mut world = World::new();
    world.sql("CREATE DATABASE bytes ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'");
    let url = world.server.url("bytes");
    let (client, connection) =
        world.runtime.block_on(tokio_postgres::connect(&url, tokio_postgres::NoTls)).unwrap();
    world.runtime.spawn(connection);
    let sql = "CREATE TABLE t (id int PRIMARY KEY, note text)";
    world.runtime.block_on(client.batch_execute(sql)).unwrap();
    let options = Options { url, ..world.options(&["t"]) };
    let source = world.start(options);
    eventually(&source, |status| {
        status.tables.first().is_some_and(|table| table.snapshot == tw_capture::SnapshotPhase::Done)
    });
    let sql = "INSERT INTO t VALUES (1, 'fine'); INSERT INTO t VALUES (2, E'caf\\xe9'); INSERT INTO t VALUES (3, 'after')";
    world.runtime.block_on(client.batch_execute(sql)).unwrap();
    let status = eventually(&source, |status| status.phase == SourcePhase::Failed);
    let message = status.last_error.unwrap().message;
    for part in ["table `public.t` at 0/", "column `note`", "not UTF-8", "drop the source and make it again"]
    {
        assert!(message.contains(part), "{message}");
    }
    assert!(!message.contains("caf"), "values are not told: {message}");
    source.stop();
}

#[test]
fn a_row_over_the_limit_stops_the_source_and_is_named() {
    let mut world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, x text)");
    let options = Options { message_bytes_max: 1 << 20, ..world.options(&["t"]) };
    let source = world.start(options);
    world.catch_up(&source);
    world.sql("INSERT INTO t VALUES (1, repeat('x', 2000000))");
    let status = eventually(&source, |status| status.phase == SourcePhase::Failed);
    let message = status.last_error.unwrap().message;
    assert!(message.contains("table `public.t`") && message.contains("message_bytes_max"), "{message}");
    source.stop();
    let source = world.capture(&["t"]);
    world.catch_up(&source);
    world.assert_same("shop.t", "public.t");
    source.stop();
}

#[test]
fn an_event_that_no_stream_takes_stops_the_source_and_is_named() {
    let mut world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, x text)");
    let source = world.capture(&["t"]);
    world.catch_up(&source);
    // Large ones that pass go into writes of their own.
    world.sql("INSERT INTO t SELECT g, repeat('x', 10 << 20) FROM generate_series(1, 3) g");
    world.catch_up(&source);
    world.assert_same("shop.t", "public.t");
    world.sql("INSERT INTO t VALUES (4, repeat('x', 17 << 20))");
    let status = eventually(&source, |status| status.phase == SourcePhase::Failed);
    let message = status.last_error.unwrap().message;
    assert!(message.contains("table `public.t` at 0/"), "{message}");
    assert!(message.contains("over the limit of 16777216 bytes"), "{message}");
    // The message tells the way on: what is wrong is put right, the source dropped and made again.
    assert!(message.contains("drop the source and make it again"), "{message}");
    world.sql("UPDATE t SET x = 'short' WHERE id = 4");
    source.stop();
    world.runtime.block_on(tw_capture::remove(&world.options(&["t"]), MINUTE)).unwrap();
    let source = world.capture(&["t"]);
    world.catch_up(&source);
    world.assert_same("shop.t", "public.t");
    // CAP-3: what the streams lack is told.
    assert_eq!(source.status().counters.gaps, 1);
    source.stop();
}
