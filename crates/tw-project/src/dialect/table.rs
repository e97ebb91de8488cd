//! The functions of texts and bytes, most of them DataFusion's, with the arguments for which they do what PostgreSQL's do.
//!
//! A form lists the arguments and, after `>`, the result: `t` text, `i` integer, `f` double precision, `b` bytea, `o` boolean.
//! Integers are given to DataFusion as bigint; integer results become `integer`, as PostgreSQL has them.

/// A function with PostgreSQL's name and meaning.
pub(super) struct Native {
    /// Its names; the first one is DataFusion's.
    pub(super) names: &'static [&'static str],
    /// What it takes and gives.
    pub(super) forms: &'static [&'static str],
    /// Whether it has a value for all arguments.
    pub(super) total: bool,
}

const fn native(names: &'static [&'static str], forms: &'static [&'static str], total: bool) -> Native {
    Native { names, forms, total }
}

pub(super) const NATIVE: &[Native] = &[
    native(&["ascii"], &["t>i"], true),
    native(&["bit_length"], &["t>i"], true),
    native(&["btrim", "trim"], &["t>t", "tt>t"], true),
    native(&["character_length", "length", "char_length"], &["t>i"], true),
    native(&["chr"], &["i>t"], false),
    native(&["decode"], &["tt>b"], false),
    native(&["encode"], &["bt>t"], false),
    native(&["initcap"], &["t>t"], true),
    native(&["left"], &["ti>t"], true),
    native(&["lower"], &["t>t"], true),
    native(&["lpad"], &["ti>t", "tit>t"], false),
    native(&["ltrim"], &["t>t", "tt>t"], true),
    native(&["md5"], &["t>t"], true),
    native(&["octet_length"], &["t>i"], true),
    native(&["overlay"], &["tti>t", "ttii>t"], false),
    native(&["regexp_count"], &["tt>i"], false),
    native(&["regexp_like"], &["tt>o", "ttt>o"], false),
    native(&["regexp_replace"], &["ttt>t", "tttt>t"], false),
    native(&["repeat"], &["ti>t"], false),
    native(&["replace"], &["ttt>t"], true),
    native(&["reverse"], &["t>t"], true),
    native(&["right"], &["ti>t"], true),
    native(&["rpad"], &["ti>t", "tit>t"], false),
    native(&["rtrim"], &["t>t", "tt>t"], true),
    native(&["sha224"], &["b>b"], true),
    native(&["sha256"], &["b>b"], true),
    native(&["sha384"], &["b>b"], true),
    native(&["sha512"], &["b>b"], true),
    native(&["split_part"], &["tti>t"], false),
    native(&["starts_with"], &["tt>o"], true),
    native(&["strpos", "position"], &["tt>i"], true),
    native(&["substr", "substring"], &["ti>t", "tii>t"], false),
    native(&["to_hex"], &["i>t"], true),
    native(&["translate"], &["ttt>t"], true),
    native(&["upper"], &["t>t"], true),
];

/// Functions that PostgreSQL has not: they do what DataFusion says they do.
pub(super) const FOREIGN: &[&str] = &[
    "contains",
    "digest",
    "ends_with",
    "factorial",
    "find_in_set",
    "isnan",
    "iszero",
    "levenshtein",
    "log2",
    "nanvl",
    "nvl",
    "ifnull",
    "nvl2",
    "string_to_array",
    "substr_index",
    "version",
    "struct",
    "named_struct",
    "get_field",
    "make_array",
    "cardinality",
    "empty",
    "flatten",
    "generate_series",
    "range",
    "map",
    "map_entries",
    "map_extract",
    "map_keys",
    "map_values",
    "element_at",
    "arrays_zip",
    "arrow_typeof",
];

/// Functions whose names PostgreSQL has, too, but with another meaning, and what to do instead.
pub(super) const REFUSED: &[(&str, &str)] = &[
    ("regexp_match", "use ~ to ask whether there is a match, substr() or split_part() for a part of a text"),
    ("regexp_instr", "use strpos()"),
    ("to_char", "its patterns would be DataFusion's, not PostgreSQL's: cast to text, or use extract()"),
    ("date_format", "use extract(), date_trunc() or a cast to text"),
    ("to_date", "its patterns would be DataFusion's, not PostgreSQL's: cast the text to date"),
    ("to_time", "cast the text to time"),
    ("make_time", "cast a text to time"),
    ("to_local_time", "use AT TIME ZONE"),
    ("to_unixtime", "use extract(epoch from x)"),
    ("from_unixtime", "use to_timestamp(seconds)"),
    ("to_timestamp_seconds", "use to_timestamp(seconds)"),
    ("to_timestamp_millis", "use to_timestamp(milliseconds / 1000.0)"),
    ("to_timestamp_micros", "use to_timestamp(microseconds / 1000000.0)"),
    ("to_timestamp_nanos", "use to_timestamp(seconds)"),
    ("arrow_cast", "use CAST"),
    ("arrow_try_cast", "use CAST"),
    ("try_cast_to_type", "use CAST"),
    ("cast_to_type", "use CAST"),
    ("age", "subtract the timestamps"),
    ("format", "use || and casts to text"),
    ("to_number", "cast the text to numeric"),
];
