//! Named functions: which exist, what they take, and what they become.

use super::guard;
use super::operand::Operand;
use super::operators::{boolean, compare};
use super::table::{FOREIGN, NATIVE, REFUSED};
use super::{Dialect, regex, suggest};
use crate::functions::arith::{Op, negate};
use crate::functions::cast::cast;
use crate::functions::function::type_error;
use crate::functions::{json, math, moment, text, zone};
use crate::sql::CAST_OPERAND;
use crate::types::{self, INTERVAL, Kind, TIMESTAMP, timestamptz};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::{Expr, ExprSchemable, Operator, ScalarUDF};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

/// DataFusion's own functions by name.
pub(super) static DATAFUSION: LazyLock<HashMap<String, Arc<ScalarUDF>>> = LazyLock::new(|| {
    let mut functions = HashMap::new();
    for function in SessionStateDefaults::default_scalar_functions() {
        for name in std::iter::once(function.name()).chain(function.aliases().iter().map(String::as_str)) {
            functions.insert(name.to_owned(), function.clone());
        }
    }
    functions
});

/// Functions of ours that are planned one by one.
const OURS: &[&str] = &[
    "abs",
    "atan2",
    "ceil",
    "ceiling",
    "coalesce",
    "concat",
    "concat_ws",
    "current_date",
    "current_time",
    "current_timestamp",
    "date_bin",
    "date_part",
    "date_trunc",
    "div",
    "extract",
    "floor",
    "greatest",
    "json_array_length",
    "json_typeof",
    "least",
    "localtimestamp",
    "make_date",
    "mod",
    "now",
    "nullif",
    "pi",
    "pow",
    "power",
    "random",
    "round",
    "sign",
    "signum",
    "timezone",
    "to_timestamp",
    "trunc",
    "uuid",
    "gen_random_uuid",
    "gcd",
    "lcm",
];

/// Whether there is a function of this name.
pub(super) fn exists(name: &str) -> bool {
    name == CAST_OPERAND
        || is_native(name).is_some()
        || OURS.contains(&name)
        || math::of_one(name).is_some()
        || is_foreign(name)
        || REFUSED.iter().any(|(refused, _)| *refused == name)
}

/// All names, for a suggestion.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let native = NATIVE.iter().flat_map(|native| native.names.iter().copied());
    native.chain(OURS.iter().copied()).chain(math::names()).chain(FOREIGN.iter().copied())
}

fn is_native(name: &str) -> Option<&'static super::table::Native> {
    NATIVE.iter().find(|native| native.names.contains(&name))
}

pub(super) fn is_foreign(name: &str) -> bool {
    FOREIGN.contains(&name)
        || ((name.starts_with("array_") || name.starts_with("list_")) && DATAFUSION.contains_key(name))
}

/// Whether a function of DataFusion's that was planned has a value for all arguments.
pub(super) fn is_total(name: &str) -> bool {
    matches!(name, "coalesce" | "greatest" | "least" | "pi" | "concat" | "concat_ws" | "make_array")
        || NATIVE.iter().any(|native| native.total && native.names.contains(&name))
}

/// The call of a function, with PostgreSQL's meaning.
///
/// # Errors
/// There is no such function for these types, or it is refused.
pub(super) fn plan(dialect: &Dialect, name: &str, args: Vec<Expr>, schema: &DFSchema) -> Result<Expr> {
    if let Some((_, instead)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
        return Err(type_error(format!("function {name}() is not supported: {instead}")));
    }
    if name == CAST_OPERAND {
        let operand = args.into_iter().next();
        return operand.ok_or_else(|| type_error(format!("{name}() takes a value and a type")));
    }
    let operands = args.into_iter().map(|arg| Operand::new(arg, schema)).collect::<Result<Vec<_>>>()?;
    let call = Call { name, operands, schema };
    if let Some(native) = is_native(name) {
        return call.native(native);
    }
    if is_foreign(name) {
        return call.foreign();
    }
    match name {
        "now" | "current_timestamp" | "localtimestamp" | "current_date" | "current_time" => call.now(dialect),
        "random" | "uuid" | "gen_random_uuid" => call.random(dialect),
        "extract" | "date_part" | "date_trunc" | "date_bin" | "timezone" | "to_timestamp" | "make_date" => {
            call.moment()
        }
        "coalesce" | "greatest" | "least" => call.unified(),
        "nullif" => call.nullif(),
        "concat" | "concat_ws" => call.concat(),
        "json_typeof" => call.json(json::typeof_function()),
        "json_array_length" => call.json(json::array_length_function()),
        _ => call.math(),
    }
}

