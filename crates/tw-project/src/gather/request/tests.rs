//! The bytes of requests.

use super::*;
use crate::gather::partials::{Compute, Wanted};
use expect_test::expect;
use proptest::prelude::*;

fn view() -> ViewPart {
    let partitions = vec![PartitionId(0), PartitionId(3)];
    ViewPart {
        name: "projection/revenue".into(),
        stream: StreamId(7),
        definition: u64::MAX,
        next: false,
        partitions,
    }
}

fn rows() -> Get {
    let text = || Hex(vec![7, 1, b'a']);
    let filter = Filter::All(vec![
        Filter::Any(vec![Filter::Eq(0, text()), Filter::Ne(0, text()), Filter::True(1)]),
        Filter::Not(Box::new(Filter::Lt(2, Hex(vec![3, 5])))),
        Filter::Le(2, Hex(vec![3, 5])),
        Filter::Gt(2, Hex(vec![3, 5])),
        Filter::Ge(2, Hex(vec![3, 5])),
        Filter::Null(3),
        Filter::NotNull(3),
    ]);
    Get::Rows(GetRows {
        subject: Some("ann".into()),
        columns: Some(vec![2, 0]),
        filter: Some(filter),
        rows_max: Some(5),
    })
}

fn partials() -> GetPartials {
    let all = [
        Compute::Count,
        Compute::Sum,
        Compute::Avg,
        Compute::BoolAnd,
        Compute::BoolOr,
        Compute::Min,
        Compute::Max,
    ];
    let wanted = |(index, compute)| Wanted {
        compute,
        of: (index > 0).then_some(index),
        filter: (index == 1).then_some(Filter::True(4)),
    };
    GetPartials::new(vec![3, 0], all.into_iter().enumerate().map(wanted).collect(), Some(Filter::Null(1)))
}

fn requests() -> Vec<PeerRequest> {
    let token: Token = "tw1;7=0:120,3:88".parse().unwrap();
    let groups = Get::Groups(GetGroups { start: Hex(vec![0x80, 0xfe]), one: true, aggregates: vec![1] });
    let all = GetRows { subject: None, columns: None, filter: None, rows_max: None };
    let read = |held, get| Ask::Read(Read { held, view: view(), get });
    vec![
        PeerRequest::new(60_000, token.clone(), Ask::Hold(vec![view()])),
        PeerRequest::new(1, token.clone(), read(None, groups)),
        PeerRequest::new(1, Token::new(), read(Some(9), rows())),
        PeerRequest::new(1, Token::new(), read(Some(9), Get::Rows(all))),
        PeerRequest::new(1, Token::new(), read(Some(9), Get::Partials(partials()))),
        PeerRequest { standby: true, ..PeerRequest::new(1, token, Ask::Hold(vec![view()])) },
    ]
}

