//! Every built-in type, with the values at its edges: what the stream says is what SELECT says.

use crate::support::World;
use serde_json::Value;
use tw_testing::{Install, Postgres};
use tw_types::ColumnType;

/// Column type and values, as SQL writes them.
const TYPES: &[(&str, &[&str])] = &[
    ("bool", &["true", "false"]),
    ("int2", &["-32768", "32767", "0"]),
    ("int4", &["-2147483648", "2147483647"]),
    ("int8", &["-9223372036854775808", "9223372036854775807"]),
    ("oid", &["0", "4294967295"]),
    ("float4", &["'NaN'", "'Infinity'", "'-Infinity'", "1e-45", "3.4028235e+38", "'-0'", "0.1", "16777216"]),
    (
        "float8",
        &[
            "'NaN'",
            "'Infinity'",
            "'-Infinity'",
            "5e-324",
            "1.7976931348623157e+308",
            "'-0'",
            "0.1",
            "1e22",
            "123456789012345680",
        ],
    ),
    (
        "numeric",
        &[
            "'NaN'",
            "'Infinity'",
            "'-Infinity'",
            "0",
            "-0.00",
            "repeat('9', 1000)::numeric",
            "('0.' || repeat('1', 1000))::numeric",
            "1e-100",
        ],
    ),
    ("numeric(12,2)", &["1234567890.12", "-0.01"]),
    ("money", &["'-92233720368547758.08'", "'12.34'"]),
    (
        "text",
        &[
            "''",
            "'a\"b\\c/d'",
            "E'tab\\tline\\nreturn\\rbell\\x07'",
            "'größe 😀 \u{2028}'",
            "repeat('x', 100000)",
        ],
    ),
    ("varchar(10)", &["'abc'", "'  pad  '"]),
    ("char(5)", &["'ab'", "''"]),
    ("name", &["'a name'"]),
    ("\"char\"", &["'c'", "''"]),
    ("bytea", &["'\\x'", "'\\x00'", "'\\x00ff10'", "decode(repeat('deadbeef', 1000), 'hex')"]),
    ("date", &["'infinity'", "'-infinity'", "'4713-01-01 BC'", "'5874897-12-31'", "'2000-02-29'"]),
    ("time", &["'00:00:00'", "'24:00:00'", "'23:59:59.999999'"]),
    ("timetz", &["'00:00:00+15:59'", "'24:00:00-15:59'", "'12:34:56.789012+02'"]),
    (
        "timestamp",
        &[
            "'infinity'",
            "'-infinity'",
            "'4713-01-01 00:00:00 BC'",
            "'294276-12-31 23:59:59.999999'",
            "'2024-02-29 12:00'",
        ],
    ),
    (
        "timestamptz",
        &[
            "'infinity'",
            "'-infinity'",
            "'2024-02-29 12:00+05:30'",
            "'0001-01-01 00:00+00'",
            "'294276-12-31 23:59:59.999999+00'",
        ],
    ),
    (
        "interval",
        &[
            "'0'",
            "'1 year 2 mons -3 days +04:05:06.789'",
            "'-178000000 years'",
            "'178000000 years'",
            "'1 day -1 second'",
        ],
    ),
    ("uuid", &["'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'"]),
    ("json", &["'{\"a\": 1,  \"a\": [null, \"x\\u00e4\"]}'", "'null'", "'\"s\"'", "'1e1000'"]),
    ("jsonb", &["'{\"b\": 1.10, \"a\": {\"c\": []}}'", "'null'", "'\"\\\"\"'"]),
    ("jsonpath", &["'$.a[*] ? (@ > 1)'"]),
    ("xml", &["'<a b=\"1\">x &amp; y</a>'"]),
    ("bit(5)", &["B'10101'"]),
    ("varbit", &["B''", "B'1'"]),
    ("inet", &["'192.168.0.1'", "'10.0.0.0/8'", "'::1'", "'2001:db8::/32'"]),
    ("cidr", &["'10.0.0.0/8'", "'2001:db8::/32'"]),
    ("macaddr", &["'08:00:2b:01:02:03'"]),
    ("macaddr8", &["'08:00:2b:01:02:03:04:05'"]),
    ("point", &["'(1.5,-2e300)'", "'(NaN,Infinity)'"]),
    ("line", &["'{1,-1,0}'"]),
    ("lseg", &["'[(0,0),(1,1)]'"]),
    ("box", &["'(1,1),(0,0)'"]),
    ("path", &["'[(0,0),(1,1)]'", "'((0,0),(1,1),(2,0))'"]),
    ("polygon", &["'((0,0),(1,1),(2,0))'"]),
    ("circle", &["'<(1,2),3>'"]),
    ("tsvector", &["'a fat cat'", "to_tsvector('simple', 'it''s a test')"]),
    ("tsquery", &["'fat & (rat | cat:*)'"]),
    ("pg_lsn", &["'16/B374D848'"]),
    ("txid_snapshot", &["'10:20:10,14,15'"]),
    ("pg_snapshot", &["'10:20:10,14,15'"]),
    ("xid", &["'4294967295'"]),
    ("xid8", &["'18446744073709551615'"]),
    ("cid", &["'7'"]),
    ("tid", &["'(4294967295,65535)'"]),
    ("int4range", &["'empty'", "'[1,10)'", "'(,5]'", "'(,)'"]),
    ("int8range", &["'[1,9223372036854775807)'"]),
    ("numrange", &["'(1.10,2.20]'"]),
    ("tsrange", &["'[2024-01-01,infinity)'"]),
    ("tstzrange", &["'[2024-01-01 00:00+00,)'"]),
    ("daterange", &["'[2024-01-01,2024-12-31]'"]),
    ("int4multirange", &["'{}'", "'{[1,3),[5,9)}'"]),
    ("nummultirange", &["'{(1.1,2.2]}'"]),
    ("int4[]", &["'{}'", "'{1,NULL,3}'", "'{{1,2},{3,4}}'", "'[2:3]={7,8}'"]),
    ("text[]", &["'{\"a\\\"b\",\"c,d\",NULL,\"NULL\",\"\"}'", "'{{a,b},{c,d}}'"]),
    ("bool[]", &["'{t,f,NULL}'"]),
    ("bytea[]", &["ARRAY['\\x00ff'::bytea]"]),
    ("float8[]", &["'{NaN,Infinity,-0,1e-300}'"]),
    ("numeric[]", &["'{NaN,1.10}'"]),
    ("timestamptz[]", &["'{\"2024-01-01 00:00+00\",infinity}'"]),
    ("jsonb[]", &["ARRAY['{\"a\":\"b,c\"}'::jsonb]"]),
    ("regclass", &["'pg_class'", "'public.mood_table'"]),
    ("regtype", &["'integer'", "'public.mood'"]),
    ("regproc", &["'now'"]),
    ("public.mood", &["'sad'", "'so ''so'' \"la la\"'"]),
    ("public.mood[]", &["'{sad,NULL}'"]),
    ("public.pair", &["ROW(1, 'a,\"b')", "ROW(NULL, NULL)"]),
    ("public.pair[]", &["ARRAY[ROW(1, 'a')::public.pair, NULL]"]),
    ("public.positive", &["1", "2147483647"]),
    ("public.even_more_positive", &["11"]),
    ("public.label", &["'x'"]),
    ("public.price", &["12.30"]),
    ("public.flags", &["'\\x0102'"]),
    ("public.floats", &["'[1.5,2.5)'"]),
];

