//! Functions of texts and bytes, and regular expressions.

use crate::support::Node;
use expect_test::expect;

#[test]
fn texts_and_bytes_are_made_as_in_postgresql() {
    let mut node = Node::new();
    node.run("CREATE STREAM s (t text, n integer) WITH (partitions = 1)");
    node.append("s", "t", None, r#"{"t":"a\nb, 10 $1","n":-1}"#);
    let ask = |sql: &str| node.try_query(sql, &[]).unwrap_or_else(|error| error.to_string());
    let all: Vec<String> = [
        "SELECT to_hex(n), to_hex(n::bigint), to_hex(255::smallint) FROM s",
        "SELECT encode(t::bytea, 'base64'), encode(t::bytea, 'hex'), encode('\\x00ff5c'::bytea, 'escape') FROM s",
        "SELECT decode('YQ==', 'base64'), decode('61 62', 'hex'), decode('a\\000', 'escape') FROM s",
        "SELECT length(encode(repeat(t, 20)::bytea, 'base64')) FROM s",
        "SELECT encode(t::bytea, 'base58') FROM s",
        "SELECT lpad('7', 3, 'ab'), rpad('x', 4), lpad('abcdef', 3), rpad('a', 5, ''), lpad('a', n) FROM s",
        "SELECT t ~ 'a.b', t ~ '^b', t !~* 'A.B', t ~ '\\d+', regexp_like(t, 'A.B', 'i') FROM s",
        "SELECT regexp_replace(t, '[^0-9]', '', 'g'), regexp_replace(t, '\\s+', '$1'), regexp_count(t, '[0-9]+') FROM s",
        "SELECT regexp_replace(t, 'a|ab', '') FROM s",
        "SELECT regexp_replace(t, 'a', '\\1') FROM s",
        "SELECT 'CORP\\x' ~ '^CORP\\\\', 'CORP%' ~ '^CORP\\\\', 'CORP%' !~ '[\\\\]', t ~ '\\\\', 'a\\b' ~* 'A\\\\B' FROM s",
        "SELECT t ~ '\\bb' FROM s",
        "SELECT t ~ t FROM s",
        "SELECT regexp_match(t, 'a') FROM s",
        "SELECT regexp_like(t, 'a', 'n') FROM s",
    ]
    .into_iter()
    .map(ask)
    .collect();
    expect![[r#"
        ["ffffffff","ffffffffffffffff","ff"]
        ["YQpiLCAxMCAkMQ==","610a622c203130202431","\\000\\377\\\\"]
        ["\\x61","\\x6162","\\x6100"]
        [271]
        unrecognized encoding: `base58`: use base64, hex or escape
        ["ab7","x   ","abc","a",""]
        [true,false,false,true,true]
        ["101","a$1b, 10 $1",2]
        not supported: regexp_replace() with a pattern that can match in several ways, of which PostgreSQL takes the longest: use one without groups, alternatives and repetitions (but a `+` at the end), or replace()
        not supported: a replacement with a `\`: parts of the match cannot be named
        [true,false,true,false,true]
        not supported in a regular expression: `\b`
        not supported: a regular expression that is not a literal
        function regexp_match() is not supported: use ~ to ask whether there is a match, substr() or split_part() for a part of a text
        not supported: the flag `n` of regexp_like()"#]].assert_eq(&all.join("\n"));
}

#[test]
fn a_text_is_made_no_longer_than_memory_allows() {
    let mut node = Node::new();
    node.run("CREATE STREAM s (t text, n integer) WITH (partitions = 1)");
    for _ in 0..20 {
        node.append("s", "t", None, r#"{"t":"abcd","n":4194304}"#);
    }
    let ask = |sql: &str| node.try_query(sql, &[]).unwrap_or_else(|error| error.to_string());
    let all: Vec<String> = [
        "SELECT max(length(repeat(t, n))) FROM (SELECT * FROM s LIMIT 1) s",
        "SELECT max(length(repeat(t, n + 1))) FROM s",
        "SELECT max(length(repeat(t, n))) FROM s",
        "SELECT lpad(t, 2000000000) FROM s",
        "SELECT rpad(t, 2000000000, 'x') FROM s",
    ]
    .into_iter()
    .map(ask)
    .collect();
    expect![[r#"
        [16777216]
        the result of repeat() would have more than 16777216 bytes
        the results of repeat() would have more than 268435456 bytes at once: use LIMIT, or shorter texts
        the result of lpad() would have more than 16777216 bytes
        the result of rpad() would have more than 16777216 bytes"#]]
    .assert_eq(&all.join("\n"));
}

#[test]
fn paddings_are_bounded_by_their_bytes_and_not_by_those_of_wider_characters() {
    let node = Node::new();
    let ask = |sql: &str| node.try_query(sql, &[]).unwrap_or_else(|error| error.to_string());
    assert_eq!(
        ask("SELECT length(lpad('x', 16000000)), length(rpad('x', 8000000, 'é'))"),
        "[16000000,8000000]"
    );
    assert_eq!(
        ask("SELECT lpad('x', 9000000, 'aé')"),
        "the result of lpad() would have more than 16777216 bytes"
    );
}

#[test]
fn padded_characters_keep_their_spaces_in_concat_alone() {
    let mut node = Node::new();
    node.table("shop.t", "id integer, c other(character(5))", &["id"], 1);
    node.change("shop.t", "1", "null", r#"{"id":1,"c":"ab   "}"#);
    // As PostgreSQL answers.
    assert_eq!(
        node.query("SELECT concat(c, 'x'), concat_ws(',', c, 'x'), c || 'x', c::text FROM shop.t"),
        r#"["ab   x","ab   ,x","abx","ab"]"#
    );
}
