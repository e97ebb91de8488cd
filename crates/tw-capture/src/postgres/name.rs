//! Names of tables: as they are configured, as the server quotes them, as their streams are called.

use crate::Error;
use postgres_protocol::escape::escape_identifier;
use std::fmt;
use std::str::FromStr;
use tw_types::StreamName;

/// A table of a database, by schema and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TableName {
    pub(crate) schema: String,
    pub(crate) table: String,
}

impl TableName {
    pub(crate) fn new(schema: &str, table: &str) -> Self {
        Self { schema: schema.to_owned(), table: table.to_owned() }
    }

    /// As SQL needs it.
    pub(crate) fn quoted(&self) -> String {
        format!("{}.{}", escape_identifier(&self.schema), escape_identifier(&self.table))
    }

    /// The stream of this table of `source`: `source.table`, or `source.schema.table` outside the schema `public`.
    pub(crate) fn stream(&self, source: &str) -> Result<StreamName, Error> {
        let name = match self.schema.as_str() {
            "public" => format!("{source}.{}", self.table),
            schema => format!("{source}.{schema}.{}", self.table),
        };
        StreamName::new(&name).map_err(|invalid| {
            Error::refused(format!("table `{self}` cannot be captured: {invalid}"), "rename the table")
        })
    }
}

/// What a table of a source is called: in the status of the source, in the log, and by people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapturedName {
    name: TableName,
    stream: StreamName,
}

impl CapturedName {
    /// Reads the name of a table of `source`, as it is defined: `table`, `schema.table` or `"Schema"."Table"`.
    ///
    /// # Errors
    /// [`Error::Option`], [`Error::Refused`]: the name does not read, or its stream cannot have that name.
    pub fn new(source: &str, table: &str) -> Result<Self, Error> {
        let name: TableName = table.parse()?;
        let stream = name.stream(source)?;
        Ok(Self { name, stream })
    }

    /// The table as `schema.table`, without quotes.
    pub fn table(&self) -> String {
        self.name.to_string()
    }

    /// The stream of its changes.
    pub fn stream(&self) -> &StreamName {
        &self.stream
    }

    /// Whether somebody who writes `text` means this table.
    pub fn is_meant_by(&self, text: &str) -> bool {
        self.name.is_meant_by(text, self.stream.as_str())
    }
}

impl TableName {
    /// Whether somebody who writes `text` means this table, whose changes go to `stream`: by its name with or without
    /// quotes, without the schema, or by its stream.
    pub(crate) fn is_meant_by(&self, text: &str, stream: &str) -> bool {
        text == self.to_string()
            || text == stream
            || text == self.table
            || text.parse::<Self>().is_ok_and(|name| name == *self)
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}

impl FromStr for TableName {
    type Err = Error;

    /// Reads `table`, `schema.table` and the same with double quotes, as SQL does: what is not quoted is lower case.
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error::Option {
            option: "tables",
            value: text.to_owned(),
            rule: "name a table as `table`, `schema.table` or `\"Schema\".\"Table\"`".into(),
        };
        let (first, rest) = identifier(text.trim()).ok_or_else(wrong)?;
        match rest.strip_prefix('.') {
            None if rest.is_empty() => Ok(Self { schema: "public".into(), table: first }),
            None => Err(wrong()),
            Some(rest) => match identifier(rest) {
                Some((table, "")) => Ok(Self { schema: first, table }),
                _ => Err(wrong()),
            },
        }
    }
}

/// Reads one identifier from the front of `text`: its name and what follows it.
fn identifier(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(['.', '"']).unwrap_or(text.len());
        let (name, rest) = text.split_at_checked(end)?;
        let plain = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
        return (!name.is_empty() && name.chars().all(plain)).then(|| (name.to_lowercase(), rest));
    };
    let mut name = String::new();
    let mut rest = quoted;
    loop {
        let (part, after) = rest.split_once('"')?;
        name.push_str(part);
        // A doubled quote stands for one.
        match after.strip_prefix('"') {
            Some(after) => {
                name.push('"');
                rest = after;
            }
            None => return (!name.is_empty()).then_some((name, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_as_in_sql() {
        for (text, schema, table) in [
            ("orders", "public", "orders"),
            ("Sales.Orders", "sales", "orders"),
            ("\"Sales\".\"Order Lines\"", "Sales", "Order Lines"),
            ("\"a\"\"b\".\"c.d\"", "a\"b", "c.d"),
            (" public.größe ", "public", "größe"),
        ] {
            assert_eq!(text.parse::<TableName>().unwrap(), TableName::new(schema, table));
        }
        for text in ["", ".", "a.", "a.b.c", "a b", "\"a", "\"\"", "a.\"b\"c"] {
            assert!(text.parse::<TableName>().is_err(), "{text}");
        }
    }

    #[test]
    fn tables_are_meant_by_all_their_names() {
        let lines = CapturedName::new("shop", "sales.\"Order Lines\"").unwrap();
        assert_eq!(
            (lines.table().as_str(), lines.stream().as_str()),
            ("sales.Order Lines", "shop.sales.Order Lines")
        );
        for text in ["sales.Order Lines", "sales.\"Order Lines\"", "shop.sales.Order Lines", "Order Lines"] {
            assert!(lines.is_meant_by(text), "{text}");
        }
        for text in ["sales.order lines", "sales", "public.\"Order Lines\""] {
            assert!(!lines.is_meant_by(text), "{text}");
        }
    }

    #[test]
    fn streams_are_called_after_source_and_table() {
        assert_eq!(TableName::new("public", "orders").stream("shop").unwrap().as_str(), "shop.orders");
        assert_eq!(TableName::new("sales", "orders").stream("shop").unwrap().as_str(), "shop.sales.orders");
        assert!(TableName::new("public", "a/b").stream("shop").is_err());
    }

    #[test]
    fn quoting_keeps_every_character() {
        assert_eq!(TableName::new("a\"b", "C d").quoted(), "\"a\"\"b\".\"C d\"");
    }
}