const DEFINITIONS: &str = "
    CREATE TYPE mood AS ENUM ('sad', 'so ''so'' \"la la\"');
    CREATE TYPE pair AS (a int, b text);
    CREATE TYPE floats AS RANGE (subtype = float8);
    CREATE DOMAIN positive AS int CHECK (VALUE > 0);
    CREATE DOMAIN even_more_positive AS positive CHECK (VALUE > 10);
    CREATE DOMAIN label AS varchar(5);
    CREATE DOMAIN price AS numeric(10,2);
    CREATE DOMAIN flags AS bytea;
    CREATE TABLE mood_table (id int PRIMARY KEY);";

fn insert_all(world: &mut World, first: usize) {
    for (column, (ty, values)) in TYPES.iter().enumerate() {
        for (index, value) in values.iter().enumerate() {
            let id = first + column * 100 + index;
            world.sql(&format!("INSERT INTO types (id, c{column}) VALUES ({id}, ({value})::{ty})"));
        }
    }
    world.sql(&format!("INSERT INTO types (id) VALUES ({})", first + 99_999));
}

/// Snapshot, insert, update and delete of every value, on one version.
fn check_all_types(install: &Install) {
    let mut world = World::with(Postgres::builder().install(install));
    world.sql(DEFINITIONS);
    let columns: Vec<_> = TYPES.iter().enumerate().map(|(index, (ty, _))| format!("c{index} {ty}")).collect();
    // Replica identity full: old rows are told too, and old values of large columns.
    world.sql(&format!(
        "CREATE TABLE types (id int PRIMARY KEY, {}); ALTER TABLE types REPLICA IDENTITY FULL",
        columns.join(", ")
    ));
    insert_all(&mut world, 0);
    let source = world.capture(&["types"]);
    world.catch_up(&source);
    world.assert_same("shop.types", "public.types");
    insert_all(&mut world, 1_000_000);
    world.sql("UPDATE types SET id = id + 2000000 WHERE id % 3 = 0; DELETE FROM types WHERE id % 7 = 0");
    world.catch_up(&source);
    world.assert_same("shop.types", "public.types");
    let status = source.status();
    assert_eq!(status.last_error, None);
    assert_eq!(status.counters.schema_changes, 0, "catalogue and stream agree on the columns");
    source.stop();
}

