//! The names of a result's columns, and what names within a SELECT refer to.
//!
//! DataFusion wants all columns to have different names, and it looks for output names in HAVING and within the expressions of
//! ORDER BY, where PostgreSQL means the columns of the tables. So columns without an alias get a name that nobody can write,
//! ORDER BY an output name becomes ORDER BY its position, and a table's column that is hidden by an output name is qualified.

use super::SyntaxError;
use super::lower::is_number;
use datafusion::sql::sqlparser::ast::{
    DataType, Expr, Ident, OrderByKind, Query, Select, SelectItem, SetExpr, TableFactor, Value, VisitMut,
    VisitorMut,
};
use std::ops::ControlFlow;

/// Gives each column of the result a name of its own and returns the names that it should have; None where a `*` decides
/// them, or a set operation.
///
/// # Errors
/// A name that could mean two things here, in a SELECT from several tables.
pub(super) fn name_columns(query: &mut Query) -> Result<Option<Vec<String>>, SyntaxError> {
    let SetExpr::Select(select) = query.body.as_mut() else { return Ok(None) };
    let mut names = Vec::with_capacity(select.projection.len());
    let mut hiding = Vec::new();
    let mut wildcard = false;
    for (index, item) in select.projection.iter_mut().enumerate() {
        match item {
            SelectItem::UnnamedExpr(expr) => {
                names.push(column_name(expr));
                let alias = Ident::with_quote('"', format!("column {index}"));
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
            }
            SelectItem::ExprWithAlias { expr, alias } => {
                let name = normal(alias);
                if names.contains(&name) {
                    *alias = Ident::with_quote('"', format!("column {index}"));
                } else if !matches!(expr, Expr::Identifier(ident) if normal(ident) == name) {
                    hiding.push(name.clone());
                }
                names.push(name);
            }
            _ => wildcard = true,
        }
    }
    let mut qualify = Qualify { hiding, table: only_table(select) };
    if let Some(having) = &mut select.having {
        qualify.apply(having)?;
    }
    if let Some(order_by) = &mut query.order_by
        && let OrderByKind::Expressions(exprs) = &mut order_by.kind
    {
        for order in exprs {
            match &order.expr {
                Expr::Identifier(ident) if !wildcard => {
                    if let Some(position) = names.iter().position(|name| *name == normal(ident)) {
                        let number = (position + 1).to_string();
                        order.expr = Expr::Value(Value::Number(number, false).with_span(ident.span));
                    }
                }
                Expr::Identifier(_) | Expr::Value(_) => {}
                _ => qualify.apply(&mut order.expr)?,
            }
        }
    }
    Ok((!wildcard).then_some(names))
}

/// The name of the table from which a SELECT reads, if it is only one.
fn only_table(select: &Select) -> Option<Vec<Ident>> {
    let [table] = select.from.as_slice() else { return None };
    if !table.joins.is_empty() {
        return None;
    }
    match &table.relation {
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
            Some(vec![alias.name.clone()])
        }
        TableFactor::Table { name, .. } => name.0.iter().map(|part| part.as_ident().cloned()).collect(),
        _ => None,
    }
}

/// Qualifies names that would otherwise be taken for output names.
struct Qualify {
    hiding: Vec<String>,
    table: Option<Vec<Ident>>,
}

impl Qualify {
    fn apply(&mut self, expr: &mut Expr) -> Result<(), SyntaxError> {
        match VisitMut::visit(expr, self) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(error) => Err(error),
        }
    }
}

impl VisitorMut for Qualify {
    type Break = SyntaxError;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SyntaxError> {
        if let Expr::Identifier(ident) = expr
            && self.hiding.contains(&normal(ident))
        {
            let Some(table) = &self.table else {
                let message =
                    format!("`{}` names a column of the result here, too: write table.{0}", ident.value);
                return ControlFlow::Break(SyntaxError::new(message, ident.span));
            };
            *expr = Expr::CompoundIdentifier(table.iter().chain([&*ident]).cloned().collect());
        }
        ControlFlow::Continue(())
    }
}

/// The name that an identifier means: as it is when quoted, else in small letters.
pub(crate) fn normal(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// The name that PostgreSQL gives a column without an alias.
pub(super) fn column_name(expr: &Expr) -> String {
    const UNNAMED: &str = "?column?";
    match expr {
        Expr::Identifier(ident) => normal(ident),
        Expr::CompoundIdentifier(idents) => idents.last().map_or_else(|| UNNAMED.to_owned(), normal),
        Expr::Function(function) => {
            function.name.0.last().and_then(|part| part.as_ident()).map_or_else(|| UNNAMED.to_owned(), normal)
        }
        expr if is_number(expr) => UNNAMED.to_owned(),
        Expr::Cast { expr, data_type, .. } => match column_name(expr) {
            name if name == UNNAMED => type_name(data_type),
            name => name,
        },
        Expr::Nested(inner) => column_name(inner),
        Expr::Case { else_result, .. } => match else_result.as_ref().map(|result| column_name(result)) {
            Some(name) if name != UNNAMED => name,
            _ => "case".to_owned(),
        },
        Expr::Extract { .. } => "extract".to_owned(),
        Expr::Substring { .. } => "substring".to_owned(),
        Expr::Position { .. } => "position".to_owned(),
        Expr::Overlay { .. } => "overlay".to_owned(),
        Expr::Trim { .. } => "btrim".to_owned(),
        Expr::Ceil { .. } => "ceil".to_owned(),
        Expr::Floor { .. } => "floor".to_owned(),
        Expr::Exists { .. } => "exists".to_owned(),
        _ => UNNAMED.to_owned(),
    }
}

/// The name of a column that is a cast of something without a name.
fn type_name(ty: &DataType) -> String {
    match ty {
        DataType::Integer(_) | DataType::Int(_) | DataType::Int4(_) => "int4".into(),
        DataType::BigInt(_) | DataType::Int8(_) => "int8".into(),
        DataType::SmallInt(_) | DataType::Int2(_) => "int2".into(),
        DataType::Boolean | DataType::Bool => "bool".into(),
        DataType::Real | DataType::Float4 => "float4".into(),
        DataType::DoublePrecision | DataType::Float8 => "float8".into(),
        DataType::Interval { .. } => "interval".into(),
        other => {
            let name = other.to_string().to_lowercase();
            let base = name.split(['(', ' ']).next().unwrap_or_default().to_owned();
            if name.ends_with("with time zone") { format!("{base}tz") } else { base }
        }
    }
}

/// A name in quotes, which means exactly this name in a statement.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
