//! What messages look like: what is read, what is refused, how long answers are.

use super::world::{Answered, Bytes, World, query};
use super::*;
use hickory_proto::op::OpCode;

/// A query for the service.
fn service() -> Bytes {
    query("api.tw.example.", RecordType::A)
}

/// A zone whose regions have so many addresses that they do not fit into a datagram.
fn wide() -> World {
    let mut world = World::new();
    world.change(|options| {
        options.answers_max = 8;
        for region in &mut options.regions {
            region.ipv6 =
                (1..=16).map(|host| [0x2001, 0xdb8, region.id.0, 0, 0, 0, 0, host].into()).collect();
            region.ipv4 = (1..=16).map(|host| [192, 0, region.id.0 as u8, host].into()).collect();
        }
    });
    world
}

#[test]
fn what_is_no_query_gets_no_answer() {
    let world = World::new();
    assert!(world.bytes("192.0.2.9", Transport::Udp, &service().with(2, &[0x81]).0).is_none(), "a response");
    assert!(world.bytes("192.0.2.9", Transport::Udp, &[0; 11]).is_none());
    assert!(world.bytes("192.0.2.9", Transport::Udp, &[]).is_none());
    assert!(cut_short(&service().with(2, &[0x81]).0).is_none() && cut_short(&[0; 12]).is_none());
    // A response that cannot even be read is still one.
    assert!(world.bytes("192.0.2.9", Transport::Udp, &service().with(2, &[0x81]).0[..20]).is_none());
}

#[test]
fn other_operations_classes_zones_and_transfers_are_refused() {
    let world = World::new();
    for op_code in [OpCode::Status, OpCode::Notify, OpCode::Update, OpCode::Unknown(1), OpCode::Unknown(15)] {
        let answered = world.ask(&service().with(2, &[u8::from(op_code) << 3]));
        assert_eq!((answered.code(), answered.message.metadata.op_code), (Code::NotImp, op_code));
    }
    let class = |class: u16| service().with(service().0.len() - 2, &class.to_be_bytes());
    for other in [3, 4, 254, 255, 7] {
        assert_eq!(world.ask(&class(other)).code(), Code::Refused, "class {other}");
    }
    assert_eq!(world.ask(&class(1)).code(), Code::NoError);
    for name in ["example.", ".", "xtw.example.", "api.tw.example.org."] {
        let answered = world.ask(&query(name, RecordType::A));
        assert_eq!((answered.code(), answered.message.metadata.authoritative), (Code::Refused, false));
    }
    for kind in [RecordType::AXFR, RecordType::IXFR] {
        let answered = world.ask_from("192.0.2.9", Transport::Tcp, &query("tw.example.", kind));
        assert_eq!((answered.code(), answered.message.answers.len()), (Code::Refused, 0));
    }
}

#[test]
fn what_cannot_be_read_is_told_so() {
    let world = World::new();
    let edns = || service().edns(1_232);
    let name_bytes = 12 + 16;
    let wrong: Vec<(&str, Vec<u8>)> = vec![
        ("no question", service().with(5, &[0]).0),
        ("two questions", service().with(5, &[2]).0),
        ("a question that is cut", service().0[..name_bytes + 3].to_vec()),
        ("a name that is cut", service().0[..20].to_vec()),
        ("a label of 64 bytes", service().with(12, &[64]).0),
        ("a name that points into the header", service().with(12, &[0xc0, 0]).0),
        ("a record that is not there", service().with(11, &[1]).0),
        ("something after the end", [service().0, vec![0]].concat()),
        ("EDNS twice", edns().edns(1_232).0),
        ("EDNS among the answers", edns().with(6, &[0, 1]).with(10, &[0, 0]).0),
        ("EDNS of another name than the root", {
            let mut bytes = edns().0;
            bytes.splice(name_bytes + 4..name_bytes + 5, [1, b'a', 0]);
            bytes
        }),
        ("an option that is cut", edns().option(3, &[1, 2]).with(edns().0.len() + 3, &[9]).0),
        ("the start of an option", {
            let at = edns().0.len() - 1;
            [edns().with(at, &[2]).0, vec![0, 3]].concat()
        }),
        ("a subnet with bits beyond its prefix", edns().option(8, &[0, 1, 20, 0, 198, 51, 100]).0),
        ("a subnet with a scope", edns().option(8, &[0, 1, 24, 24, 198, 51, 100]).0),
        ("a subnet of an unknown family", edns().option(8, &[0, 9, 8, 0, 1]).0),
        (
            "two subnets",
            edns().option(8, &[0, 1, 0, 0, 0, 8, 0, 4, 0, 1, 0, 0]).with(edns().0.len() + 2, &[0, 4]).0,
        ),
    ];
    for (what, bytes) in wrong {
        let answered = world.bytes("192.0.2.9", Transport::Udp, &bytes);
        let answered = answered.unwrap_or_else(|| panic!("{what}: no answer"));
        assert_eq!(answered.code(), Code::FormErr, "{what}");
        assert_eq!(answered.message.metadata.id, 0x1234, "{what}");
        assert!(answered.message.answers.is_empty() && answered.scope().is_none(), "{what}");
    }
}

