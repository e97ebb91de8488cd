//! Random SELECTs, as we and as PostgreSQL write them.

use crate::expressions::{Kind, condition, expression, some_kind};
use crate::history::Table;
use crate::random::Random;

/// A SELECT from `{table}`.
pub struct Query {
    pub ours: String,
    pub postgres: String,
    /// Whether its answer is the same whenever it is asked, so that it can be asked of the latest rows, too.
    pub ad_hoc: bool,
}

/// An expression of the SELECT list, as we and as PostgreSQL write it.
struct Item {
    ours: String,
    postgres: String,
    ad_hoc: bool,
}

impl Item {
    fn same(text: String) -> Self {
        Self { ours: text.clone(), postgres: text, ad_hoc: true }
    }
}

pub fn query(table: &Table, random: &mut Random) -> Query {
    let filter =
        if random.one_in(2) { format!(" WHERE {}", condition(table, 2, random)) } else { String::new() };
    if random.one_in(4) {
        return rows(table, &filter, random);
    }
    let keys: Vec<String> = (0..random.below(3)).map(|_| key(table, random)).collect();
    let mut items: Vec<Item> = keys.iter().cloned().map(Item::same).collect();
    for _ in 0..1 + random.below(4) {
        items.push(aggregate(table, random));
    }
    let group = if keys.is_empty() { String::new() } else { format!(" GROUP BY {}", keys.join(", ")) };
    let having = if random.one_in(4) { format!(" HAVING {}", having(table, random)) } else { String::new() };
    let rest = format!(" FROM {{table}}{filter}{group}{having}");
    let list = |text: fn(&Item) -> &String| {
        let items: Vec<String> =
            items.iter().enumerate().map(|(n, item)| format!("{} AS r{n}", text(item))).collect();
        format!("SELECT {}{rest}", items.join(", "))
    };
    Query {
        ours: list(|item| &item.ours),
        postgres: list(|item| &item.postgres),
        ad_hoc: items.iter().all(|item| item.ad_hoc),
    }
}

/// Filter and map, perhaps DISTINCT.
fn rows(table: &Table, filter: &str, random: &mut Random) -> Query {
    let distinct = if random.one_in(2) { "DISTINCT " } else { "" };
    let items: Vec<String> = (0..1 + random.below(3))
        .map(|n| {
            let kind = some_kind(table, random);
            format!("{} AS r{n}", expression(table, kind, 2, random))
        })
        .collect();
    let text = format!("SELECT {distinct}{} FROM {{table}}{filter}", items.join(", "));
    Query { ours: text.clone(), postgres: text, ad_hoc: true }
}

/// Something to group by: no constant, which would be a position.
fn key(table: &Table, random: &mut Random) -> String {
    let column = random.of(&table.columns).0.clone();
    if random.one_in(2) {
        return column;
    }
    let kind = some_kind(table, random);
    let text = expression(table, kind, 2, random);
    let is_plain = table.columns.iter().any(|(name, _)| text.contains(name.as_str()));
    if is_plain { text } else { column }
}

fn number(table: &Table, random: &mut Random) -> String {
    let kind = *random.of(&[Kind::Int, Kind::Numeric, Kind::Float]);
    expression(table, kind, 1, random)
}

fn orderable(table: &Table, random: &mut Random) -> (Kind, String) {
    loop {
        let kind = some_kind(table, random);
        if !matches!(kind, Kind::Bool | Kind::Uuid) {
            return (kind, expression(table, kind, 1, random));
        }
    }
}

