//! A folder of a bucket as a depot, on a real server.

use crate::conformance;
use bytes::Bytes;
use futures_util::future::join_all;
use pollster::block_on;
use std::io::Read as _;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tw_depot::{Depot, Error, Objects, Options};
use tw_testing::{S3Proxy, eventually};

/// A folder of a bucket of a server.
fn options(server: &S3Proxy, place: &str) -> Options {
    Options {
        place: format!("s3://{place}"),
        endpoint: server.endpoint(),
        allow_http: true,
        credentials_file: server.keys(),
        ..Options::default()
    }
}

fn open(runtime: &Runtime, options: &Options) -> Objects {
    Objects::open(options, runtime.handle().clone()).unwrap().unwrap()
}

/// What each kind of request says.
fn all_say(depot: &Objects) -> Vec<Error> {
    let mut said = all_but_removing_say(depot);
    said.push(block_on(depot.remove("a")).unwrap_err());
    said
}

fn all_but_removing_say(depot: &Objects) -> Vec<Error> {
    vec![
        block_on(depot.put("a", Bytes::from_static(b"x"))).unwrap_err(),
        block_on(depot.get("a", 1)).unwrap_err(),
        block_on(depot.list("a", 1)).unwrap_err(),
        block_on(depot.probe()).unwrap_err(),
    ]
}

#[test]
fn a_bucket_keeps_every_promise_and_its_folders_are_apart() {
    let (runtime, server) = (Runtime::new().unwrap(), S3Proxy::shared());
    server.create_bucket("promises");
    let [whole, folder, beside] = ["promises", "promises/a/folder", "promises/a/folder-2"]
        .map(|place| open(&runtime, &options(&server, place)));
    conformance::all(&folder);
    block_on(beside.put("a/b", Bytes::from_static(b"x"))).unwrap();
    assert_eq!(block_on(folder.get("a/b", 1)).unwrap(), None);
    assert_eq!(block_on(folder.list("a", 1)).unwrap(), [""; 0]);
    assert_eq!(block_on(whole.list("a", 1)).unwrap(), ["a/folder-2/a/b"]);
    for depot in [&whole, &folder, &beside] {
        block_on(depot.probe()).unwrap();
    }
    conformance::all(&whole);
}

#[test]
fn a_listing_of_many_pages_is_whole_and_in_order() {
    let (runtime, server) = (Runtime::new().unwrap(), S3Proxy::shared());
    server.create_bucket("pages");
    let depot = open(&runtime, &options(&server, "pages/depot"));
    // A page has 1,000 names at most.
    let names: Vec<String> = (0..2_050).map(|number| format!("many/{}/{number:04}", number % 3)).collect();
    for some in names.chunks(50) {
        for stored in block_on(join_all(some.iter().map(|name| depot.put(name, Bytes::new())))) {
            stored.unwrap();
        }
    }
    let mut expected = names.clone();
    expected.sort_unstable();
    assert_eq!(block_on(depot.list("many", names.len())).unwrap(), expected);
    let outcome = block_on(depot.list("many", names.len() - 1));
    assert!(matches!(outcome, Err(Error::TooMany { names_max: 2_049, .. })), "{outcome:?}");
    assert_eq!(block_on(depot.list("many/1", names.len())).unwrap().len(), 683);
}

#[test]
fn wrong_keys_are_refused_with_what_to_correct_and_corrected_ones_count_at_once() {
    let (runtime, server) = (Runtime::new().unwrap(), S3Proxy::start());
    server.create_bucket("keys");
    server.write_keys("something else");
    let depot = open(&runtime, &options(&server, "keys"));
    for error in all_say(&depot) {
        assert_eq!(
            error.to_string(),
            "depot `s3://keys` refuses this with `SignatureDoesNotMatch`: the secret does not belong to the key: correct \
             `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or the file that `credentials_file` names"
        );
    }
    let unknown = "[default]\naws_access_key_id = nobody\naws_secret_access_key = x\n";
    std::fs::write(server.keys(), unknown).unwrap();
    for error in all_say(&depot) {
        assert!(matches!(&error, Error::Refused { code, .. } if code == "InvalidAccessKeyId"), "{error}");
    }
    std::fs::remove_file(server.keys()).unwrap();
    for error in all_say(&depot) {
        assert!(matches!(&error, Error::NoKeys { .. }), "{error}");
        assert!(error.to_string().contains("`credentials_file` names"), "{error}");
    }
    let unreadable = Objects::open(&options(&server, "keys"), runtime.handle().clone());
    assert!(matches!(unreadable, Err(Error::NoKeys { .. })), "{unreadable:?}");
    server.write_keys(S3Proxy::SECRET);
    block_on(depot.put("a", Bytes::from_static(b"x"))).unwrap();
}

#[test]
fn a_bucket_that_is_not_there_is_an_error_and_not_an_empty_depot() {
    let (runtime, server) = (Runtime::new().unwrap(), S3Proxy::shared());
    // This server finds that what is removed there is gone.
    for error in all_but_removing_say(&open(&runtime, &options(&server, "missing/folder"))) {
        assert_eq!(
            error.to_string(),
            "depot `s3://missing/folder` is not there: create its bucket, or name another one in `place`"
        );
    }
}

