//! Datagrams that `dig` does not send, and more of them than are answered.

use crate::clients::{ask, connect, query, socket};
use crate::world::World;
use tw_testing::eventually;

#[test]
fn beyond_the_limit_every_second_query_is_told_to_come_over_tcp_and_the_others_get_nothing() {
    const QUERIES: u16 = 60;
    let world = World::with(|options| options.answers_per_s_max = 2);
    let socket = socket(&world);
    for id in 0..QUERIES {
        socket.send(&query(id, "eu.tw.example")).unwrap();
    }
    let seen = || {
        let now = world.counters();
        let all = now.noerror + now.limited_truncated + now.limited_dropped;
        (all == u64::from(QUERIES)).then_some(now)
    };
    let counters = eventually(seen, || format!("{:?}", world.counters()));
    assert!(counters.noerror >= 2 && counters.limited_dropped > 0, "{counters:?}");
    assert!(counters.limited_truncated.abs_diff(counters.limited_dropped) <= 1, "{counters:?}");
    let (mut whole, mut cut) = (0, 0);
    let mut answer = [0; 512];
    for _ in 0..counters.noerror + counters.limited_truncated {
        let length = socket.recv(&mut answer).unwrap();
        if answer[2] & 0x02 == 0 {
            whole += 1;
        } else {
            assert_eq!(length, query(0, "eu.tw.example").len(), "it amplifies");
            cut += 1;
        }
    }
    assert_eq!((whole, cut), (counters.noerror, counters.limited_truncated));
    assert_eq!(ask(&mut connect(&world), 7), Some((7, [192, 0, 2, 1])), "connections have no such limit");
}

#[test]
fn what_gets_no_answer_is_counted_and_the_next_query_is_answered() {
    let world = World::new();
    let socket = socket(&world);
    let mut response = query(1, "eu.tw.example");
    response[2] |= 0x80;
    for ignored in [vec![], vec![0; 11], response, vec![0; 5_000]] {
        socket.send(&ignored).unwrap();
    }
    socket.send(&query(9, "us.tw.example")).unwrap();
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer).unwrap();
    assert_eq!((&answer[..2], &answer[length - 4..length]), (&[0, 9][..], &[192, 0, 2, 2][..]));
    assert_eq!((world.counters().ignored, world.counters().noerror), (4, 1));
}
