//! Rows as bytes: JSON, one JSON object a line, CSV, Arrow.
//!
//! Numbers keep every digit: in JSON, a decimal number is a text, because most readers would round it, and so is what JSON has
//! no number for: `"NaN"`, `"Infinity"`. JSON stays JSON. Times are those of PostgreSQL's `to_json` (ISO 8601, and RFC 3339
//! for the years that that has), bytes are base64 (in CSV `\x` and hexadecimal digits, as PostgreSQL's COPY writes them).
//! The table of types in docs/sql.md says the same to whoever reads the answers.

mod column;
mod texts;

pub use texts::row_texts;

use crate::parts::FIELD_TYPE;
use crate::{Code, Problem};
use arrow_array::RecordBatch;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use column::Column;
use http::HeaderValue;

/// The media type of Arrow's IPC stream format.
const ARROW: &str = "application/vnd.apache.arrow.stream";

/// A format of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// `{"columns":[…],"rows":[[…],…]}`
    Json,
    /// One object a line.
    Lines,
    /// RFC 4180 with line feeds; NULL is empty, an empty text is `""`.
    Csv,
    /// Arrow IPC stream.
    Arrow,
}

impl Format {
    /// Every format by its media type; the first is the default.
    pub(crate) const OFFERS: [(&'static str, Self); 4] = [
        ("application/json", Self::Json),
        ("application/x-ndjson", Self::Lines),
        ("text/csv", Self::Csv),
        (ARROW, Self::Arrow),
    ];

    /// What the answer's content type says.
    pub(crate) fn media_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Json => "application/json",
            Self::Lines => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Arrow => ARROW,
        })
    }
}

/// Writes rows, batch by batch.
pub(crate) enum Encoder {
    Json { schema: SchemaRef, any: bool },
    Lines { schema: SchemaRef, names: Vec<Vec<u8>> },
    Csv { schema: SchemaRef },
    Arrow(Box<StreamWriter<Vec<u8>>>),
}

impl Encoder {
    pub(crate) fn new(format: Format, schema: &SchemaRef) -> Result<Self, Problem> {
        Ok(match format {
            Format::Json => Self::Json { schema: schema.clone(), any: false },
            Format::Lines => Self::Lines { schema: schema.clone(), names: names(schema) },
            Format::Csv => Self::Csv { schema: schema.clone() },
            Format::Arrow => {
                Self::Arrow(Box::new(StreamWriter::try_new(Vec::new(), schema).map_err(internal)?))
            }
        })
    }

