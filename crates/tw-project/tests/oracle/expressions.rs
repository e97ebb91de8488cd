//! Random expressions of the supported grammar.

use crate::history::{Table, Type};
use crate::random::Random;

/// What expressions are built for. All integers are `integer` or wider here, all numerics are `numeric`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Bool,
    Int,
    Numeric,
    Float,
    Text,
    Date,
    Timestamp,
    TimestampTz,
    Uuid,
}

pub const KINDS: [Kind; 9] = [
    Kind::Bool,
    Kind::Int,
    Kind::Numeric,
    Kind::Float,
    Kind::Text,
    Kind::Date,
    Kind::Timestamp,
    Kind::TimestampTz,
    Kind::Uuid,
];

impl Kind {
    fn of(ty: Type) -> Self {
        match ty {
            Type::Bool => Self::Bool,
            Type::Int2 | Type::Int4 | Type::Int8 => Self::Int,
            Type::Numeric | Type::Money => Self::Numeric,
            Type::Float8 => Self::Float,
            Type::Text => Self::Text,
            Type::Date => Self::Date,
            Type::Timestamp => Self::Timestamp,
            Type::TimestampTz => Self::TimestampTz,
            Type::Uuid => Self::Uuid,
        }
    }

    fn literals(self) -> &'static [&'static str] {
        match self {
            Self::Bool => &["true", "false", "NULL::boolean"],
            Self::Int => &["0", "1", "-7", "100", "NULL::integer"],
            Self::Numeric => &["0.5", "1.25", "-3.0", "100.0"],
            Self::Float => &["0.5::double precision", "2::double precision", "-1.25::float8"],
            Self::Text => &["'a'", "'zebra'", "''", "'Ab'", "NULL::text"],
            Self::Date => &["date '2026-01-31'", "date '2024-02-29'"],
            Self::Timestamp => &["timestamp '2026-01-31 09:30:00'"],
            Self::TimestampTz => {
                &["timestamptz '2026-03-29 00:30:00+00'", "timestamptz '2026-03-29 02:30:00+02'"]
            }
            Self::Uuid => &["'00000000-0000-0000-0000-000000000001'::uuid"],
        }
    }
}

/// A column of a kind, if there is one.
fn column(table: &Table, kind: Kind, random: &mut Random) -> Option<String> {
    let columns: Vec<&String> =
        table.columns.iter().filter(|(_, ty)| Kind::of(*ty) == kind).map(|(name, _)| name).collect();
    (!columns.is_empty()).then(|| (*random.of(&columns)).clone())
}

/// The kinds of the table's columns.
pub fn some_kind(table: &Table, random: &mut Random) -> Kind {
    if random.one_in(5) { *random.of(&KINDS) } else { Kind::of(random.of(&table.columns).1) }
}

fn leaf(table: &Table, kind: Kind, random: &mut Random) -> String {
    match column(table, kind, random) {
        Some(column) if !random.one_in(6) => column,
        _ => (*random.of(kind.literals())).to_owned(),
    }
}

/// An expression of a kind that is at most `depth` operators deep.
pub fn expression(table: &Table, kind: Kind, depth: usize, random: &mut Random) -> String {
    if depth == 0 || random.one_in(3) {
        return leaf(table, kind, random);
    }
    if random.one_in(5) {
        return any_kind(table, kind, depth, random);
    }
    let mut sub = |kind| expression(table, kind, depth - 1, random);
    match kind {
        Kind::Bool => condition(table, depth, random),
        Kind::Int => integer(table, depth, random),
        Kind::Numeric => numeric(table, depth, random),
        Kind::Float => {
            let (a, b) = (sub(Kind::Float), sub(Kind::Float));
            let op = random.of(&["+", "-", "*"]);
            match random.below(4) {
                0 => format!("abs({a})"),
                1 => format!("(- {a})"),
                _ => format!("({a} {op} {b})"),
            }
        }
        Kind::Text => text(table, depth, random),
        Kind::Date => {
            let a = sub(Kind::Date);
            match random.below(3) {
                0 => format!("({a} + {})", random.below(40)),
                1 => format!("({}::date)", sub_moment(table, depth, random)),
                _ => format!("({a} - {})", random.below(40)),
            }
        }
        Kind::Timestamp | Kind::TimestampTz => moment(table, kind, depth, random),
        Kind::Uuid => leaf(table, kind, random),
    }
}

/// CASE, COALESCE, NULLIF, which are there for all kinds.
fn any_kind(table: &Table, kind: Kind, depth: usize, random: &mut Random) -> String {
    if kind == Kind::Uuid {
        return leaf(table, kind, random);
    }
    let (a, b) = (expression(table, kind, depth - 1, random), expression(table, kind, depth - 1, random));
    match random.below(4) {
        0 => format!("coalesce({a}, {b})"),
        1 => format!("nullif({a}, {b})"),
        2 if kind != Kind::Bool => format!("{}({a}, {b})", random.of(&["greatest", "least"])),
        _ => {
            let when = condition(table, depth - 1, random);
            format!("(CASE WHEN {when} THEN {a} ELSE {b} END)")
        }
    }
}

fn integer(table: &Table, depth: usize, random: &mut Random) -> String {
    let mut sub = |kind| expression(table, kind, depth - 1, random);
    let (a, b) = (sub(Kind::Int), sub(Kind::Int));
    let (text, numeric) = (sub(Kind::Text), sub(Kind::Numeric));
    match random.below(10) {
        0 => format!("({a} + {b})"),
        1 => format!("({a} - {b})"),
        2 => format!("({a} * {})", random.below(20)),
        3 => format!("({a} / nullif({b}, 0))"),
        4 => format!("({a} % nullif({b}, 0))"),
        5 => format!("abs({a})"),
        6 => format!("length({text})"),
        7 => format!("({numeric})::bigint"),
        8 => format!("(CASE WHEN {b} = 0 THEN {} ELSE {a} / {b} END)", random.below(3)),
        _ => format!(
            "extract({} from {})::integer",
            random.of(&["year", "month", "day", "dow"]),
            sub_moment(table, depth, random)
        ),
    }
}