/// `left ^ right`.
pub(super) fn power(left: Operand, right: Operand, schema: &DFSchema) -> Result<Expr> {
    Call { name: "power", operands: vec![left, right], schema }.math()
}

struct Call<'a> {
    name: &'a str,
    operands: Vec<Operand>,
    schema: &'a DFSchema,
}

impl Call<'_> {
    fn no_such_function(&self) -> datafusion::common::DataFusionError {
        let types: Vec<String> = self.operands.iter().map(Operand::type_name).collect();
        let hint = if self.operands.iter().any(|operand| operand.kind.is_textual()) {
            ": cast to text to use the text form".to_owned()
        } else if exists(self.name) {
            ": add a cast".to_owned()
        } else {
            suggest::did_you_mean(self.name, names())
        };
        type_error(format!("function {}({}) does not exist{hint}", self.name, types.join(", ")))
    }

    fn datafusion(&self, name: &str, args: Vec<Expr>) -> Result<Expr> {
        let udf = text::of(name).or_else(|| DATAFUSION.get(name).cloned());
        Ok(udf.ok_or_else(|| self.no_such_function())?.call(args))
    }

    fn native(self, native: &super::table::Native) -> Result<Expr> {
        for form in native.forms {
            let (takes, gives) = form.split_once('>').unwrap_or((form, "t"));
            if takes.len() != self.operands.len()
                || !takes.chars().zip(&self.operands).all(|(letter, operand)| accepts(letter, operand))
            {
                continue;
            }
            let name = native.names.first().copied().unwrap_or(self.name);
            let args = takes.chars().zip(self.operands.iter().cloned()).map(|(letter, operand)| {
                // The digits of a negative number depend on its length.
                let is_short = name == "to_hex" && *operand.ty() != DataType::Int64;
                operand.cast(&if is_short { DataType::Int32 } else { letter_type(letter) })
            });
            let mut args = args.collect::<Result<Vec<_>>>()?;
            if name.starts_with("regexp_") {
                regex::arguments(name, &mut args)?;
            }
            let call = self.datafusion(name, args)?;
            let ty =
                if gives == "i" { DataType::Int32 } else { letter_type(gives.chars().next().unwrap_or('t')) };
            let from = call.get_type(self.schema)?;
            return cast(call, &from, &ty);
        }
        Err(self.no_such_function())
    }

    fn foreign(self) -> Result<Expr> {
        if self.operands.iter().any(|operand| operand.kind.is_textual()) {
            return Err(self.no_such_function());
        }
        let args = self.operands.iter().map(|operand| operand.expr.clone()).collect();
        self.datafusion(self.name, args)
    }

    /// The one type that all arguments can have.
    fn common(&self) -> Result<DataType> {
        let mut common = DataType::Null;
        for operand in &self.operands {
            if operand.kind.is_textual() {
                return Err(self.no_such_function());
            }
            if !operand.is_open() {
                common = types::common_type(&common, operand.ty()).ok_or_else(|| {
                    let (a, b) = (types::name(&common), operand.type_name());
                    type_error(format!(
                        "{} types {a} and {b} cannot be matched: add a cast",
                        self.name.to_uppercase()
                    ))
                })?;
            }
        }
        Ok(if common == DataType::Null { DataType::Utf8View } else { common })
    }

    fn unified(self) -> Result<Expr> {
        if self.operands.is_empty() {
            return Err(self.no_such_function());
        }
        let ty = self.common()?;
        if ty == INTERVAL && self.name != "coalesce" {
            return Err(type_error(format!("not supported: {}() of intervals", self.name)));
        }
        let mut args =
            self.operands.iter().cloned().map(|operand| operand.cast(&ty)).collect::<Result<Vec<_>>>()?;
        if self.name != "coalesce" {
            return self.datafusion(self.name, args);
        }
        let last = args.pop().map(Box::new);
        if args.is_empty() {
            return last.map(|last| *last).ok_or_else(|| self.no_such_function());
        }
        let when_then = args.into_iter().map(|arg| {
            let is_there = Expr::IsNotNull(Box::new(guard::copy(&arg)?));
            Ok((Box::new(is_there), Box::new(arg)))
        });
        Ok(guard::case(when_then.collect::<Result<_>>()?, last, self.schema))
    }

    /// `nullif(a, b)` is NULL where a equals b, and a elsewhere.
    fn nullif(self) -> Result<Expr> {
        let [a, b] =
            <[Operand; 2]>::try_from(self.operands).map_err(|_| type_error("nullif takes two arguments"))?;
        let value = if a.open_text().is_some() {
            a.clone().cast(&DataType::Utf8View)?
        } else {
            guard::copy(&a.expr)?
        };
        let ty = if a.open_text().is_some() { DataType::Utf8View } else { a.ty().clone() };
        let equal = compare(Operator::Eq, a, b)?;
        let null = Expr::Literal(ScalarValue::try_from(&ty)?, None);
        Ok(guard::case(vec![(Box::new(equal), Box::new(null))], Some(Box::new(value)), self.schema))
    }

    fn concat(self) -> Result<Expr> {
        if let Some(operand) = self.operands.iter().find(|operand| operand.kind == Kind::Bool) {
            return Err(type_error(format!(
                "not supported: {}() of {}: cast to text",
                self.name,
                operand.type_name()
            )));
        }
        let args = self.operands.iter().cloned().map(Operand::into_printed).collect::<Result<_>>()?;
        self.datafusion(self.name, args)
    }

    fn json(self, udf: Arc<ScalarUDF>) -> Result<Expr> {
        match self.operands.as_slice() {
            [operand] if matches!(operand.kind, Kind::Json | Kind::Text) => {
                Ok(udf.call(vec![operand.expr.clone()]))
            }
            _ => Err(self.no_such_function()),
        }
    }

    /// The time at which the statement started.
    fn now(self, dialect: &Dialect) -> Result<Expr> {
        let Some(now_us) = dialect.now_us else {
            return Err(type_error(format!(
                "{}() is not supported in a projection: its value would depend on when a row is computed; use it when querying",
                self.name
            )));
        };
        let now =
            Expr::Literal(ScalarValue::TimestampMicrosecond(Some(now_us), Some(Arc::from("UTC"))), None);
        match self.name {
            "localtimestamp" => cast(now, &timestamptz(), &TIMESTAMP),
            "current_date" => cast(now, &timestamptz(), &DataType::Date32),
            "current_time" => cast(now, &timestamptz(), &types::TIME),
            _ => Ok(now),
        }
    }

    fn random(self, dialect: &Dialect) -> Result<Expr> {
        if dialect.now_us.is_none() {
            return Err(type_error(format!(
                "{}() is not supported in a projection: it has another value each time a row is computed",
                self.name
            )));
        }
        self.datafusion(if self.name == "random" { "random" } else { "uuid" }, vec![])
    }

    fn math(self) -> Result<Expr> {
        let kinds: Vec<Kind> = self.operands.iter().map(|operand| operand.kind).collect();
        let plain = |operand: &Operand| operand.expr.clone();
        let double = |operand: &Operand| operand.clone().cast(&DataType::Float64);
        match (self.name, self.operands.as_slice(), kinds.as_slice()) {
            ("pi", [], _) => Ok(Expr::Literal(ScalarValue::Float64(Some(std::f64::consts::PI)), None)),
            ("abs", [x], [kind]) if kind.is_number() => Ok(math::abs().call(vec![plain(x)])),
            ("sign" | "signum", [x], [Kind::Numeric]) => Ok(math::sign_numeric().call(vec![plain(x)])),
            ("round", [x], [Kind::Numeric]) => {
                Ok(math::round_numeric(math::Rounding::Nearest).call(vec![plain(x)]))
            }
            ("trunc", [x], [Kind::Numeric]) => {
                Ok(math::round_numeric(math::Rounding::Truncate).call(vec![plain(x)]))
            }
            ("ceil" | "ceiling", [x], [Kind::Numeric]) => {
                Ok(math::round_numeric(math::Rounding::Up).call(vec![plain(x)]))
            }
            ("floor", [x], [Kind::Numeric]) => {
                Ok(math::round_numeric(math::Rounding::Down).call(vec![plain(x)]))
            }
            ("round" | "trunc", [x, digits], [Kind::Numeric | Kind::Int, Kind::Int]) => {
                let rounding =
                    if self.name == "round" { math::Rounding::Nearest } else { math::Rounding::Truncate };
                let shape = types::exact_shape(x.ty()).ok_or_else(|| self.no_such_function())?;
                Ok(math::round_numeric(rounding)
                    .call(vec![x.clone().cast(&types::decimal(shape.0, shape.1))?, plain(digits)]))
            }
            ("round" | "trunc" | "sign" | "signum", [x], [Kind::Int | Kind::Float]) => {
                let name = if self.name == "signum" { "sign" } else { self.name };
                Ok(math::whole(name).ok_or_else(|| self.no_such_function())?.call(vec![double(x)?]))
            }
            ("mod", [a, b], _) => super::operators::arithmetic(Op::Rem, a.clone(), b.clone(), self.schema),
            ("power" | "pow", [a, b], [ka, kb]) if is_double(*ka, *kb) => Ok(math::of_two("power")
                .ok_or_else(|| self.no_such_function())?
                .call(vec![double(a)?, double(b)?])),
            ("atan2", [a, b], [ka, kb]) if ka.is_number() && kb.is_number() => Ok(math::of_two("atan2")
                .ok_or_else(|| self.no_such_function())?
                .call(vec![double(a)?, double(b)?])),
            ("gcd" | "lcm", [a, b], [Kind::Int, Kind::Int]) => {
                let args = vec![a.clone().cast(&DataType::Int64)?, b.clone().cast(&DataType::Int64)?];
                self.datafusion(self.name, args)
            }
            ("sqrt" | "exp" | "ln" | "log" | "log10" | "power" | "pow", _, kinds)
                if kinds.contains(&Kind::Numeric) =>
            {
                Err(type_error(format!(
                    "not supported: {}() of numeric: cast to double precision",
                    self.name
                )))
            }
            (name, [x], [kind]) if kind.is_number() => {
                let name = if name == "ceiling" { "ceil" } else { name };
                Ok(math::of_one(name).ok_or_else(|| self.no_such_function())?.call(vec![double(x)?]))
            }
            _ => Err(self.no_such_function()),
        }
    }

    fn moment(self) -> Result<Expr> {
        let mut operands =
            self.operands.iter().cloned().map(Operand::comparable).collect::<Result<Vec<_>>>()?;
        match (self.name, operands.as_mut_slice()) {
            ("extract" | "date_part", [field, x]) => {
                let text = field.open_text().map(str::to_owned).ok_or_else(|| self.no_such_function())?;
                let part =
                    moment::Field::parse(&text).filter(|part| part.is_of(x.kind)).ok_or_else(|| {
                        type_error(format!(
                            "unit `{}` is not supported for type {}",
                            text.to_lowercase(),
                            x.type_name()
                        ))
                    })?;
                let value = moment::extract(part).call(vec![x.expr.clone()]);
                if self.name == "extract" {
                    return Ok(value);
                }
                Ok(crate::functions::cast::Cast::of(value, &DataType::Float64))
            }
            ("date_trunc", [unit, x]) => {
                // PostgreSQL takes a date as an instant.
                let ty = if x.kind == Kind::Timestamp { TIMESTAMP } else { timestamptz() };
                if !matches!(x.kind, Kind::Date | Kind::Timestamp | Kind::TimestampTz) {
                    return Err(self.no_such_function());
                }
                if let Some(text) = unit.open_text()
                    && moment::Field::parse(text).is_none()
                {
                    return Err(type_error(format!("unit `{text}` is not known to date_trunc")));
                }
                let args = vec![unit.clone().cast(&DataType::Utf8View)?, x.clone().cast(&ty)?];
                Ok(moment::date_trunc().call(args))
            }
            ("date_bin", [stride, x, origin]) => {
                let ty = types::common_type(x.ty(), &TIMESTAMP).ok_or_else(|| self.no_such_function())?;
                let args =
                    vec![stride.clone().cast(&INTERVAL)?, x.clone().cast(&ty)?, origin.clone().cast(&ty)?];
                Ok(moment::date_bin().call(args))
            }
            ("timezone", [zone, x]) => {
                let ty = if x.kind == Kind::Timestamp { TIMESTAMP } else { timestamptz() };
                if !matches!(zone.kind, Kind::Text) {
                    return Err(self.no_such_function());
                }
                Ok(zone::timezone().call(vec![zone.clone().cast(&DataType::Utf8View)?, x.clone().cast(&ty)?]))
            }
            ("to_timestamp", [x]) if x.kind.is_number() => {
                Ok(moment::to_timestamp().call(vec![x.clone().cast(&DataType::Float64)?]))
            }
            ("make_date", [y, m, d]) => {
                let int = |operand: &Operand| operand.clone().cast(&DataType::Int32);
                Ok(moment::make_date().call(vec![int(y)?, int(m)?, int(d)?]))
            }
            _ => Err(self.no_such_function()),
        }
    }
}

