//! Reading events as changes of a row.
//!
//! ```text
//! {"name": "Ann"}                          lww      the column is this; null is a value, too
//! {"best": 70}                             max min  a candidate; null is none
//! {"visits": 1}                            counter  so much more, or less
//! {"tags": {"add": ["a"], "remove": []}}   set      texts and whole numbers
//! {"stock": -3}                            reserve  so much more, or less, which is asked for before: `merged::row`
//! {"stock": {"transfer": 3, "to": 2}}      reserve  so much of this region's rights are region 2's
//! {"state": "paid"}                        custom   what the column's expression calls `new`: `merged::custom`
//! {"email": "ann@x.org"}                   unique   as lww, with a value that is claimed before: `merged::unique`
//! (no data)                                         the row is deleted, as far as it was seen
//! ```
//!
//! Members that are not named change nothing. A subject that is named without any exists from then on.

use super::custom::ExprFold;
use super::value::Value;
use crate::dialect::suggest;
use crate::rows::reader::RowError;
use crate::rows::slot::{Form, Slot, SlotReader};
use datafusion::arrow::datatypes::DataType;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::sync::Arc;
use tw_merge::class::{Class, ReserveOp};
use tw_merge::{AMOUNT_MAX, FieldOp, Kind, OPS_MAX};
use tw_types::{Column, Data, Merge, RegionId};

/// The most elements of a set that one change may name.
const ELEMENTS_MAX: usize = OPS_MAX;
/// The longest element, in bytes.
const ELEMENT_BYTES_MAX: usize = 1_024;

/// Reads changes of some columns of a stream.
#[derive(Debug, Clone)]
pub(crate) struct ChangeOps {
    columns: Vec<(Column, SlotReader)>,
    classes: Arc<[Class<Value>]>,
}

/// A column is not what it should be.
fn wrong(name: &str, problem: &str) -> RowError {
    RowError::whole(&format!("column `{name}`: {problem}"))
}

impl ChangeOps {
    /// A reader of `columns`, in this order.
    pub(crate) fn new<'a>(columns: impl IntoIterator<Item = &'a Column>) -> Self {
        let columns: Vec<(Column, SlotReader)> = columns
            .into_iter()
            .map(|column| (column.clone(), SlotReader::new(&column.ty, Form::Plain)))
            .collect();
        let class = |(column, _): &(Column, SlotReader)| match &column.merge {
            Some(Merge::Max) => Class::Max,
            Some(Merge::Min) => Class::Min,
            Some(Merge::Counter) => Class::Counter,
            Some(Merge::Set) => Class::Set,
            Some(Merge::Reserve) => Class::Reserve,
            Some(Merge::Unique) => Class::Unique,
            Some(Merge::Custom(expr)) => Class::Custom(Arc::new(ExprFold::new(&column.ty, expr))),
            Some(Merge::Lww) | None => Class::Lww,
        };
        let classes = columns.iter().map(class).collect();
        Self { columns, classes }
    }

    /// The classes of the columns.
    pub(crate) fn classes(&self) -> &Arc<[Class<Value>]> {
        &self.classes
    }

    /// The columns.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().map(|(column, _)| column)
    }

    /// The column with this name, with its place and its reader.
    pub(crate) fn column(&self, name: &str) -> Option<(u16, &Column, &SlotReader)> {
        let mut columns = (0u16..).zip(&self.columns);
        columns
            .find(|(_, (column, _))| column.name == name)
            .map(|(field, (column, reader))| (field, column, reader))
    }

    /// The types of the columns.
    pub(crate) fn types(&self) -> impl Iterator<Item = &DataType> {
        self.columns.iter().map(|(_, reader)| reader.arrow())
    }

    /// What an event does. Members that are not columns are passed over, unless `all` must be.
    ///
    /// # Errors
    /// The first thing that does not fit, and which column it is.
    pub(crate) fn read(&self, data: &Data<&[u8]>, all: bool) -> Result<Kind<Value>, RowError> {
        let json = match data {
            Data::None => return Ok(Kind::Delete),
            Data::Json(json) => json,
            Data::Text(_) | Data::Binary(_) => return Err(RowError::whole("the data is not JSON")),
        };
        let members: BTreeMap<String, &RawValue> =
            serde_json::from_slice(json).map_err(|error| RowError::of(&error))?;
        let mut ops = Vec::with_capacity(members.len());
        for (name, raw) in &members {
            let found = (0u16..).zip(&self.columns).find(|(_, (column, _))| column.name == *name);
            match found {
                Some((field, (column, reader))) => read_one(field, column, reader, raw.get(), &mut ops)?,
                None if all => {
                    let known = self.columns.iter().map(|(column, _)| column.name.as_str());
                    let hint = suggest::did_you_mean(name, known);
                    return Err(RowError::whole(&format!("member `{name}` is not declared{hint}")));
                }
                None => {}
            }
        }
        ops.sort_by_key(|(field, _)| *field);
        Ok(Kind::Put(ops))
    }
}