#[test]
fn golden_bytes_of_version_1() {
    let texts: Vec<String> =
        requests().iter().map(|one| String::from_utf8(one.write().to_vec()).unwrap()).collect();
    expect![[r#"
        {"version":1,"timeout_ms":60000,"token":"tw1;7=0:120,3:88","ask":{"hold":[{"name":"projection/revenue","stream":7,"definition":18446744073709551615,"partitions":[0,3]}]}}
        {"version":1,"timeout_ms":1,"token":"tw1;7=0:120,3:88","ask":{"read":{"view":{"name":"projection/revenue","stream":7,"definition":18446744073709551615,"partitions":[0,3]},"get":{"groups":{"start":"80fe","one":true,"aggregates":[1]}}}}}
        {"version":1,"timeout_ms":1,"token":"tw1","ask":{"read":{"held":9,"view":{"name":"projection/revenue","stream":7,"definition":18446744073709551615,"partitions":[0,3]},"get":{"rows":{"subject":"ann","columns":[2,0],"filter":{"all":[{"any":[{"eq":[0,"070161"]},{"ne":[0,"070161"]},{"true":1}]},{"not":{"lt":[2,"0305"]}},{"le":[2,"0305"]},{"gt":[2,"0305"]},{"ge":[2,"0305"]},{"null":3},{"not_null":3}]},"rows_max":5}}}}}
        {"version":1,"timeout_ms":1,"token":"tw1","ask":{"read":{"held":9,"view":{"name":"projection/revenue","stream":7,"definition":18446744073709551615,"partitions":[0,3]},"get":{"rows":{}}}}}
        {"version":1,"timeout_ms":1,"token":"tw1","ask":{"read":{"held":9,"view":{"name":"projection/revenue","stream":7,"definition":18446744073709551615,"partitions":[0,3]},"get":{"partials":{"form":1,"keys":[3,0],"aggregates":[{"compute":"count"},{"compute":"sum","of":1,"filter":{"true":4}},{"compute":"avg","of":2},{"compute":"bool_and","of":3},{"compute":"bool_or","of":4},{"compute":"min","of":5},{"compute":"max","of":6}],"filter":{"null":1}}}}}}
        {"version":1,"timeout_ms":1,"token":"tw1;7=0:120,3:88","standby":true,"ask":{"hold":[{"name":"projection/revenue","stream":7,"definition":18446744073709551615,"partitions":[0,3]}]}}"#]].assert_eq(&texts.join("\n"));
}

#[test]
fn what_is_no_request_is_refused() {
    let whole = String::from_utf8(requests()[0].write().to_vec()).unwrap();
    let refused = |text: &str| PeerRequest::read(text.as_bytes()).unwrap_err().to_string();
    expect!["this is no request of a node: its version is 2, not 1"]
        .assert_eq(&refused(&whole.replace("\"version\":1", "\"version\":2")));
    expect!["this is no request of a node: unknown field `tokens`, expected one of `version`, `timeout_ms`, `token`, `standby`, `ask` at line 1 column 40"].assert_eq(&refused(&whole.replace("\"token\"", "\"tokens\"")));
    expect!["this is no request of a node: it is longer than 1 MiB"]
        .assert_eq(&refused(&" ".repeat(BYTES_MAX + 1)));
    expect!["this is no request of a node: invalid type: sequence, expected u32 at line 1 column 1"]
        .assert_eq(&refused(&format!("{}{whole}", "[".repeat(10_000))));
    let groups = String::from_utf8(requests()[1].write().to_vec()).unwrap();
    expect!["this is no request of a node: bytes are not in hexadecimal digits at line 1 column 201"]
        .assert_eq(&refused(&groups.replace("80fe", "80f")));
    expect!["this is no request of a node: bytes are not in hexadecimal digits at line 1 column 202"]
        .assert_eq(&refused(&groups.replace("80fe", "80é")));
    let partials = String::from_utf8(requests()[4].write().to_vec()).unwrap();
    expect!["this is no request of a node: it asks for parts of groups of another form"]
        .assert_eq(&refused(&partials.replace("\"form\":1", "\"form\":2")));
    expect!["this is no request of a node: it groups by more than 1000 columns"]
        .assert_eq(&refused(&partials.replace("[3,0]", &format!("[0{}]", ",0".repeat(1_000)))));
    let one = "{\"compute\":\"count\"}";
    expect!["this is no request of a node: it asks for more than 256 aggregates"]
        .assert_eq(&refused(&partials.replace(one, &[one; 257].join(","))));
}

proptest! {
    #[test]
    fn requests_read_back_and_changed_ones_are_read_or_refused(
        index in 0usize..6,
        at: proptest::sample::Index,
        byte: u8,
        cut: bool,
    ) {
        let request = &requests()[index];
        let bytes = request.write();
        prop_assert_eq!(&PeerRequest::read(&bytes).unwrap(), request);
        let mut changed = bytes.to_vec();
        let at = at.index(changed.len());
        changed[at] = byte;
        if cut {
            changed.truncate(at);
        }
        if let Ok(read) = PeerRequest::read(&changed) {
            prop_assert_eq!(PeerRequest::read(&read.write()).unwrap(), read);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        let _ = PeerRequest::read(&bytes);
    }
}