fn aggregate(table: &Table, random: &mut Random) -> Item {
    let filter = if random.one_in(5) {
        format!(" FILTER (WHERE {})", condition(table, 1, random))
    } else {
        String::new()
    };
    let any = {
        let kind = some_kind(table, random);
        expression(table, kind, 1, random)
    };
    let distinct = if random.one_in(4) { "DISTINCT " } else { "" };
    match random.below(15) {
        0 => Item::same(format!("count(*){filter}")),
        1 => Item::same(format!("count({distinct}{any}){filter}")),
        2 => Item::same(format!("count(DISTINCT {any}){filter}")),
        3 | 4 => Item::same(format!("sum({distinct}{}){filter}", number(table, random))),
        5 => Item::same(format!("avg({distinct}{}){filter}", number(table, random))),
        6 | 7 => {
            Item::same(format!("{}({}){filter}", random.of(&["min", "max"]), orderable(table, random).1))
        }
        8 => Item::same(format!(
            "{}({}){filter}",
            random.of(&["bool_and", "bool_or"]),
            condition(table, 1, random)
        )),
        9 => Item::same(format!(
            "coalesce(sum({}), 0) * 2 + count(*)",
            expression(table, Kind::Int, 1, random)
        )),
        10 => ordered(table, &filter, random),
        11 => {
            let order = random.of(&["", " ORDER BY {}", " ORDER BY {} DESC", " ORDER BY {} DESC NULLS LAST"]);
            let text = format!("array_agg(DISTINCT {any}{}){filter}", order.replace("{}", &any));
            Item { ours: text.clone(), postgres: text, ad_hoc: false }
        }
        12 if random.one_in(2) => guarded(table, random),
        12 | 13 => unordered(&any, &filter, random),
        _ => Item::same(format!("max({}) IS NULL", orderable(table, random).1)),
    }
}

/// `first`, `last` and `array_agg` in an order; rows that are equal there follow as they came.
fn ordered(table: &Table, filter: &str, random: &mut Random) -> Item {
    let (_, value) = orderable(table, random);
    let (_, order) = orderable(table, random);
    let (direction, reverse) = *random.of(&[("", " DESC"), (" DESC", "")]);
    let (ours, postgres) = match random.below(3) {
        0 => (
            format!("first({value} ORDER BY {order}{direction}){filter}"),
            format!("(array_agg({value} ORDER BY {order}{direction}, _rid){filter})[1]"),
        ),
        1 => (
            format!("last({value} ORDER BY {order}{direction}){filter}"),
            format!("(array_agg({value} ORDER BY {order}{reverse}, _rid DESC){filter})[1]"),
        ),
        _ => (
            format!("array_agg({value} ORDER BY {order}{direction}){filter}"),
            format!("array_agg({value} ORDER BY {order}{direction}, _rid){filter}"),
        ),
    };
    Item { ours, postgres, ad_hoc: false }
}

/// A division that only the FILTER keeps from failing.
fn guarded(table: &Table, random: &mut Random) -> Item {
    let [a, b] = [(); 2].map(|()| expression(table, Kind::Int, 1, random));
    let more = if random.one_in(2) { format!(" AND {}", condition(table, 1, random)) } else { String::new() };
    let aggregate = match random.below(4) {
        0 => format!("sum({a} / {b})"),
        1 => format!("max({a} % {b})"),
        2 => format!("bool_or({a} / {b} > 1)"),
        _ => format!("count(DISTINCT {a} / {b})"),
    };
    Item::same(format!("{aggregate} FILTER (WHERE {b} <> 0{more})"))
}

/// The same in the order in which the rows came.
fn unordered(value: &str, filter: &str, random: &mut Random) -> Item {
    let (ours, postgres) = match random.below(3) {
        0 => (format!("first({value}){filter}"), format!("(array_agg({value} ORDER BY _rid){filter})[1]")),
        1 => {
            (format!("last({value}){filter}"), format!("(array_agg({value} ORDER BY _rid DESC){filter})[1]"))
        }
        _ => (format!("array_agg({value}){filter}"), format!("array_agg({value} ORDER BY _rid){filter}")),
    };
    Item { ours, postgres, ad_hoc: false }
}

fn having(table: &Table, random: &mut Random) -> String {
    match random.below(4) {
        0 => format!("count(*) > {}", random.below(4)),
        1 => format!("sum({}) IS NOT NULL", number(table, random)),
        2 => format!("min({0}) < max({0})", orderable(table, random).1),
        _ => format!("bool_or({}) OR count(*) = 1", condition(table, 1, random)),
    }
}
