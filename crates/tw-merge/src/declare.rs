//! Whether the classes that a stream declares for its fields can work.
//!
//! Asked once, when a stream is declared or changed, before anything is written under it. It never looks at data, and it
//! does not say how values are encoded.

use crate::class::Merge;
use std::collections::BTreeSet;
use tw_types::ColumnType;

/// Who may write a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Every region at any time; changes are merged.
    ActiveActive,
    /// One region at a time; the others read.
    HomeRegion,
    /// One region; no other one has it.
    Local,
}

/// One field as it is declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its type.
    pub ty: &'a ColumnType,
    /// Whether it is declared `not null`.
    pub not_null: bool,
    /// Whether no two subjects may have the same value in it: `unique`, or a primary key that is not the subject's own key.
    pub unique: bool,
    /// What happens to changes that did not know of each other.
    pub merge: &'a Merge,
}

/// The most fields of a stream.
pub const FIELDS_MAX: usize = 1_024;

/// The most digits of a number that is counted or reserved: 18 digits are within 64 bits.
pub const DIGITS_MAX: u16 = 18;

/// What is wrong with a declaration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Too many fields.
    #[error("{count} fields are more than {fields_max}: put some into one field of type json")]
    TooManyFields {
        /// How many are declared.
        count: usize,
        /// How many may be.
        fields_max: usize,
    },
    /// Two fields of one name.
    #[error("field `{field}` is declared twice: declare it once, with one class")]
    Twice {
        /// The field.
        field: String,
    },
    /// A class that does not suit the field or the stream.
    #[error("field `{field}` cannot be `{merge}`: {rule}; {remedy}")]
    Class {
        /// The field.
        field: String,
        /// The class.
        merge: Merge,
        /// What speaks against it.
        rule: &'static str,
        /// What to do.
        remedy: &'static str,
    },
}

/// A rule that is broken, and the remedy.
type Broken = (&'static str, &'static str);