/// Reads what is said of one column.
fn read_one(
    field: u16,
    column: &Column,
    reader: &SlotReader,
    raw: &str,
    ops: &mut Vec<(u16, FieldOp<Value>)>,
) -> Result<(), RowError> {
    let name = &column.name;
    let slot = || reader.read(raw).map_err(|problem| wrong(name, &problem));
    match &column.merge {
        Some(Merge::Max | Merge::Min) => match Value::of(&slot()?) {
            Value::Null => {}
            candidate => ops.push((field, FieldOp::Offer(candidate))),
        },
        Some(Merge::Counter) => {
            let step = units(&slot()?)
                .ok_or_else(|| wrong(name, "a counter takes how much more it is, which is a number"))?;
            ops.push((field, FieldOp::Add(step)));
        }
        Some(Merge::Reserve) => ops.push((field, FieldOp::Reserve(read_reserve(name, reader, raw)?))),
        Some(Merge::Set) => read_set(field, name, raw, ops)?,
        Some(Merge::Custom(_)) => ops.push((field, FieldOp::Input(Value::of(&slot()?)))),
        Some(Merge::Lww | Merge::Unique) | None => ops.push((field, FieldOp::Set(Value::of(&slot()?)))),
    }
    Ok(())
}

/// A number in units of its column's scale; None for what is no number.
fn units(slot: &Slot<'_>) -> Option<i128> {
    match slot {
        Slot::Int(number) => Some(i128::from(*number)),
        Slot::Decimal(number) => number.to_i128(),
        _ => None,
    }
}

/// Rights that go to another region.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Transfer<'a> {
    #[serde(borrow)]
    transfer: &'a RawValue,
    to: u16,
}

fn read_reserve(name: &str, reader: &SlotReader, raw: &str) -> Result<ReserveOp, RowError> {
    const RULE: &str = "a reserve takes how much more or less it is, which is a number and not 0, or {\"transfer\": 3, \"to\": 2}, which gives \
                        rights of this region to another one";
    if raw.starts_with('{') {
        let Transfer { transfer, to } = serde_json::from_str(raw).map_err(|_| wrong(name, RULE))?;
        let amount = read_amount(reader, transfer.get()).map_err(|problem| wrong(name, &problem))?;
        return Ok(ReserveOp::Transfer { to: RegionId(to), amount });
    }
    let step = units(&reader.read(raw).map_err(|problem| wrong(name, &problem))?);
    let step = step.filter(|step| *step != 0).ok_or_else(|| wrong(name, RULE))?;
    let amount = u64::try_from(step.unsigned_abs()).unwrap_or(u64::MAX);
    if amount > AMOUNT_MAX {
        return Err(wrong(name, "it changes by more than 64 bits hold: split the change"));
    }
    Ok(if step > 0 { ReserveOp::Produce(amount) } else { ReserveOp::Consume(amount) })
}

/// An amount of a reserve, over 0, in units of its column's scale.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read_amount(reader: &SlotReader, raw: &str) -> Result<u64, String> {
    let amount = units(&reader.read(raw)?).and_then(|amount| u64::try_from(amount).ok());
    let amount = amount.filter(|amount| (1..=AMOUNT_MAX).contains(amount));
    amount.ok_or_else(|| "an amount is a number over 0".to_owned())
}

/// What is put into a set, and what is taken out.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct SetChange {
    #[serde(default)]
    add: Vec<Element>,
    #[serde(default)]
    remove: Vec<Element>,
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Element {
    Int(i64),
    Text(String),
}

