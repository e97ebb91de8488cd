//! The servers that tests start are real, survive a kill, and leave nothing behind.
#![expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::io::{Read, Write};
use std::net::TcpStream;
use tw_testing::{Install, Postgres};

/// Says hello and asks for no encryption, which any PostgreSQL server answers with an authentication request.
fn answers(server: &Postgres) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", server.port())) else { return false };
    let parameters = b"user\0postgres\0database\0postgres\0\0";
    let mut startup = Vec::from((parameters.len() as u32 + 8).to_be_bytes());
    startup.extend_from_slice(&[0, 3, 0, 0]);
    startup.extend_from_slice(parameters);
    stream.write_all(&startup).unwrap();
    let mut answer = [0u8; 1];
    stream.read_exact(&mut answer).is_ok() && answer == *b"R"
}

#[test]
fn every_version_starts_and_answers() {
    for install in Install::all() {
        let server = Postgres::builder().install(&install).start();
        assert!(answers(&server), "version {}", install.major());
    }
}

#[test]
fn a_killed_server_starts_again_on_its_port_and_a_dropped_one_leaves_nothing() {
    let mut server = Postgres::start();
    let port = server.port();
    server.kill();
    assert!(!answers(&server));
    server.start_again();
    assert!(answers(&server) && server.port() == port);
    let folder = server.socket_folder().to_owned();
    drop(server);
    assert!(!folder.exists());
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn a_copy_takes_the_place_of_the_server_that_it_was_made_from() {
    let mut server = Postgres::start();
    server.stop();
    let mut copy = server.copy();
    copy.take_place_of(&server);
    copy.start_again();
    assert!(answers(&server), "the copy listens on the port of the original");
}
