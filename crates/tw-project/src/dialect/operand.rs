//! Operands: expressions with what is known of their types, and how they are brought to others.

use crate::functions::cast::{Cast, cast};
use crate::functions::function::type_error;
use crate::types::{self, INTERVAL, Kind};
use crate::values::scan;
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::DFSchema;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{Expr, ExprSchemable};

/// An expression and what is known of its type.
#[derive(Debug, Clone)]
pub(super) struct Operand {
    pub(super) expr: Expr,
    pub(super) field: FieldRef,
    pub(super) kind: Kind,
}

impl Operand {
    pub(super) fn new(expr: Expr, schema: &DFSchema) -> Result<Self> {
        let field = expr.to_field(schema)?.1;
        let kind = Kind::of_field(&field);
        Ok(Self { expr, field, kind })
    }

    pub(super) fn ty(&self) -> &DataType {
        self.field.data_type()
    }

    /// The text of a literal whose type is still open: `'2026-01-31'` is a date where a date is wanted.
    pub(super) fn open_text(&self) -> Option<&str> {
        match &self.expr {
            Expr::Literal(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)), None) => {
                Some(text)
            }
            _ => None,
        }
    }

    /// Whether its type is still open: a text literal, or NULL.
    pub(super) fn is_open(&self) -> bool {
        self.kind == Kind::Unknown || self.open_text().is_some()
    }

    /// The name of its type.
    pub(super) fn type_name(&self) -> String {
        if self.is_open() { "unknown".into() } else { types::field_name(&self.field) }
    }

    /// As a value of another type, as by an implicit cast.
    pub(super) fn cast(self, to: &DataType) -> Result<Expr> {
        if self.kind == Kind::SpanText && *to == INTERVAL {
            return cast(self.expr, &DataType::Utf8View, to);
        }
        let from = self.ty().clone();
        cast(self.expr, &from, to)
    }

    /// As text, as by `::text`; what is kept as text without being text becomes text.
    pub(super) fn into_text(self) -> Result<Expr> {
        if self.kind.is_textual() {
            let text = Cast::of(self.expr, &DataType::Utf8View);
            return Ok(if types::is_padded(&self.field) { without_padding(text) } else { text });
        }
        self.cast(&DataType::Utf8View)
    }

    /// As text, as PostgreSQL prints it: a `char(n)` with the spaces at its end.
    pub(super) fn into_printed(self) -> Result<Expr> {
        if types::is_padded(&self.field) {
            return Ok(Cast::of(self.expr, &DataType::Utf8View));
        }
        self.into_text()
    }

    /// The value for an operator or a function that compares it: intervals that are kept as text are read.
    pub(super) fn comparable(self) -> Result<Self> {
        if self.kind != Kind::SpanText {
            return Ok(self);
        }
        let expr = cast(self.expr, &DataType::Utf8View, &INTERVAL)?;
        let field = std::sync::Arc::new(datafusion::arrow::datatypes::Field::new("interval", INTERVAL, true));
        Ok(Self { expr, field, kind: Kind::Interval })
    }

    /// A literal of open type as a value of the type that `other` has.
    pub(super) fn adopt(self, other: &Self) -> Result<Expr> {
        let Some(text) = self.open_text() else { return self.cast(other.ty()) };
        match other.kind {
            Kind::Uuid => {
                let uuid = scan::normal_uuid(text).ok_or_else(|| {
                    type_error(format!("invalid input syntax for type uuid: `{}`", scan::shorten(text)))
                })?;
                Ok(Expr::Literal(ScalarValue::Utf8View(Some(uuid)), None))
            }
            // The literal is a numeric of its own scale; it is not rounded to that of the column.
            Kind::Numeric => {
                let scale = text.split_once('.').map_or(0, |(_, fraction)| fraction.trim_end().len());
                let ty = match i8::try_from(scale) {
                    Ok(scale) if scale <= 38 && !text.contains(['e', 'E']) => types::decimal(38, scale),
                    _ => types::NUMERIC,
                };
                let text = DataType::Utf8View;
                cast(self.expr.clone(), &text, &ty).or_else(|_| cast(self.expr, &text, &types::NUMERIC))
            }
            Kind::Unknown => self.cast(&DataType::Utf8View),
            Kind::Opaque if !types::takes_literal(&other.field, text) => Err(type_error(format!(
                "not supported: comparing a value of type {} with a literal, which can be written in more than one way: cast the value to text, and compare its text form",
                other.type_name()
            ))),
            _ => self.cast(other.ty()),
        }
    }
}

/// The text of a `char(n)`: without the spaces at its end, as PostgreSQL casts it.
fn without_padding(text: Expr) -> Expr {
    datafusion::functions::string::rtrim()
        .call(vec![text, Expr::Literal(ScalarValue::Utf8View(Some(" ".to_owned())), None)])
}