fn read_set(field: u16, name: &str, raw: &str, ops: &mut Vec<(u16, FieldOp<Value>)>) -> Result<(), RowError> {
    const RULE: &str = "a set takes {\"add\": […], \"remove\": […]} with texts and whole numbers";
    let change: SetChange = serde_json::from_str(raw).map_err(|_| wrong(name, RULE))?;
    if change.add.len() + change.remove.len() > ELEMENTS_MAX {
        let problem = format!("over {ELEMENTS_MAX} elements in one change: split it");
        return Err(wrong(name, &problem));
    }
    let mut named = std::collections::BTreeSet::new();
    let all = change.add.into_iter().map(|one| (true, one));
    for (is_in, element) in all.chain(change.remove.into_iter().map(|one| (false, one))) {
        let element = match element {
            Element::Int(value) => Value::Int(value),
            Element::Text(text) if text.len() > ELEMENT_BYTES_MAX => {
                let problem = format!("an element of {} bytes: at most {ELEMENT_BYTES_MAX}", text.len());
                return Err(wrong(name, &problem));
            }
            Element::Text(text) => Value::Text(text),
        };
        if !named.insert(element.clone()) {
            let problem = format!("the element {} is named twice: name it once", element.element());
            return Err(wrong(name, &problem));
        }
        ops.push((field, if is_in { FieldOp::Insert(element) } else { FieldOp::Remove(element) }));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::datatypes::i256;
    use proptest::prelude::*;

    fn column(name: &str, ty: &str, merge: Merge) -> Column {
        let nullable = !matches!(merge, Merge::Counter | Merge::Set | Merge::Reserve);
        Column {
            name: name.into(),
            ty: ty.parse().unwrap(),
            nullable,
            class: Default::default(),
            merge: Some(merge),
        }
    }

    fn ops() -> ChangeOps {
        ChangeOps::new(&[
            column("name", "text", Merge::Lww),
            column("best", "integer", Merge::Max),
            column("money", "numeric(9,2)", Merge::Counter),
            column("tags", "json", Merge::Set),
            column("stock", "numeric(9,1)", Merge::Reserve),
        ])
    }

    fn read(json: &str) -> Result<Kind<Value>, String> {
        ops().read(&Data::Json(json.as_bytes()), true).map_err(|error| error.message)
    }

    #[test]
    fn each_class_reads_its_operation() {
        let text = |text: &str| Value::Text(text.into());
        let wanted = vec![
            (0, FieldOp::Set(Value::Null)),
            (1, FieldOp::Offer(Value::Int(7))),
            (2, FieldOp::Add(-150)),
            (3, FieldOp::Insert(text("a"))),
            (3, FieldOp::Insert(Value::Int(4))),
            (3, FieldOp::Remove(text("b"))),
        ];
        let json =
            r#"{"tags": {"add": ["a", 4], "remove": ["b"]}, "money": "-1.50", "best": 7, "name": null}"#;
        assert_eq!(read(json), Ok(Kind::Put(wanted)));
        assert_eq!(read(r#"{"best": null}"#), Ok(Kind::Put(vec![])), "no candidate");
        for (json, op) in [
            (r#"{"stock": 3}"#, ReserveOp::Produce(30)),
            (r#"{"stock": "-0.5"}"#, ReserveOp::Consume(5)),
            (r#"{"stock": {"transfer": 2, "to": 7}}"#, ReserveOp::Transfer { to: RegionId(7), amount: 20 }),
        ] {
            assert_eq!(read(json), Ok(Kind::Put(vec![(4, FieldOp::Reserve(op))])));
        }
        assert_eq!(ops().read(&Data::None, true).unwrap(), Kind::Delete);
        let most = Value::of(&Slot::Decimal(i256::from_i128(1)));
        assert!(most > Value::Int(i64::MAX), "values of other columns are never compared");
    }

    #[test]
    fn what_does_not_fit_names_the_column_and_what_it_takes() {
        for (json, part) in [
            (r#"{"nam": 1}"#, "member `nam` is not declared: did you mean `name`?"),
            (r#"{"best": "x"}"#, "column `best`: expected an integer"),
            (r#"{"money": null}"#, "column `money`: a counter takes how much more"),
            (r#"{"money": 1.234}"#, "column `money`: "),
            (r#"{"tags": ["a"]}"#, "column `tags`: a set takes {\"add\""),
            (r#"{"tags": {"add": [1.5]}}"#, "column `tags`: a set takes"),
            (r#"{"tags": {"add": ["a"], "remove": ["a"]}}"#, "the element \"a\" is named twice"),
            (r#"{"stock": 0}"#, "column `stock`: a reserve takes how much more or less"),
            (r#"{"stock": {"transfer": 0, "to": 2}}"#, "column `stock`: an amount is a number over 0"),
            (r#"{"stock": {"transfer": 1}}"#, "column `stock`: a reserve takes"),
            ("[]", "expected a map"),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.contains(part), "{json}: {error}");
        }
        assert!(ops().read(&Data::Text(b"x"), true).is_err());
        assert_eq!(
            ops().read(&Data::Json(br#"{"gone": 1}"#), false).unwrap(),
            Kind::Put(vec![]),
            "a column that nobody asks for"
        );
    }

    proptest! {
        #[test]
        fn any_data_is_read_or_refused(data in proptest::collection::vec(any::<u8>(), 0..80), json in "\\{\"(name|best|money|tags|stock)\": ?[ -~]{0,40}\\}") {
            let _any = ops().read(&Data::Json(&data), true);
            let _like = ops().read(&Data::Json(json.as_bytes()), false);
        }
    }
}