#[test]
fn options_and_records_that_nobody_knows_are_passed_over() {
    let world = World::new();
    let cookie = service().edns(1_232).option(10, &[1; 8]);
    assert_eq!(world.ask(&cookie).code(), Code::NoError);
    // A record before EDNS whose name points to the question.
    let mut bytes = service().0;
    bytes[11] = 2;
    bytes.extend([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 0, 0, 1, 0]);
    bytes.extend([0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0]);
    let answered = world.bytes("192.0.2.9", Transport::Udp, &bytes).unwrap();
    assert!(answered.code() == Code::NoError && answered.message.edns.is_some());
}

#[test]
fn later_versions_of_edns_are_told_ours() {
    let later = service().edns(1_232);
    let later = later.clone().with(later.0.len() - 5, &[1]);
    let answered = World::new().ask(&later);
    assert_eq!(answered.code(), Code::BadVers);
    let edns = answered.message.edns.as_ref().unwrap();
    assert_eq!((edns.version(), edns.rcode_high()), (0, 1));
}

#[test]
fn edns_is_answered_with_edns_and_its_absence_with_none() {
    let world = World::new();
    assert!(world.ask(&service()).message.edns.is_none());
    let edns = world.ask(&service().edns(4_096)).message.edns.unwrap();
    assert_eq!((edns.max_payload(), edns.flags().dnssec_ok), (1_232, true));
}

#[test]
fn the_question_comes_back_as_it_was_asked() {
    let asked = query("aPi.Tw.eXAMPLE.", RecordType::A);
    let answered = World::new().ask(&asked);
    assert_eq!(answered.code(), Code::NoError);
    assert_eq!(answered.bytes[12..asked.0.len()], asked.0[12..]);
    let owner = &answered.message.answers[0].name;
    assert!(owner.eq_case(answered.message.queries[0].name()), "{owner}");
    assert!(answered.message.metadata.recursion_desired && answered.message.metadata.authoritative);
}

#[test]
fn an_answer_that_does_not_fit_is_cut_and_comes_whole_over_tcp() {
    let world = wide();
    let aaaa = |answer_bytes_max| query("api.tw.example.", RecordType::AAAA).edns(answer_bytes_max);
    let check = |answered: &Answered, bytes_max: usize, is_cut: bool| {
        assert!(answered.bytes.len() <= bytes_max, "{}", answered.bytes.len());
        assert_eq!(answered.message.metadata.truncation, is_cut);
        assert_eq!(answered.message.answers.len(), if is_cut { 0 } else { 48 });
        assert_eq!(answered.code(), Code::NoError);
    };
    check(&world.ask(&query("api.tw.example.", RecordType::AAAA)), 512, true);
    for answer_bytes_max in [0, 511, 512, 1_232, 4_096, 65_535] {
        check(&world.ask(&aaaa(answer_bytes_max)), usize::from(answer_bytes_max).clamp(512, 1_232), true);
    }
    check(&world.ask_from("192.0.2.9", Transport::Tcp, &aaaa(512)), 65_535, false);
    // 48 addresses of IPv4 are 768 bytes and some.
    let a = |answer_bytes_max| query("api.tw.example.", RecordType::A).edns(answer_bytes_max);
    check(&world.ask(&a(1_232)), 1_232, false);
    check(&world.ask(&a(700)), 700, true);
}

#[test]
fn addresses_of_name_servers_are_left_out_before_an_answer_is_cut() {
    let mut world = World::new();
    world.change(|options| {
        options.name_servers[0].ipv6 =
            (1..=16).map(|host| [0x2001, 0xdb8, 0, 0, 0, 0, 0, host].into()).collect();
    });
    let ns = query("tw.example.", RecordType::NS);
    let answered = world.ask(&ns);
    assert_eq!((answered.answers().len(), answered.message.additionals.len()), (2, 0));
    assert!(!answered.message.metadata.truncation);
    assert_eq!(world.ask(&ns.edns(1_232)).message.additionals.len(), 17);
}

#[test]
fn whoever_is_told_to_come_again_is_told_nothing_else() {
    for asked in [service(), service().edns(4_096).subnet("198.51.100.0/24")] {
        let told = cut_short(&asked.0).unwrap();
        assert!(told.is_truncated && told.bytes.len() <= asked.0.len());
        let message = hickory_proto::op::Message::from_vec(&told.bytes).unwrap();
        assert!(message.metadata.truncation && message.answers.is_empty());
        assert_eq!((message.metadata.id, message.queries.len()), (0x1234, 1));
    }
}