    /// What comes before the rows.
    pub(crate) fn begin(&mut self, out: &mut Vec<u8>) {
        match self {
            Self::Json { schema, .. } => {
                out.extend_from_slice(br#"{"columns":["#);
                for (index, (field, name)) in schema.fields().iter().zip(names(schema)).enumerate() {
                    out.extend_from_slice(if index == 0 { br#"{"name":"# } else { br#",{"name":"# });
                    out.extend_from_slice(&name);
                    out.extend_from_slice(br#","type":"#);
                    column::json_text(out, &type_name(field));
                    out.push(b'}');
                }
                out.extend_from_slice(br#"],"rows":["#);
            }
            Self::Lines { .. } => {}
            Self::Csv { schema } => {
                for (index, field) in schema.fields().iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    column::csv_text(out, field.name());
                }
                out.push(b'\n');
            }
            Self::Arrow(writer) => out.append(writer.get_mut()),
        }
    }

    /// The rows of a batch.
    pub(crate) fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), Problem> {
        let schema = match self {
            Self::Json { schema, .. } | Self::Lines { schema, .. } | Self::Csv { schema } => schema.clone(),
            Self::Arrow(writer) => {
                writer.write(batch).map_err(internal)?;
                out.append(writer.get_mut());
                return Ok(());
            }
        };
        let columns = batch.columns().iter().zip(schema.fields());
        let columns = columns.map(|(array, field)| Column::new(array, column::is_json(field)));
        let columns = columns.collect::<Result<Vec<_>, _>>().map_err(internal)?;
        for row in 0..batch.num_rows() {
            match self {
                Self::Json { any, .. } => {
                    out.extend_from_slice(if *any { b",[" } else { b"[" });
                    *any = true;
                    separated(out, &columns, |out, column| column.json(row, out))?;
                    out.push(b']');
                }
                Self::Lines { names, .. } => {
                    out.push(b'{');
                    let named = names.iter().zip(&columns);
                    separated(out, named, |out, (name, column)| {
                        out.extend_from_slice(name);
                        out.push(b':');
                        column.json(row, out)
                    })?;
                    out.extend_from_slice(b"}\n");
                }
                Self::Csv { .. } | Self::Arrow(_) => {
                    separated(out, &columns, |out, column| column.csv(row, out))?;
                    out.push(b'\n');
                }
            }
        }
        Ok(())
    }

    /// What comes after the rows.
    pub(crate) fn end(&mut self, out: &mut Vec<u8>) -> Result<(), Problem> {
        match self {
            Self::Json { .. } => out.extend_from_slice(b"]}"),
            Self::Lines { .. } | Self::Csv { .. } => {}
            Self::Arrow(writer) => {
                writer.finish().map_err(internal)?;
                out.append(writer.get_mut());
            }
        }
        Ok(())
    }

    /// What comes instead when not all rows could be computed, where the format has a place for it.
    pub(crate) fn fail(&mut self, problem: &Problem, out: &mut Vec<u8>) {
        match self {
            Self::Json { .. } => {
                out.extend_from_slice(br#"],"problem":"#);
                out.extend_from_slice(&problem.to_json(None));
                out.push(b'}');
            }
            Self::Lines { .. } => {
                out.extend_from_slice(br#"{"problem":"#);
                out.extend_from_slice(&problem.to_json(None));
                out.extend_from_slice(b"}\n");
            }
            Self::Csv { .. } | Self::Arrow(_) => {}
        }
    }
}

fn separated<T>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    mut each: impl FnMut(&mut Vec<u8>, T) -> Result<(), ArrowError>,
) -> Result<(), Problem> {
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        each(out, item).map_err(internal)?;
    }
    Ok(())
}

fn internal(error: ArrowError) -> Problem {
    Problem::new(Code::Internal, format!("the rows cannot be written: {error}"))
}

/// The names of the columns as JSON texts.
fn names(schema: &Schema) -> Vec<Vec<u8>> {
    let name = |field: &std::sync::Arc<arrow_schema::Field>| {
        let mut name = Vec::new();
        column::json_text(&mut name, field.name());
        name
    };
    schema.fields().iter().map(name).collect()
}

/// What PostgreSQL calls the type of a column.
fn type_name(field: &Field) -> String {
    match (field.metadata().get(FIELD_TYPE), field.data_type()) {
        (Some(ty), DataType::List(_) | DataType::LargeList(_)) => format!("{ty}[]"),
        (Some(ty), _) => ty.clone(),
        (None, DataType::List(item) | DataType::LargeList(item)) => format!("{}[]", type_name(item)),
        (None, ty) => plain_type_name(ty),
    }
}

/// What PostgreSQL calls a type; Arrow's name for one that PostgreSQL does not have.
fn plain_type_name(ty: &DataType) -> String {
    match ty {
        DataType::Null => "unknown".into(),
        DataType::Boolean => "boolean".into(),
        DataType::Int8 | DataType::Int16 => "smallint".into(),
        DataType::Int32 => "integer".into(),
        DataType::Int64 => "bigint".into(),
        DataType::Float32 => "real".into(),
        DataType::Float64 => "double precision".into(),
        ty if column::is_unbound(ty) => "numeric".into(),
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            format!("numeric({precision},{scale})")
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".into(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "bytea".into(),
        DataType::Date32 | DataType::Date64 => "date".into(),
        DataType::Time32(_) | DataType::Time64(_) => "time".into(),
        DataType::Timestamp(_, None) => "timestamp".into(),
        DataType::Timestamp(_, Some(_)) => "timestamptz".into(),
        DataType::Interval(_) => "interval".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
