//! What the catalogue of the database says about tables.

use super::connection::{Connection, Row};
use super::layout::{Attribute, Described, Identity, Layout, LayoutColumn, fingerprint};
use super::name::TableName;
use super::pgoutput::Relation;
use super::types::BaseType;
use crate::Error;
use crate::cursor::Columns;
use postgres_protocol::escape::escape_literal;
use std::collections::BTreeMap;

/// From a column's type to what a domain is made of: `b.oid`, `b.typmod`.
const BASE_OF: &str = "LATERAL (WITH RECURSIVE d(oid, typmod) AS (
    SELECT a.atttypid, a.atttypmod
    UNION ALL SELECT t.typbasetype, CASE WHEN t.typtypmod >= 0 THEN t.typtypmod ELSE d.typmod END
    FROM d JOIN pg_type t ON t.oid = d.oid WHERE t.typtype = 'd')
  SELECT d.oid, d.typmod FROM d JOIN pg_type t ON t.oid = d.oid WHERE t.typtype <> 'd') b";

/// Describes the tables that have one of these names or numbers, as they are now (or as the transaction under way
/// sees them).
pub(crate) async fn describe(
    connection: &mut Connection,
    names: &[TableName],
    ids: &[u32],
    publications: &[String],
) -> Result<Vec<Described>, Error> {
    let tables = connection.query(&tables_query(names, ids, publications, connection.major())).await?;
    tables.iter().map(described).collect()
}

fn tables_query(names: &[TableName], ids: &[u32], publications: &[String], major: u32) -> String {
    let mut wanted: Vec<_> = names
        .iter()
        .map(|name| {
            let (schema, table) = (escape_literal(&name.schema), escape_literal(&name.table));
            format!("(n.nspname = {schema} AND c.relname = {table})")
        })
        .collect();
    wanted.extend(ids.iter().map(|id| format!("c.oid = {id}")));
    let published: Vec<_> = publications.iter().map(|name| escape_literal(name)).collect();
    let published = if published.is_empty() { "NULL".to_owned() } else { published.join(",") };
    // Column lists and row filters exist since version 15, published generated columns since 18.
    let (publication, generated) = match major {
        ..15 => (String::new(), "false"),
        15.. => (
            format!(
                "LEFT JOIN LATERAL (SELECT r.prattrs, pg_get_expr(r.prqual, r.prrelid) AS filter
                   FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
                   WHERE r.prrelid = c.oid AND p.pubname IN ({published})
                   ORDER BY p.pubname LIMIT 1) pub ON true"
            ),
            if major < 18 {
                "false"
            } else {
                "EXISTS (SELECT FROM pg_publication p WHERE p.pubgencols = 's' AND p.pubname IN ({}))"
            },
        ),
    };
    let generated = generated.replace("{}", &published);
    let lists =
        if major < 15 { "NULL, NULL" } else { "array_to_string(pub.prattrs::int2[], ','), pub.filter" };
    let columns = columns_query();
    format!(
        "SELECT n.nspname, c.relname, c.oid, c.relkind, c.relreplident, c.relpersistence,
           CASE WHEN c.relkind = 'p' THEN (SELECT sum(l.reltuples) FILTER (WHERE l.reltuples >= 0)
             FROM pg_partition_tree(c.oid) p JOIN pg_class l ON l.oid = p.relid WHERE p.isleaf)::int8
             WHEN c.reltuples >= 0 THEN c.reltuples::int8 END,
           CASE WHEN c.relkind = 'p' THEN (SELECT string_agg(l.oid || ':' || l.relfilenode, ',' ORDER BY l.oid)
             FROM pg_partition_tree(c.oid) p JOIN pg_class l ON l.oid = p.relid WHERE p.isleaf)
             ELSE c.relfilenode::text END,
           (SELECT string_agg(k.attnum::text, ',' ORDER BY k.place)
             FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, place)
             WHERE i.indrelid = c.oid AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL
               AND k.place <= i.indnkeyatts
               AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END),
           {lists}, {generated}, ({columns})
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace {publication}
         WHERE {}",
        wanted.join(" OR ")
    )
}

