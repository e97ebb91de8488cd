//! The etcd server of the tests.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use tw_testing::{Etcd, PATIENCE};

/// What it answers to a request, or nothing if that takes too long.
fn ask(etcd: &Etcd, (path, body): (&str, &str), patience: Duration) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", etcd.port())).ok()?;
    stream.set_read_timeout(Some(patience)).ok()?;
    let request = format!("POST {path} HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// `a` = `b`
const WRITE: (&str, &str) = ("/v3/kv/put", r#"{"key":"YQ==","value":"Yg=="}"#);
const READ: (&str, &str) = ("/v3/kv/range", r#"{"key":"YQ=="}"#);

#[test]
fn what_was_written_survives_stop_and_kill() {
    let mut etcd = Etcd::start();
    assert!(ask(&etcd, WRITE, PATIENCE).unwrap().contains("revision"));
    etcd.stop();
    assert_eq!(ask(&etcd, READ, PATIENCE), None);
    etcd.start_again();
    etcd.kill();
    etcd.start_again();
    assert!(ask(&etcd, READ, PATIENCE).unwrap().contains("Yg=="));
    etcd.stop();
    etcd.wipe();
    etcd.start_again();
    assert!(!ask(&etcd, READ, PATIENCE).unwrap().contains("Yg=="));
}

#[test]
fn a_paused_server_is_silent_and_goes_on() {
    let mut etcd = Etcd::start();
    etcd.pause();
    assert_eq!(ask(&etcd, READ, Duration::from_millis(300)), None);
    etcd.resume();
    assert!(ask(&etcd, WRITE, PATIENCE).unwrap().contains("revision"));
    // A paused one ends in order.
    etcd.pause();
    etcd.stop();
    assert!(etcd.log().contains("skipped leadership transfer"), "{}", etcd.log());
    etcd.start_again();
    assert!(ask(&etcd, READ, PATIENCE).unwrap().contains("Yg=="));
    // And with its value.
    etcd.pause();
    let port = etcd.port();
    drop(etcd);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}