#[test]
fn every_type_is_what_select_returns() {
    for install in Install::all() {
        check_all_types(&install);
    }
}

#[test]
fn values_have_the_form_of_their_type() {
    let mut world = World::new();
    world.sql(
        "CREATE DOMAIN d AS bigint; CREATE TABLE t (id int PRIMARY KEY, b bool, o oid, d d, f float8, n numeric, y bytea, j jsonb, x text, z int)",
    );
    let source = world.capture(&["t"]);
    world.catch_up(&source);
    world.sql(
        "INSERT INTO t VALUES (1, true, 4294967295, 9007199254740993, 'NaN', 1.10, '\\x00ff', '{\"a\":1}', 'x', NULL), \
         (2, false, 0, 0, 1e30, 'NaN', '', 'null', '', 7)",
    );
    world.catch_up(&source);
    let mut after: Vec<String> = world
        .events("shop.t")
        .iter()
        .map(|stored| {
            let text = std::str::from_utf8(stored.event.data.bytes()).unwrap();
            let (_, rest) = text.split_once("\"after\":").unwrap();
            rest.split_once(",\"source\"").unwrap().0.to_owned()
        })
        .collect();
    after.sort();
    assert_eq!(
        after,
        [
            r#"{"id":1,"b":true,"o":4294967295,"d":9007199254740993,"f":"NaN","n":"1.10","y":"AP8=","j":"{\"a\": 1}","x":"x","z":null}"#,
            r#"{"id":2,"b":false,"o":0,"d":0,"f":1e+30,"n":"NaN","y":"","j":"null","x":"","z":7}"#,
        ]
    );
    let schema = world.log.streams().get("shop.t").unwrap().schema.clone().unwrap();
    let types: Vec<_> = schema.columns.iter().map(|column| (column.ty.clone(), column.nullable)).collect();
    let expected = [
        (ColumnType::Int4, false),
        (ColumnType::Bool, true),
        (ColumnType::Int8, true),
        (ColumnType::Int8, true),
        (ColumnType::Float8, true),
        (ColumnType::Numeric(None), true),
        (ColumnType::Bytea, true),
        (ColumnType::Json, true),
        (ColumnType::Text, true),
        (ColumnType::Int4, true),
    ];
    assert_eq!(types, expected);
    assert_eq!((schema.version, schema.key), (1, vec!["id".to_owned()]));
    source.stop();
}

#[test]
fn the_envelope_tells_where_a_change_comes_from() {
    let mut world = World::new();
    world.sql("CREATE SCHEMA sales; CREATE TABLE sales.\"Order Lines\" (a int, b text, PRIMARY KEY (b, a))");
    let source = world.capture(&["sales.\"Order Lines\""]);
    world.catch_up(&source);
    world.sql("INSERT INTO sales.\"Order Lines\" VALUES (1, 'x\"y')");
    world.catch_up(&source);
    let events = world.events("shop.sales.Order Lines");
    let event = &events[0].event;
    let data: Value = serde_json::from_slice(event.data.bytes()).unwrap();
    assert_eq!(event.subject.as_deref(), Some(r#"["x\"y","1"]"#));
    assert_eq!((event.ty.as_str(), event.source.as_str()), ("row.insert", "/sources/shop"));
    assert_eq!(event.dataschema.as_deref(), Some("/streams/shop.sales.Order Lines/schemas/1"));
    let origin = &data["source"];
    assert_eq!((&origin["connector"], &origin["name"]), (&"postgresql".into(), &"shop".into()));
    assert_eq!((&origin["schema"], &origin["table"]), (&"sales".into(), &"Order Lines".into()));
    assert_eq!((&origin["db"], &origin["snapshot"]), (&"postgres".into(), &"false".into()));
    assert_eq!(origin["ts_ms"].as_i64().unwrap(), event.time.unwrap().millis());
    let lsn = tw_capture::Lsn(origin["lsn"].as_u64().unwrap());
    assert_eq!(event.id, format!("{lsn}/1"));
    source.stop();
}