/// Whether a power is computed in double precision: with a float, or of integers.
fn is_double(a: Kind, b: Kind) -> bool {
    a == Kind::Float || b == Kind::Float || (a == Kind::Int && b == Kind::Int)
}

fn accepts(letter: char, operand: &Operand) -> bool {
    operand.is_open()
        || match letter {
            't' => operand.kind == Kind::Text,
            'i' => operand.kind == Kind::Int,
            'f' => operand.kind.is_number(),
            'b' => operand.kind == Kind::Bytes,
            _ => operand.kind == Kind::Bool,
        }
}

fn letter_type(letter: char) -> DataType {
    match letter {
        't' => DataType::Utf8View,
        'i' => DataType::Int64,
        'f' => DataType::Float64,
        'b' => DataType::Binary,
        _ => DataType::Boolean,
    }
}

/// `-x`.
pub(super) fn negative(operand: Operand) -> Result<Expr> {
    let operand = operand.comparable()?;
    if operand.kind.is_number() || operand.kind == Kind::Interval {
        return Ok(negate().call(vec![operand.expr]));
    }
    if operand.is_open() {
        return Ok(negate().call(vec![operand.cast(&DataType::Float64)?]));
    }
    Err(type_error(format!("operator does not exist: - {}", operand.type_name())))
}

/// A condition of CASE, WHERE and the like.
pub(super) fn condition(expr: Expr, of: &str, schema: &DFSchema) -> Result<Expr> {
    boolean(Operand::new(expr, schema)?, &of)
}