/// Checks the fields of a stream.
///
/// # Errors
/// The first rule that is broken, in the order of the fields.
pub fn check(fields: &[Field<'_>], mode: Mode) -> Result<(), Error> {
    if fields.len() > FIELDS_MAX {
        return Err(Error::TooManyFields { count: fields.len(), fields_max: FIELDS_MAX });
    }
    let mut names = BTreeSet::new();
    for field in fields {
        if !names.insert(field.name) {
            return Err(Error::Twice { field: field.name.to_owned() });
        }
        if let Some((rule, remedy)) = mode_rule(field, mode).or_else(|| type_rule(field)) {
            let (field, merge) = (field.name.to_owned(), field.merge.clone());
            return Err(Error::Class { field, merge, rule, remedy });
        }
    }
    Ok(())
}

/// What speaks against the class in a stream of this mode.
fn mode_rule(field: &Field<'_>, mode: Mode) -> Option<Broken> {
    match (mode, field.merge) {
        (Mode::HomeRegion | Mode::Local, Merge::Reserve) => Some((
            "one region writes this stream and can check the quantity by itself",
            "use `lww`, or make the stream active-active",
        )),
        (Mode::HomeRegion | Mode::Local, Merge::Unique) => Some((
            "values are claimed in streams that regions share",
            "create the stream WITH (mode = 'active-active', home = 1), which works in one region, too",
        )),
        (Mode::ActiveActive, merge) if field.unique && *merge != Merge::Unique => Some((
            "its values must be unique, and two regions can write the same one at the same time",
            "use `unique`, drop the constraint, or make the stream home-region",
        )),
        _ => None,
    }
}

/// What speaks against the class for a field of this type.
fn type_rule(field: &Field<'_>) -> Option<Broken> {
    match field.merge {
        Merge::Counter | Merge::Reserve => number_rule(field.ty)
            .or((!field.not_null)
                .then_some(("it is 0 without a change, and never null", "declare it not null"))),
        Merge::Max | Merge::Min => order_rule(field.ty),
        Merge::Set if *field.ty != ColumnType::Json => {
            Some(("a set is an array of texts or whole numbers", "declare the field as json"))
        }
        Merge::Set => (!field.not_null)
            .then_some(("a set is empty without a change, and never null", "declare it not null")),
        Merge::Unique => match field.ty {
            ColumnType::Int2
            | ColumnType::Int4
            | ColumnType::Int8
            | ColumnType::Numeric(_)
            | ColumnType::Text
            | ColumnType::Date
            | ColumnType::Uuid => None,
            _ => Some((
                "a value of this type may be written in several ways, and each would be a value of its own",
                "use text, a whole number, numeric, date or uuid",
            )),
        },
        Merge::Custom(_) => match field.ty {
            ColumnType::Float4 | ColumnType::Float8 => Some((
                "what floating point functions give differs between machines in the last digit",
                "use bigint or numeric(p,s)",
            )),
            ColumnType::Interval | ColumnType::Other(_) => Some((
                "expressions of this type are not offered",
                "use text, a number, a date, a time, bytea, uuid or json",
            )),
            _ => None,
        },
        Merge::Lww => None,
    }
}

/// Sums must be exact, and must not depend on the order of adding.
const fn number_rule(ty: &ColumnType) -> Option<Broken> {
    match ty {
        ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8 => None,
        ColumnType::Numeric(Some((precision, scale))) => {
            let scaled = *scale >= 0 && *scale as u16 <= *precision;
            match *precision <= DIGITS_MAX && scaled {
                true => None,
                false => Some((
                    "it is summed in 64 bits of its smallest unit",
                    "use numeric(p,s) with p up to 18 and s from 0 to p",
                )),
            }
        }
        ColumnType::Numeric(None) => {
            Some(("a sum needs a smallest unit", "use numeric(p,s) with p up to 18 and s from 0 to p"))
        }
        ColumnType::Float4 | ColumnType::Float8 => Some((
            "a sum of floating point numbers depends on the order in which they are added",
            "use bigint or numeric(p,s)",
        )),
        _ => Some(("only numbers have sums", "use bigint or numeric(p,s), or the class `lww`")),
    }
}

/// All regions must find the same value greater, also with other versions of their libraries.
const fn order_rule(ty: &ColumnType) -> Option<Broken> {
    match ty {
        ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8 | ColumnType::Numeric(_) => None,
        ColumnType::Date | ColumnType::Time | ColumnType::Timestamp | ColumnType::TimestampTz => None,
        ColumnType::Bool | ColumnType::Bytea | ColumnType::Uuid => None,
        ColumnType::Float4 | ColumnType::Float8 => Some((
            "`NaN` and the two zeros have no place in an order that is the same everywhere",
            "use bigint or numeric",
        )),
        ColumnType::Text => Some((
            "the order of texts depends on the language and on the version of its rules",
            "use a number, a date or bytea, or the class `lww`",
        )),
        ColumnType::Interval => Some((
            "a month is neither longer nor shorter than 30 days",
            "use bigint with a unit, such as milliseconds",
        )),
        ColumnType::Json | ColumnType::Other(_) => Some((
            "its values have no order that is known here",
            "use a number, a date or bytea, or the class `lww`",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks a field `f` declared as `type`, `type not null` or `type unique`.
    fn declare(text: &str, merge: &str, mode: Mode) -> Result<(), String> {
        let (ty, not_null) = text.strip_suffix(" not null").map_or((text, false), |ty| (ty, true));
        let (ty, unique) = ty.strip_suffix(" unique").map_or((ty, false), |ty| (ty, true));
        let (ty, merge) = (ty.parse().unwrap(), merge.parse().unwrap());
        let field = Field { name: "f", ty: &ty, not_null, unique, merge: &merge };
        check(&[field], mode).map_err(|error| error.to_string())
    }

    fn refused(text: &str, merge: &str, mode: Mode, expected: &str) {
        let expected = format!("field `f` cannot be `{merge}`: {expected}");
        assert_eq!(declare(text, merge, mode), Err(expected), "{text} {merge}");
    }

    #[test]
    fn classes_that_suit_the_type_are_taken() {
        for (text, merge) in [
            ("text", "lww"),
            ("double precision", "lww"),
            ("bigint", "max"),
            ("timestamptz", "min"),
            ("numeric", "max"),
            ("integer not null", "counter"),
            ("numeric(18,18) not null", "counter"),
            ("json not null", "set"),
            ("numeric(12,2) not null", "reserve"),
            ("text unique not null", "unique"),
            ("text", "unique"),
            ("json", "custom(coalesce(new, old))"),
        ] {
            assert_eq!(declare(text, merge, Mode::ActiveActive), Ok(()), "{text} {merge}");
        }
        for mode in [Mode::HomeRegion, Mode::Local] {
            assert_eq!(declare("text unique not null", "lww", mode), Ok(()));
            assert_eq!(declare("bigint not null", "counter", mode), Ok(()));
        }
    }

    #[test]
    fn uniqueness_under_another_class_is_refused_where_two_regions_write() {
        for merge in ["lww", "max", "custom(new)"] {
            refused(
                "bigint unique",
                merge,
                Mode::ActiveActive,
                "its values must be unique, and two regions can write the same one at the same time; use `unique`, drop the constraint, or make the stream home-region",
            );
        }
    }

    #[test]
    fn what_one_writer_can_check_itself_is_refused_where_one_region_writes() {
        for mode in [Mode::HomeRegion, Mode::Local] {
            refused(
                "bigint not null",
                "reserve",
                mode,
                "one region writes this stream and can check the quantity by itself; use `lww`, or make the stream active-active",
            );
            assert!(
                declare("text unique", "unique", mode).unwrap_err().contains("streams that regions share")
            );
        }
    }

    #[test]
    fn sums_need_exact_numbers_of_bounded_size_that_are_not_null() {
        let digits = "it is summed in 64 bits of its smallest unit; use numeric(p,s) with p up to 18 and s from 0 to p";
        let unit = "a sum needs a smallest unit; use numeric(p,s) with p up to 18 and s from 0 to p";
        for merge in ["counter", "reserve"] {
            for ty in ["numeric(19,2)", "numeric(5,6)", "numeric(5,-1)"] {
                refused(&format!("{ty} not null"), merge, Mode::ActiveActive, digits);
            }
            refused("numeric not null", merge, Mode::ActiveActive, unit);
            assert!(declare("real not null", merge, Mode::ActiveActive).unwrap_err().contains("order"));
            assert!(
                declare("text not null", merge, Mode::ActiveActive).unwrap_err().contains("only numbers")
            );
            let null = "it is 0 without a change, and never null; declare it not null";
            refused("bigint", merge, Mode::ActiveActive, null);
        }
    }

    #[test]
    fn extremes_need_an_order_that_is_the_same_everywhere() {
        for ty in ["real", "double precision", "text", "interval", "json", "other(money)"] {
            for merge in ["max", "min"] {
                assert!(declare(ty, merge, Mode::ActiveActive).is_err(), "{ty} {merge}");
            }
        }
    }

    #[test]
    fn a_set_is_json_and_a_unique_value_is_written_in_one_way() {
        let json = "a set is an array of texts or whole numbers; declare the field as json";
        refused("text not null", "set", Mode::ActiveActive, json);
        let null = "a set is empty without a change, and never null; declare it not null";
        refused("json", "set", Mode::ActiveActive, null);
        assert!(declare("json", "unique", Mode::ActiveActive).is_err());
        assert!(declare("double precision", "unique", Mode::ActiveActive).is_err());
    }

    #[test]
    fn a_field_is_declared_once_and_there_are_not_too_many() {
        let field =
            Field { name: "f", ty: &ColumnType::Text, not_null: false, unique: false, merge: &Merge::Lww };
        assert_eq!(check(&[field, field], Mode::Local), Err(Error::Twice { field: "f".to_owned() }));
        let error = check(&vec![field; 1_025], Mode::Local).unwrap_err();
        assert_eq!(error.to_string(), "1025 fields are more than 1024: put some into one field of type json");
    }
}
