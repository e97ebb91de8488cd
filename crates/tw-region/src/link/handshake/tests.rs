//! Who gets a link, and for which streams.

use super::*;

fn stream(id: u32, name: &str) -> LocalStream {
    let (kind, mode) = ("events".to_owned(), "active-active".to_owned());
    LocalStream { id: StreamId(id), name: name.to_owned(), partitions: 4, kind, mode, schema_hash: 0 }
}

fn region(number: u16, streams: Vec<LocalStream>) -> Local {
    let (installation, name) = (u128::from(number) + 100, format!("region-{number}"));
    Local {
        region: RegionId(number),
        name,
        installation,
        epoch: Epoch(1),
        streams,
        evicted: BTreeMap::new(),
        out: vec![],
    }
}

fn refused(local: &Local, hello: &Hello) -> Refuse {
    local.agree(hello, RegionId(2), 0, 500).unwrap_err().to_frame()
}

#[test]
fn the_same_streams_with_other_numbers_are_agreed_on() {
    let here = region(1, vec![stream(7, "orders"), stream(8, "users")]);
    let there = region(2, vec![stream(1, "users"), stream(2, "orders")]);
    let agreed = here.agree(&there.hello(1_400), RegionId(2), 1_000, 400).unwrap();
    let streams: Vec<_> = agreed.streams.iter().map(|(index, one)| (*index, one.id.0, &*one.name)).collect();
    assert_eq!(streams, [(0, 8, "users"), (1, 7, "orders")]);
    assert_eq!((agreed.protocol, agreed.peer, agreed.notes), (4, RegionId(2), vec![]));
}

#[test]
fn what_differs_in_one_stream_does_not_stop_the_others() {
    let here = region(1, ["a", "b", "c", "d", "e", "only-here"].map(|name| stream(1, name)).into());
    let mut there =
        region(2, ["a", "b", "c", "d", "e", "e", "only-there"].map(|name| stream(1, name)).into());
    there.streams[0].partitions = 5;
    there.streams[1].kind = "table".to_owned();
    there.streams[2].mode = "home-region".to_owned();
    there.streams[3].schema_hash = 0xbeef;
    let agreed = here.agree(&there.hello(1_401), RegionId(2), 1_000, 400).unwrap();
    assert_eq!(agreed.streams.values().map(|one| &*one.name).collect::<Vec<_>>(), ["e"]);
    let notes: Vec<String> = agreed.notes.iter().map(ToString::to_string).collect();
    for (note, text) in notes.iter().zip([
        "stream `a` is not replicated with region `2`: its number of partitions is `4` here and `5` there",
        "stream `b` is not replicated with region `2`: its kind is `events` here and `table` there",
        "stream `c` is not replicated with region `2`: its mode is `active-active` here and `home-region`",
        "stream `d` is not replicated with region `2`: its schema is `none` here and `000000000000beef`",
        "region `2` names stream `e` more than once",
        "stream `only-there` of region `2` is not replicated, because there is no such stream here: it is created",
        "stream `only-here` is not replicated with region `2`, because that has no such stream: it is created",
        "the clock of region `2` is 401 ms away from the one here, more than 400 ms",
    ]) {
        assert!(note.starts_with(text), "{note}");
    }
    assert_eq!(notes.len(), 8);
}

#[test]
fn whoever_is_not_the_expected_region_gets_no_link() {
    let here = region(1, vec![]);
    let good = region(2, vec![]).hello(0);
    assert!(here.agree(&good, RegionId(2), 0, 500).is_ok());
    let refuse = refused(&here, &Hello { region: RegionId(3), ..good.clone() });
    assert_eq!(
        (&*refuse.code, &*refuse.text),
        ("other-region", "region `3` answers where region `2` was expected")
    );
    assert!(refuse.remedy.starts_with("correct the address"));
    assert_eq!(refused(&here, &Hello { region: RegionId(1), ..good.clone() }).code, "same-region");
    assert_eq!(refused(&here, &Hello { region: RegionId(0), ..good.clone() }).code, "single-region");
    assert_eq!(refused(&here, &Hello { installation: 101, ..good.clone() }).code, "copy");
    let later = Hello { protocols: Protocols { min: 5, max: 6 }, ..good.clone() };
    assert_eq!(refused(&here, &later).text, "one side speaks protocols 1 to 4, the other one 5 to 6");
    let both = Hello { protocols: Protocols { min: 1, max: 5 }, ..good };
    assert_eq!(here.agree(&both, RegionId(2), 0, 500).unwrap().protocol, 4);
}

#[test]
fn a_region_of_protocol_1_has_links_and_gives_nothing_back() {
    let here = region(1, vec![]);
    let older = Hello { protocols: Protocols { min: 1, max: 1 }, ..region(2, vec![]).hello(0) };
    let agreed = here.agree(&older, RegionId(2), 0, 500).unwrap();
    assert_eq!(agreed.protocol, 1);
    let refused = agreed.in_place_of(RegionId(1)).unwrap_err();
    assert_eq!((refused.code(), refused.remedy().contains("update")), ("gives-nothing-back", true));
    let agreed = here.agree(&region(2, vec![]).hello(0), RegionId(2), 0, 500).unwrap();
    let stands_in = agreed.in_place_of(RegionId(1)).unwrap();
    assert_eq!((stands_in.peer, stands_in.epoch), (RegionId(1), Epoch(1)));
}

/// A region of protocol 2 takes the wish for a relay for one to be given back what there is, and would promise what it does not know.
#[test]
fn a_region_of_protocol_2_is_no_relay_and_what_a_relay_says_of_streams_is_said_of_the_other_region() {
    let here = region(3, vec![stream(1, "only-here")]);
    let older = Hello { protocols: Protocols { min: 1, max: 2 }, ..region(2, vec![]).hello(0) };
    let agreed = here.agree(&older, RegionId(2), 0, 500).unwrap();
    let refused = agreed.relays(RegionId(1), None).unwrap_err();
    assert_eq!((refused.code(), refused.remedy().contains("update")), ("cannot-relay", true));
    let agreed = here.agree(&region(2, vec![]).hello(10_000), RegionId(2), 0, 500).unwrap();
    assert_eq!(agreed.notes.len(), 2);
    let relayed = agreed.relays(RegionId(1), Some(Epoch(4))).unwrap();
    assert_eq!((relayed.peer, relayed.epoch, &*relayed.name), (RegionId(1), Epoch(4), ""));
    let missing = Note::MissingThere { stream: "only-here".to_owned(), peer: RegionId(1) };
    assert_eq!(relayed.notes, [missing], "the relay's clock is told of its own link");
}