/// The columns of table `c`, a JSON array of rows. They are a part of the statement about tables, so that both are as of one
/// moment: a table that was written anew in between would have its old storage with its new columns, and nobody would see
/// later that its rows are others.
fn columns_query() -> String {
    format!(
        "SELECT json_agg(json_build_array(a.attnum::text, a.attname::text, a.atttypid::text, a.atttypmod::text,
             left(a.attnotnull::text, 1), left(a.atthasmissing::text, 1), a.attgenerated::text, b.oid::text,
             b.typmod::text, format_type(b.oid, b.typmod), format_type(a.atttypid, a.atttypmod), a.xmin::text)
             ORDER BY a.attnum)
           FROM pg_attribute a, {BASE_OF} WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
    )
}

fn numbers(text: Option<&str>) -> Option<Vec<i16>> {
    Some(text?.split(',').filter_map(|number| number.parse().ok()).collect())
}

fn described(table: &Row) -> Result<Described, Error> {
    let name = TableName::new(table.need(0)?, table.need(1)?);
    let replica_identity = table.need(4)?.chars().next().unwrap_or('d');
    let key = numbers(table.text(8)).unwrap_or_default();
    let listed = numbers(table.text(9));
    let generated_too = table.is_true(11);
    // A table may have no columns at all.
    let columns: Vec<Row> = serde_json::from_str(table.text(12).unwrap_or("[]"))
        .map_err(|error| Error::Protocol(format!("the columns of {name} cannot be read: {error}")))?;
    let mut layout = Vec::new();
    let mut attributes = Vec::new();
    let mut defined = String::new();
    for column in &columns {
        let number: i16 = column.parse(0)?;
        let generated = column.text(6) == Some("s");
        let published = match &listed {
            Some(listed) => listed.contains(&number),
            None => column.text(6) == Some("") || (generated && generated_too),
        };
        if !published {
            continue;
        }
        defined.push_str(&format!("{number} {},", column.need(11)?));
        attributes.push(Attribute { number, filled: column.is_true(5) });
        layout.push(LayoutColumn {
            name: column.need(1)?.to_owned(),
            type_id: column.parse(2)?,
            type_modifier: column.parse(3)?,
            base: BaseType {
                id: column.parse(7)?,
                modifier: column.parse(8)?,
                name: column.need(9)?.to_owned(),
            },
            nullable: !column.is_true(4),
            declared: column.need(10)?.to_owned(),
            identity: replica_identity == 'f' || key.contains(&number),
        });
    }
    let place = |number: &i16| attributes.iter().position(|known| known.number == *number);
    let key_columns: Option<Vec<usize>> = key.iter().map(place).collect();
    let identity = match (&key_columns, replica_identity) {
        (Some(key), _) if !key.is_empty() => Identity::Key(key.clone()),
        (_, 'f') => Identity::WholeRow,
        _ => Identity::Nothing,
    };
    let obstacle = obstacle(table, &name, replica_identity, &key, key_columns.is_none());
    Ok(Described {
        id: table.parse(2)?,
        layout: Layout { columns: layout, identity },
        storage: fingerprint(table.text(7).unwrap_or_default()),
        columns: Columns {
            last: attributes.iter().map(|attribute| attribute.number).max().unwrap_or_default(),
            defined: fingerprint(&defined),
        },
        attributes,
        partitioned: table.text(3) == Some("p"),
        replica_identity,
        rows_estimate: table.text(6).and_then(|count| count.parse().ok()),
        row_filter: table.text(10).map(str::to_owned),
        obstacle,
        name,
    })
}

/// What is in the way of capturing a table, and what to do about it.
fn obstacle(
    table: &Row,
    name: &TableName,
    replica_identity: char,
    key: &[i16],
    key_hidden: bool,
) -> Option<(String, String)> {
    let quoted = name.quoted();
    let kind = match table.text(3) {
        Some("r" | "p") => None,
        Some("v") => Some("a view"),
        Some("m") => Some("a materialised view"),
        Some("f") => Some("a foreign table"),
        Some("S") => Some("a sequence"),
        _ => Some("no table"),
    };
    if let Some(kind) = kind {
        return Some((format!("`{name}` is {kind}"), "name the tables that it is made of".into()));
    }
    if table.text(5) != Some("p") {
        let problem =
            format!("table `{name}` is unlogged or temporary, so its changes are not in the write-ahead log");
        return Some((problem, format!("make it permanent: ALTER TABLE {quoted} SET LOGGED")));
    }
    if name.schema == "pg_catalog" || name.schema == "information_schema" {
        return Some((format!("`{name}` belongs to the system"), "leave it out".into()));
    }
    if replica_identity == 'n' {
        let problem = format!(
            "table `{name}` has REPLICA IDENTITY NOTHING, so updates and deletes do not say of which row"
        );
        return Some((problem, format!("ALTER TABLE {quoted} REPLICA IDENTITY DEFAULT (or FULL)")));
    }
    if replica_identity == 'i' && key.is_empty() {
        let problem = format!("the index that is the replica identity of table `{name}` is gone");
        return Some((problem, format!("ALTER TABLE {quoted} REPLICA IDENTITY DEFAULT (or FULL)")));
    }
    if key_hidden {
        let problem = format!("a key column of table `{name}` is not published");
        return Some((
            problem,
            "publish all key columns; before version 18, a generated column cannot be one".into(),
        ));
    }
    None
}

