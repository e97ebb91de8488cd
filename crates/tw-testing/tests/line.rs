//! The line: what goes through it comes as late as it says, in order, whole, and not while it is cut.
#![expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};
use tw_testing::{Line, Quality, Way};

/// How long nothing comes where nothing may come.
const SILENCE: Duration = Duration::from_millis(150);

/// A server that sends back what it gets; its port.
fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || {
                let (mut from, mut to) = (stream.as_ref().unwrap(), stream.as_ref().unwrap());
                let _ends_with_the_connection = std::io::copy(&mut from, &mut to);
            });
        }
    });
    port
}

fn connect(line: &Line) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", line.port())).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

fn read(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

/// Sees that nothing comes for a while.
fn is_silent(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(SILENCE)).unwrap();
    let kind = stream.read(&mut [0]).unwrap_err().kind();
    assert!(matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{kind:?}");
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
}

/// Bytes of which no two neighbours are the same.
fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

#[test]
fn an_answer_takes_the_round_trip_at_least() {
    let line = Line::open(echo(), Quality::of_round_trip(Duration::from_millis(80)), 1);
    let mut stream = connect(&line);
    for _ in 0..3 {
        let asked = Instant::now();
        stream.write_all(b"ping").unwrap();
        assert_eq!(read(&mut stream, 4), b"ping");
        assert!(asked.elapsed() >= Duration::from_millis(80), "{:?}", asked.elapsed());
    }
}

#[test]
fn bytes_come_in_order_and_whole_whatever_the_jitter() {
    let millis = Duration::from_millis;
    let quality = Quality { delay: millis(1), jitter: millis(20), ..Quality::default() };
    let line = Line::open(echo(), quality, 2);
    let sent = &bytes(1 << 20);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut stream = connect(&line);
                let mut writing = stream.try_clone().unwrap();
                scope.spawn(move || sent.chunks(7_001).for_each(|chunk| writing.write_all(chunk).unwrap()));
                assert!(read(&mut stream, sent.len()) == *sent);
            });
        }
    });
    assert_eq!(Way::BOTH.map(|way| line.passed_bytes(way)), [3 << 20, 3 << 20]);
}

#[test]
fn all_connections_share_the_width_of_the_line() {
    let line = Line::open(echo(), Quality::default(), 3);
    line.set(Way::There, Quality { bytes_per_second: 1 << 20, ..Quality::default() });
    let (began, sent) = (Instant::now(), bytes(128 << 10));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut stream = connect(&line);
                stream.write_all(&sent).unwrap();
                read(&mut stream, sent.len());
            });
        }
    });
    assert!(began.elapsed() >= Duration::from_millis(500), "{:?}", began.elapsed());
}

#[test]
fn what_is_sent_while_a_way_is_cut_arrives_once_it_is_mended() {
    let line = Line::open(echo(), Quality::default(), 4);
    for way in Way::BOTH {
        let mut stream = connect(&line);
        stream.write_all(b"before ").unwrap();
        assert_eq!(read(&mut stream, 7), b"before ");
        line.cut(way);
        let before = Way::BOTH.map(|way| line.passed_bytes(way));
        stream.write_all(b"during").unwrap();
        is_silent(&mut stream);
        // The other way works: what was sent has reached the server if only its answer is cut off.
        let [there, back] = Way::BOTH.map(|way| line.passed_bytes(way));
        let more = (there - before[0], back - before[1]);
        assert_eq!(more, if way == Way::There { (0, 0) } else { (6, 0) });
        // Nobody gets through who comes now, and nobody is refused.
        let mut late = connect(&line);
        late.write_all(b"late").unwrap();
        is_silent(&mut late);
        line.mend();
        assert_eq!(read(&mut stream, 6), b"during");
        assert_eq!(read(&mut late, 4), b"late");
    }
}

#[test]
fn connections_that_are_dropped_end_at_both_sides_and_new_ones_work() {
    let line = Line::open(echo(), Quality::default(), 5);
    let mut stream = connect(&line);
    stream.write_all(b"x").unwrap();
    assert_eq!(read(&mut stream, 1), b"x");
    line.drop_connections();
    assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)));
    let mut stream = connect(&line);
    stream.write_all(b"y").unwrap();
    assert_eq!(read(&mut stream, 1), b"y");
    // An end is passed on, and what was sent before it arrives.
    stream.write_all(b"last").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"last");
}
