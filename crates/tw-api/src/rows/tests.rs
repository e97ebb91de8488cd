//! Rows: every type in every format, and what has no number in JSON.

use super::*;
use arrow_array::builder::{Int32Builder, ListBuilder, StringBuilder};
use arrow_array::types::{Decimal256Type, IntervalMonthDayNano};
use arrow_array::{
    ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array,
    Float32Array, Float64Array, Int16Array, Int64Array, IntervalMonthDayNanoArray, NullArray, StringArray,
    StringViewArray, StructArray, Time64MicrosecondArray, TimestampMicrosecondArray, UInt64Array,
};
use expect_test::expect;
use std::sync::Arc;

/// The 256-bit integer of decimal columns.
type I256 = <Decimal256Type as ArrowPrimitiveType>::Native;

fn encoded(format: Format, batches: &[RecordBatch]) -> Vec<u8> {
    let mut encoder = Encoder::new(format, &batches[0].schema()).unwrap();
    let mut out = Vec::new();
    encoder.begin(&mut out);
    for batch in batches {
        encoder.batch(batch, &mut out).unwrap();
    }
    encoder.end(&mut out).unwrap();
    out
}

fn text(format: Format, columns: Vec<(&str, ArrayRef)>) -> String {
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    );
    String::from_utf8(encoded(format, &[batch.unwrap()])).unwrap()
}

fn numbers() -> Vec<(&'static str, ArrayRef)> {
    let unbound = I256::from_string("12500000000000000000000000000000000000000").unwrap();
    vec![
        ("small", Arc::new(Int16Array::from(vec![Some(-7), None])) as ArrayRef),
        ("big", Arc::new(Int64Array::from(vec![i64::MIN, 9_007_199_254_740_993]))),
        ("unsigned", Arc::new(UInt64Array::from(vec![u64::MAX, 0]))),
        ("real", Arc::new(Float32Array::from(vec![0.1, f32::NAN]))),
        ("double", Arc::new(Float64Array::from(vec![1e300, f64::NEG_INFINITY]))),
        ("money", Arc::new(Decimal128Array::from(vec![1250, -5]).with_precision_and_scale(12, 2).unwrap())),
        (
            "numeric",
            Arc::new(
                Decimal256Array::from(vec![unbound, I256::from_i128(0)])
                    .with_precision_and_scale(76, 38)
                    .unwrap(),
            ),
        ),
    ]
}