/// The layout that a relation message tells. The catalogue adds what the message does not say, as it is now; for
/// columns that have changed or gone since, the least is assumed.
pub(crate) async fn layout_of(
    connection: &mut Connection,
    relation: &Relation<'_>,
    now: Option<&Described>,
) -> Result<Layout, Error> {
    let known = |name: &str, type_id: u32, modifier: i32| {
        let mut columns = now?.layout.columns.iter();
        columns.find(|c| c.name == name && c.type_id == type_id && c.type_modifier == modifier)
    };
    let missing: Vec<_> = relation
        .columns()
        .filter(|c| known(c.name, c.type_id, c.type_modifier).is_none())
        .map(|c| (c.type_id, c.type_modifier))
        .collect();
    let bases = base_types(connection, &missing).await?;
    let columns: Vec<LayoutColumn> = relation
        .columns()
        .map(|column| {
            let identity = column.key || relation.identity == b'f';
            if let Some(known) = known(column.name, column.type_id, column.type_modifier) {
                return LayoutColumn { identity, ..known.clone() };
            }
            let base =
                bases.get(&(column.type_id, column.type_modifier)).cloned().unwrap_or_else(|| BaseType {
                    id: column.type_id,
                    modifier: column.type_modifier,
                    name: format!("type {}", column.type_id),
                });
            LayoutColumn {
                name: column.name.to_owned(),
                type_id: column.type_id,
                type_modifier: column.type_modifier,
                declared: base.name.clone(),
                base,
                nullable: true,
                identity,
            }
        })
        .collect();
    let identity = identity_of(relation, &columns, now);
    Ok(Layout { columns, identity })
}

fn identity_of(relation: &Relation<'_>, columns: &[LayoutColumn], now: Option<&Described>) -> Identity {
    let key_now: Option<Vec<usize>> = now
        .map(|now| {
            now.layout.key_columns().map(|key| columns.iter().position(|c| c.name == key.name)).collect()
        })
        .unwrap_or_default();
    let key_now = key_now.filter(|key| !key.is_empty());
    if relation.identity == b'f' {
        return key_now.map_or(Identity::WholeRow, Identity::Key);
    }
    let told: Vec<usize> = columns.iter().enumerate().filter(|(_, c)| c.identity).map(|(i, _)| i).collect();
    let same = key_now.filter(|key| key.len() == told.len() && told.iter().all(|index| key.contains(index)));
    match (same, told.is_empty()) {
        // The catalogue knows the order of the key's columns, the message does not.
        (Some(key), _) => Identity::Key(key),
        (None, false) => Identity::Key(told),
        (None, true) => Identity::Nothing,
    }
}

/// Resolves types (number, modifier) that no column of today has.
async fn base_types(
    connection: &mut Connection,
    types: &[(u32, i32)],
) -> Result<BTreeMap<(u32, i32), BaseType>, Error> {
    if types.is_empty() {
        return Ok(BTreeMap::new());
    }
    let values: Vec<_> = types.iter().map(|(id, modifier)| format!("({id}::oid,{modifier}::int4)")).collect();
    let sql = format!(
        "SELECT a.atttypid, a.atttypmod, b.oid, b.typmod, format_type(b.oid, b.typmod)
         FROM (VALUES {}) a(atttypid, atttypmod), {BASE_OF}",
        values.join(",")
    );
    let rows = connection.query(&sql).await?;
    rows.iter()
        .map(|row| {
            let base = BaseType { id: row.parse(2)?, modifier: row.parse(3)?, name: row.need(4)?.to_owned() };
            Ok(((row.parse(0)?, row.parse(1)?), base))
        })
        .collect()
}