#[test]
fn a_server_with_tls_is_trusted_if_the_named_file_vouches_for_it() {
    let (runtime, server) = (Runtime::new().unwrap(), S3Proxy::start_with_tls());
    server.create_bucket("tls");
    let unknown = Options { allow_http: false, ..options(&server, "tls") };
    for error in all_say(&open(&runtime, &unknown)) {
        assert!(matches!(error, Error::Unreachable { .. }), "{error}");
        let said = error.to_string();
        assert!(said.contains("certificate: UnknownIssuer") && said.contains("`ca_file`"), "{said}");
    }
    let known = Options { ca_file: server.certificate(), ..unknown };
    let depot = open(&runtime, &known);
    block_on(depot.put("a", Bytes::from_static(b"x"))).unwrap();
    assert_eq!(block_on(depot.get("a", 1)).unwrap(), Some(Bytes::from_static(b"x")));
}

#[test]
fn nothing_half_written_is_read_when_a_server_is_killed_over_and_over() {
    const BYTES: usize = 3 << 20;
    let (runtime, mut server) = (Runtime::new().unwrap(), S3Proxy::start());
    server.create_bucket("killed");
    let depot = open(&runtime, &options(&server, "killed"));
    let object = |fill: u8| Bytes::from(vec![fill; BYTES + usize::from(fill)]);
    // What may be there: the last that was stored for sure, or one that was tried since.
    let (mut fill, mut possible) = (0_u8, vec![object(0)]);
    block_on(depot.put("object", object(0))).unwrap();
    for _ in 0..3 {
        let (puts, gets) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            let writing = scope.spawn(|| {
                loop {
                    fill = fill.wrapping_add(1);
                    match block_on(depot.put("object", object(fill))) {
                        Ok(()) => possible = vec![object(fill)],
                        Err(error) => {
                            possible.push(object(fill));
                            return error;
                        }
                    }
                    puts.fetch_add(1, Ordering::SeqCst);
                }
            });
            let reading = scope.spawn(|| {
                loop {
                    match block_on(depot.get("object", 2 * BYTES as u64)) {
                        Ok(got) => {
                            let got = got.unwrap();
                            assert!(got == object(got[0]), "{} bytes of {}", got.len(), got[0]);
                        }
                        Err(error) => return error,
                    }
                    gets.fetch_add(1, Ordering::SeqCst);
                }
            });
            let are_at_it =
                || (puts.load(Ordering::SeqCst) > 3 && gets.load(Ordering::SeqCst) > 3).then_some(());
            eventually(are_at_it, || format!("{puts:?} and {gets:?}"));
            server.kill();
            for error in [reading.join().unwrap(), writing.join().unwrap()] {
                assert!(matches!(error, Error::Unreachable { .. } | Error::Engine { .. }), "{error}");
            }
        });
        server.start_again();
        let got = block_on(depot.get("object", 2 * BYTES as u64)).unwrap().unwrap();
        assert!(possible.contains(&got), "{} bytes of {}, after {fill}", got.len(), got[0]);
    }
}

#[test]
fn a_request_outlives_a_server_that_starts_again_in_time() {
    let (runtime, mut server) = (Runtime::new().unwrap(), S3Proxy::start());
    server.create_bucket("again");
    let depot = open(&runtime, &options(&server, "again"));
    block_on(depot.put("a", Bytes::from_static(b"x"))).unwrap();
    // It holds the connection, and does not answer before it goes on.
    server.pause();
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| block_on(depot.get("a", 1)));
        server.resume();
        assert_eq!(asked.join().unwrap().unwrap(), Some(Bytes::from_static(b"x")));
    });
    server.kill();
    server.start_again();
    // The connection of before is of no use any more.
    assert_eq!(block_on(depot.get("a", 1)).unwrap(), Some(Bytes::from_static(b"x")));
}

#[test]
fn a_server_that_is_not_there_is_named_in_time() {
    let runtime = Runtime::new().unwrap();
    let keys = S3Proxy::shared();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let options =
        Options { endpoint: format!("http://{address}"), request_ms_max: 2_000, ..options(&keys, "nowhere") };
    for error in all_say(&open(&runtime, &options)) {
        assert_eq!(
            error.to_string(),
            format!(
                "depot `s3://nowhere` cannot be reached at `{address}`, Connection refused (os error 111): see whether it runs \
                 there and whether a firewall is in between, or correct `endpoint` and `region`"
            )
        );
    }
}

#[test]
fn a_server_that_does_not_answer_is_waited_for_no_longer_than_allowed() {
    let (runtime, keys) = (Runtime::new().unwrap(), S3Proxy::shared());
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let options = Options { endpoint, request_ms_max: 400, ..options(&keys, "silent") };
    let depot = open(&runtime, &options);
    let since = Instant::now();
    let outcome = block_on(depot.get("a", 1));
    assert!(
        matches!(outcome, Err(Error::Timeout { request_ms_max: 400, .. } | Error::Unreachable { .. })),
        "{outcome:?}"
    );
    assert!(since.elapsed() < Duration::from_secs(30));
    // It was asked, and what it was asked for is signed, not told.
    let (mut connection, _) = silent.accept().unwrap();
    let mut request = [0; 2_000];
    let read = connection.read(&mut request).unwrap();
    let request = String::from_utf8_lossy(&request[..read]).into_owned();
    assert!(request.starts_with("GET /silent/a HTTP/1.1") && !request.contains(S3Proxy::SECRET), "{request}");
}
