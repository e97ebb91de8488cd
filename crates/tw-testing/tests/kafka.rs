//! The brokers that tests start are real, keep their data through a kill, and leave nothing behind.
#![expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use tw_testing::{Broker, Kafka, eventually};

/// Sends a request of Kafka's protocol (https://kafka.apache.org/protocol) in its oldest form of header, and returns what
/// follows the correlation id of the answer; None when the broker is not there.
fn ask(broker: &Broker, api: i16, version: i16, body: &[u8]) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", broker.port())).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut request = Vec::new();
    request.extend_from_slice(&api.to_be_bytes());
    request.extend_from_slice(&version.to_be_bytes());
    request.extend_from_slice(&7i32.to_be_bytes());
    request.extend_from_slice(&text("tests"));
    request.extend_from_slice(body);
    stream.write_all(&(request.len() as u32).to_be_bytes()).ok()?;
    stream.write_all(&request).ok()?;
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).ok()?;
    assert_eq!(answer.get(..4), Some(7i32.to_be_bytes().as_slice()), "another request was answered");
    answer.get(4..).map(<[u8]>::to_vec)
}

fn text(text: &str) -> Vec<u8> {
    [(text.len() as i16).to_be_bytes().as_slice(), text.as_bytes()].concat()
}

/// CreateTopics, version 2: one topic with one partition, on as many replicas as the cluster's default says.
fn create_topic(broker: &Broker, name: &str, replicas: i16) {
    let mut body = 1i32.to_be_bytes().to_vec();
    body.extend_from_slice(&text(name));
    body.extend_from_slice(&1i32.to_be_bytes());
    body.extend_from_slice(&replicas.to_be_bytes());
    body.extend_from_slice(&[0; 8]);
    body.extend_from_slice(&30_000i32.to_be_bytes());
    body.push(0);
    let answer = ask(broker, 19, 2, &body).unwrap();
    // Throttle time, how many topics, the name, then the error.
    assert_eq!(answer.get(10 + name.len()..12 + name.len()), Some([0, 0].as_slice()), "{answer:?}");
}

/// Metadata, version 1: whether the broker knows the topic.
fn knows(broker: &Broker, name: &str) -> bool {
    let body = [1i32.to_be_bytes().to_vec(), text(name)].concat();
    let Some(answer) = ask(broker, 3, 1, &body) else { return false };
    // The topic comes last, with its error before its name.
    let name = text(name);
    let place = answer.windows(name.len()).position(|window| window == name).unwrap();
    answer.get(place - 2..place) == Some([0, 0].as_slice())
}

#[test]
fn a_killed_broker_starts_again_with_its_data_and_a_dropped_one_leaves_nothing() {
    let mut kafka = Kafka::start();
    let port = kafka.broker(0).port();
    create_topic(kafka.broker(0), "kept", 1);
    kafka.broker(0).kill();
    assert!(!knows(kafka.broker(0), "kept"));
    kafka.broker(0).start_again();
    assert_eq!(kafka.broker(0).port(), port);
    eventually(|| knows(kafka.broker(0), "kept").then_some(()), || "the topic is gone".into());
    assert!(!knows(kafka.broker(0), "never made"));
    kafka.broker(0).stop();
    let folder = kafka.broker(0).data_folder();
    assert!(folder.exists());
    drop(kafka);
    assert!(!folder.exists());
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn a_paused_broker_answers_once_it_goes_on() {
    let mut kafka = Kafka::start();
    create_topic(kafka.broker(0), "patience", 1);
    kafka.broker(0).pause();
    let mut stream = TcpStream::connect(("127.0.0.1", kafka.broker(0).port())).unwrap();
    // ApiVersions, version 0, without a client's name.
    stream.write_all(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 9, 255, 255]).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut answer = [0; 8];
    assert!(stream.read_exact(&mut answer).is_err(), "a paused broker answers");
    kafka.broker(0).resume();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer.get(4..), Some([0, 0, 0, 9].as_slice()));
}

#[test]
fn three_brokers_go_on_without_one_of_them() {
    let mut kafka = Kafka::builder().brokers(3).start();
    assert_eq!(kafka.bootstrap().split(',').count(), 3);
    kafka.broker(2).kill();
    // Two of three controllers elect a leader, which may have been the third.
    eventually(
        || {
            let two = kafka.brokers().iter().take(2);
            two.clone().all(|broker| ask(broker, 18, 0, &[]).is_some()).then_some(())
        },
        || "the others do not answer".into(),
    );
    create_topic(kafka.broker(0), "without-the-third", 2);
    kafka.broker(2).start_again();
    eventually(
        || knows(kafka.broker(2), "without-the-third").then_some(()),
        || "the third does not learn of what it missed".into(),
    );
}