fn others() -> Vec<(&'static str, ArrayRef)> {
    let micros = 1_769_851_800_123_456i64;
    let interval = IntervalMonthDayNano { months: 14, days: -3, nanoseconds: 1_500_000_000 };
    vec![
        ("text", Arc::new(StringArray::from(vec![Some("a,\"b\"\n"), Some("")])) as ArrayRef),
        ("view", Arc::new(StringViewArray::from(vec![Some(" größe "), None]))),
        ("bytes", Arc::new(BinaryArray::from(vec![b"\x00\xff".as_slice(), b""]))),
        ("flag", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("day", Arc::new(Date32Array::from(vec![20_484, -1]))),
        ("clock", Arc::new(Time64MicrosecondArray::from(vec![34_200_000_000, 1]))),
        ("local", Arc::new(TimestampMicrosecondArray::from(vec![micros, 0]))),
        ("instant", Arc::new(TimestampMicrosecondArray::from(vec![micros, 0]).with_timezone("UTC"))),
        ("span", Arc::new(IntervalMonthDayNanoArray::from(vec![interval, IntervalMonthDayNano::default()]))),
        ("nothing", Arc::new(NullArray::new(2))),
    ]
}

#[test]
fn numbers_keep_every_digit() {
    expect![[r#"
        {"small":-7,"big":-9223372036854775808,"unsigned":18446744073709551615,"real":0.1,"double":1e+300,"money":"12.50","numeric":"125"}
        {"small":null,"big":9007199254740993,"unsigned":0,"real":"NaN","double":"-Infinity","money":"-0.05","numeric":"0"}
    "#]]
    .assert_eq(&text(Format::Lines, numbers()));
    expect![[r#"
        small,big,unsigned,real,double,money,numeric
        -7,-9223372036854775808,18446744073709551615,0.1,1e+300,12.50,125
        ,9007199254740993,0,NaN,-Infinity,-0.05,0
    "#]]
    .assert_eq(&text(Format::Csv, numbers()));
}

#[test]
fn texts_bytes_and_times_have_their_forms() {
    expect![[r#"
        {"text":"a,\"b\"\n","view":" größe ","bytes":"AP8=","flag":true,"day":"2026-01-31","clock":"09:30:00","local":"2026-01-31T09:30:00.123456","instant":"2026-01-31T09:30:00.123456+00:00","span":"1 year 2 mons -3 days +00:00:01.5","nothing":null}
        {"text":"","view":null,"bytes":"","flag":null,"day":"1969-12-31","clock":"00:00:00.000001","local":"1970-01-01T00:00:00","instant":"1970-01-01T00:00:00+00:00","span":"00:00:00","nothing":null}
    "#]].assert_eq(&text(Format::Lines, others()));
    expect![[r#"
        text,view,bytes,flag,day,clock,local,instant,span,nothing
        "a,""b""
        "," größe ",\x00ff,true,2026-01-31,09:30:00,2026-01-31T09:30:00.123456,2026-01-31T09:30:00.123456+00:00,1 year 2 mons -3 days +00:00:01.5,
        "",,\x,,1969-12-31,00:00:00.000001,1970-01-01T00:00:00,1970-01-01T00:00:00+00:00,00:00:00,
    "#]].assert_eq(&text(Format::Csv, others()));
}

/// Columns of text whose fields say that they are something else.
fn logical() -> RecordBatch {
    let field = |name: &str, ty: DataType, logical: &str| {
        Field::new(name, ty, true).with_metadata([(FIELD_TYPE.to_owned(), logical.to_owned())].into())
    };
    let list = DataType::new_list(DataType::Utf8, true);
    let schema = Schema::new(vec![
        field("doc", DataType::Utf8, "json"),
        field("id", DataType::Utf8View, "uuid"),
        field("docs", list, "json"),
    ]);
    let docs = vec![Some("{\"a\": 1.50,\r\n \"b\": [\"x\\ny\"]}"), Some("not {json"), None];
    let mut lists = ListBuilder::new(StringBuilder::new());
    lists.append_value([Some("{}"), None, Some("null")]);
    lists.append_value([Some("\"x\"")]);
    lists.append_null();
    let id = "0190d2f0-8b8e-7cc0-9d6f-8f1f6a3a1b2c";
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(docs)),
        Arc::new(StringViewArray::from(vec![Some(id), None, None])),
        Arc::new(lists.finish()),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

#[test]
fn json_stays_json_on_one_line_and_types_kept_as_text_have_their_names() {
    let written = |format| String::from_utf8(encoded(format, &[logical()])).unwrap();
    expect![[r#"
        {"doc":{"a": 1.50,   "b": ["x\ny"]},"id":"0190d2f0-8b8e-7cc0-9d6f-8f1f6a3a1b2c","docs":[{},null,null]}
        {"doc":"not {json","id":null,"docs":["x"]}
        {"doc":null,"id":null,"docs":null}
    "#]]
    .assert_eq(&written(Format::Lines));
    let document: serde_json::Value = serde_json::from_str(&written(Format::Json)).unwrap();
    let types: Vec<&str> =
        document["columns"].as_array().unwrap().iter().map(|c| c["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["json", "uuid", "json[]"]);
    assert_eq!(document["rows"][0][0]["b"][0], "x\ny");
}

#[test]
fn lists_and_structures_are_nested_in_json_and_text_in_csv() {
    let mut lists = ListBuilder::new(Int32Builder::new());
    lists.append_value([Some(1), None]);
    lists.append_value([]);
    lists.append_null();
    let lists: ArrayRef = Arc::new(lists.finish());
    let inner: ArrayRef = Arc::new(StringArray::from(vec!["x", "y", "z"]));
    let structure = StructArray::try_from(vec![("s", inner), ("l", lists.slice(0, 3))]).unwrap();
    let columns = || vec![("list", lists.clone()), ("structure", Arc::new(structure.clone()) as ArrayRef)];
    expect![[r#"
        {"list":[1,null],"structure":{"s":"x","l":[1,null]}}
        {"list":[],"structure":{"s":"y","l":[]}}
        {"list":null,"structure":{"s":"z","l":null}}
    "#]]
    .assert_eq(&text(Format::Lines, columns()));
    expect![[r#"
        list,structure
        "[1,null]","{""s"":""x"",""l"":[1,null]}"
        [],"{""s"":""y"",""l"":[]}"
        ,"{""s"":""z"",""l"":null}"
    "#]]
    .assert_eq(&text(Format::Csv, columns()));
    let sliced = lists.slice(1, 2);
    assert_eq!(text(Format::Lines, vec![("list", sliced)]), "{\"list\":[]}\n{\"list\":null}\n");
}

#[test]
fn columns_are_told_with_the_names_of_their_types() {
    let json = text(Format::Json, [numbers(), others()].concat());
    let document: serde_json::Value = serde_json::from_str(&json).unwrap();
    let types: Vec<&str> =
        document["columns"].as_array().unwrap().iter().map(|c| c["type"].as_str().unwrap()).collect();
    assert_eq!(
        types,
        [
            "smallint",
            "bigint",
            "UInt64",
            "real",
            "double precision",
            "numeric(12,2)",
            "numeric",
            "text",
            "text",
            "bytea",
            "boolean",
            "date",
            "time",
            "timestamp",
            "timestamptz",
            "interval",
            "unknown"
        ]
    );
    assert_eq!(document["rows"].as_array().unwrap().len(), 2);
}

#[test]
fn arrow_reads_back_what_was_written() {
    let columns = [numbers(), others()].concat();
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).unwrap();
    let bytes = encoded(Format::Arrow, &[batch.clone(), batch.slice(1, 1)]);
    let read: Vec<RecordBatch> = arrow_ipc::reader::StreamReader::try_new(bytes.as_slice(), None)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(read, [batch.clone(), batch.slice(1, 1)]);
}

#[test]
fn rows_of_several_batches_are_one_answer() {
    let column = |from: i64| ("n", Arc::new(Int64Array::from(vec![from, from + 1])) as ArrayRef);
    let batches = [1, 3].map(|from| RecordBatch::try_from_iter([column(from)]).unwrap());
    let json = String::from_utf8(encoded(Format::Json, &batches)).unwrap();
    assert_eq!(json, r#"{"columns":[{"name":"n","type":"bigint"}],"rows":[[1],[2],[3],[4]]}"#);
}