fn numeric(table: &Table, depth: usize, random: &mut Random) -> String {
    let mut sub = |kind| expression(table, kind, depth - 1, random);
    let (a, b, i) = (sub(Kind::Numeric), sub(Kind::Numeric), sub(Kind::Int));
    match random.below(8) {
        0 => format!("({a} + {b})"),
        1 => format!("({a} - {i})"),
        2 => format!("({a} * {})", random.of(&["2", "0.5", "-1.5"])),
        3 => format!("round({a}, {})", random.below(4)),
        4 => format!("({i})::numeric"),
        5 => format!("abs({a})"),
        6 => format!("({a})::numeric(20,3)"),
        _ => format!("{}({a})", random.of(&["floor", "ceil", "trunc", "round", "sign"])),
    }
}

fn text(table: &Table, depth: usize, random: &mut Random) -> String {
    let mut sub = |kind| expression(table, kind, depth - 1, random);
    let (a, b, i) = (sub(Kind::Text), sub(Kind::Text), sub(Kind::Int));
    match random.below(10) {
        0 => format!("({a} || {b})"),
        1 => format!("upper({a})"),
        2 => format!("lower({a})"),
        3 => format!("left({a}, {})", random.below(3)),
        4 => format!("right({a}, {})", random.below(3)),
        5 => format!("({i})::text"),
        6 => format!("replace({a}, 'a', {b})"),
        7 => format!("substr({a}, {}, {})", 1 + random.below(3), random.below(3)),
        8 => format!("concat({a}, {i}, {b})"),
        _ => format!("trim({a})"),
    }
}

fn sub_moment(table: &Table, depth: usize, random: &mut Random) -> String {
    let kind = *random.of(&[Kind::Timestamp, Kind::Timestamp, Kind::Date]);
    expression(table, kind, depth - 1, random)
}

fn moment(table: &Table, kind: Kind, depth: usize, random: &mut Random) -> String {
    let a = expression(table, kind, depth - 1, random);
    let interval = random.of(&["1 day", "1 month", "90 minutes", "-1 year 2 days"]);
    match random.below(4) {
        0 => format!("({a} + interval '{interval}')"),
        1 => format!("({a} - interval '{interval}')"),
        2 => format!("date_trunc('{}', {a})", random.of(&["year", "month", "week", "day", "hour"])),
        _ if kind == Kind::Timestamp => {
            format!(
                "({} AT TIME ZONE 'Europe/Berlin')",
                expression(table, Kind::TimestampTz, depth - 1, random)
            )
        }
        _ => format!(
            "({} AT TIME ZONE 'America/New_York')",
            expression(table, Kind::Timestamp, depth - 1, random)
        ),
    }
}

/// A condition that keeps another one from failing.
fn guarded(table: &Table, depth: usize, random: &mut Random) -> String {
    let [a, b] = [(); 2].map(|()| expression(table, Kind::Int, depth - 1, random));
    match random.below(4) {
        0 => format!("({b} <> 0 AND {a} / {b} > 1)"),
        1 => format!("({b} = 0 OR {a} % {b} = 1)"),
        2 => {
            format!("(CASE WHEN {b} = 0 THEN {} ELSE {a} / {b} > 1 END)", condition(table, depth - 1, random))
        }
        _ => format!(
            "({b} <> 0 AND {a} / {b} >= 0 AND ({} OR {a} / {b} = 2))",
            condition(table, depth - 1, random)
        ),
    }
}

/// A condition.
pub fn condition(table: &Table, depth: usize, random: &mut Random) -> String {
    if depth == 0 {
        let kind = some_kind(table, random);
        return format!(
            "({} {} {})",
            leaf(table, kind, random),
            random.of(&["=", "<>"]),
            leaf(table, kind, random)
        );
    }
    let kind = some_kind(table, random);
    let a = expression(table, kind, depth - 1, random);
    let b = expression(table, kind, depth - 1, random);
    if random.one_in(10) {
        return guarded(table, depth, random);
    }
    match random.below(9) {
        0 => format!("({} AND {})", condition(table, depth - 1, random), condition(table, depth - 1, random)),
        1 => format!("({} OR {})", condition(table, depth - 1, random), condition(table, depth - 1, random)),
        2 => format!("(NOT {})", condition(table, depth - 1, random)),
        3 => format!("({a} IS {}NULL)", random.of(&["", "NOT "])),
        4 => format!("({a} IS {}DISTINCT FROM {b})", random.of(&["", "NOT "])),
        5 => {
            let c = leaf(table, kind, random);
            format!("({a} {}IN ({b}, {c}))", random.of(&["", "NOT "]))
        }
        6 => format!(
            "({} LIKE {})",
            expression(table, Kind::Text, depth - 1, random),
            random.of(&["'a%'", "'%b'", "'_'", "'%e%'"])
        ),
        7 if kind != Kind::Uuid => format!("({a} BETWEEN {b} AND {})", leaf(table, kind, random)),
        _ if kind == Kind::Uuid => format!("({a} = {b})"),
        _ => format!("({a} {} {b})", random.of(&["=", "<>", "<", "<=", ">", ">="])),
    }
}
