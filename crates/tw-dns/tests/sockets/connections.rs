//! Connections: how many queries, how many of them, for how long.

use crate::clients::{ask, connect, framed, next, query};
use crate::world::World;
use std::io::{Read as _, Write as _};
use tw_testing::eventually;

#[test]
fn queries_that_come_together_and_in_pieces_are_answered_in_their_order() {
    let world = World::new();
    let mut stream = connect(&world);
    let names = ["eu.tw.example", "us.tw.example", "sg.tw.example"];
    let bytes: Vec<u8> = (0..30).flat_map(|id| framed(&query(id, names[usize::from(id) % 3]))).collect();
    let (some, rest) = bytes.split_at(bytes.len() / 2 - 5);
    stream.write_all(some).unwrap();
    assert_eq!(next(&mut stream), Some((0, [192, 0, 2, 1])));
    stream.write_all(rest).unwrap();
    for id in 1..30 {
        assert_eq!(next(&mut stream), Some((id, [192, 0, 2, (id % 3) as u8 + 1])));
    }
    assert_eq!((world.counters().connections, world.counters().noerror), (1, 30));
}

#[test]
fn a_silent_connection_is_closed() {
    let world = World::with(|options| options.idle_ms_max = 100);
    let mut stream = connect(&world);
    assert_eq!(ask(&mut stream, 1), Some((1, [192, 0, 2, 1])));
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
    // So is one that never finishes its query.
    let mut stream = connect(&world);
    stream.write_all(&[0, 40, 1]).unwrap();
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn what_is_no_query_ends_the_connection() {
    let world = World::new();
    let mut response = query(1, "eu.tw.example");
    response[2] |= 0x80;
    for bytes in [framed(&response), vec![0xff, 0xff, 0], vec![0, 0]] {
        let mut stream = connect(&world);
        stream.write_all(&bytes).unwrap();
        assert_eq!(next(&mut stream), None);
    }
    assert_eq!((world.counters().ignored, world.counters().connections), (2, 3));
}

#[test]
fn a_network_gets_its_connections_and_no_more_until_one_of_them_ends() {
    let world = World::with(|options| options.connections_per_network_max = 2);
    let mut open = [connect(&world), connect(&world)];
    for stream in &mut open {
        assert_eq!(ask(stream, 3), Some((3, [192, 0, 2, 1])));
    }
    assert_eq!(ask(&mut connect(&world), 4), None);
    assert_eq!(world.counters().connections_refused, 1);
    let [_stays, ends] = open;
    drop(ends);
    eventually(|| ask(&mut connect(&world), 5), || "no place is free again".to_owned());
}

#[test]
fn a_connection_beyond_all_of_them_waits_until_one_ends() {
    let world = World::with(|options| {
        options.connections_max = 1;
        options.connections_per_network_max = 1;
    });
    let mut first = connect(&world);
    assert_eq!(ask(&mut first, 1), Some((1, [192, 0, 2, 1])));
    let mut second = connect(&world);
    second.write_all(&framed(&query(2, "us.tw.example"))).unwrap();
    assert_eq!(ask(&mut first, 3), Some((3, [192, 0, 2, 1])));
    assert_eq!(world.counters().connections, 1);
    drop(first);
    assert_eq!(next(&mut second), Some((2, [192, 0, 2, 2])));
    assert_eq!((world.counters().connections, world.counters().connections_refused), (2, 0));
}
