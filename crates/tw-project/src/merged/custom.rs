//! Columns of the class `custom`: an expression folds what changes say, in their order.

use super::value::Value;
use crate::Error;
use crate::plan::{FoldPlan, compile_fold};
use crate::rows::builder::ColumnBuilder;
use crate::rows::slot::Slot;
use crate::types;
use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::DataType;
use std::sync::OnceLock;
use tw_merge::Stamp;
use tw_merge::class::{Fold, MergeExpr};
use tw_types::ColumnType;

/// The longest text or bytes that an expression gives: a value that grows with each change has an end.
pub(crate) const VALUE_BYTES_MAX: usize = 65_536;

/// Checks the expression of a column.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check(ty: &ColumnType, expr: &MergeExpr) -> Result<(), Error> {
    compile_fold(ty, expr).map(drop)
}

/// The fold of a column. A change for which the expression has no value (overflow, division by zero, more than [`VALUE_BYTES_MAX`]) changes nothing, in
/// every region.
#[derive(Debug)]
pub(super) struct ExprFold {
    expr: MergeExpr,
    ty: ColumnType,
    arrow: DataType,
    /// Planned when it is needed first: most readers of changes fold none.
    plan: OnceLock<Option<FoldPlan>>,
}

impl ExprFold {
    pub(super) fn new(ty: &ColumnType, expr: &MergeExpr) -> Self {
        Self { expr: expr.clone(), ty: ty.clone(), arrow: types::arrow_type(ty), plan: OnceLock::new() }
    }

    fn plan(&self) -> Option<&FoldPlan> {
        let compile = || {
            // It was checked when the stream was declared.
            let plan = compile_fold(&self.ty, &self.expr);
            plan.inspect_err(|error| tracing::error!(expr = %self.expr, %error, "a column of the class `custom` keeps its value"))
                .ok()
        };
        self.plan.get_or_init(compile).as_ref()
    }

    fn array(&self, value: Option<&Value>) -> ArrayRef {
        let mut builder = ColumnBuilder::new(&self.arrow);
        builder.push(&value.map_or(Slot::Null, Value::slot));
        builder.finish()
    }
}

impl Fold<Value> for ExprFold {
    fn expr(&self) -> &MergeExpr {
        &self.expr
    }

    fn fold(&self, before: Option<&Value>, input: &Value, _: &Stamp) -> Option<Value> {
        let folded = self.plan().and_then(|plan| plan.run(self.array(before), self.array(Some(input))).ok());
        match folded.map(|slot| Value::of(&slot)) {
            Some(Value::Null) => None,
            Some(value) if value.bytes() <= VALUE_BYTES_MAX => Some(value),
            _ => before.cloned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use tw_types::{Hlc, Origin};

    fn column(ty: &str, expr: &str) -> (ColumnType, MergeExpr) {
        (ty.parse().unwrap(), MergeExpr::new(expr).unwrap())
    }

    fn refused(ty: &str, expr: &str) -> String {
        let (ty, expr) = column(ty, expr);
        check(&ty, &expr).map_or_else(|error| error.to_string(), |()| "taken".to_owned())
    }

    /// The values after each input.
    fn folded(ty: &str, expr: &str, inputs: &[Value]) -> Vec<Option<Value>> {
        let (ty, expr) = column(ty, expr);
        check(&ty, &expr).unwrap();
        let fold = ExprFold::new(&ty, &expr);
        let stamp = Stamp { hlc: Hlc::ZERO, origin: Origin::default() };
        let mut value = None;
        let step = |input| {
            value = fold.fold(value.as_ref(), input, &stamp);
            value.clone()
        };
        inputs.iter().map(step).collect()
    }

    fn texts(texts: &[&str]) -> Vec<Value> {
        texts.iter().map(|text| Value::Text((*text).to_owned())).collect()
    }

    #[test]
    fn an_expression_sees_the_value_before_and_what_the_change_says() {
        let all = folded("integer", "greatest(coalesce(old, 0), 10) * 2 + new", &[1, 2].map(Value::Int));
        assert_eq!(all, [Some(Value::Int(21)), Some(Value::Int(44))]);
        let states = "CASE WHEN old = 'cancelled' THEN old ELSE new END";
        let all = folded("text", states, &texts(&["paid", "cancelled", "shipped"]));
        assert_eq!(all.last().unwrap(), &Some(Value::Text("cancelled".into())));
        let latest = "(CASE WHEN (new ->> 'v')::integer > coalesce((old ->> 'v')::integer, 0) THEN new::text ELSE old::text END)::json";
        let all = folded("json", latest, &texts(&[r#"{"v":2}"#, r#"{"v":1}"#, r#"{"v":3}"#]));
        assert_eq!(all.last().unwrap(), &Some(Value::Text(r#"{"v":3}"#.into())));
        let all = folded("numeric(9,2)", "(coalesce(old, new) + new) / 2", &[]);
        assert!(all.is_empty());
    }

    #[test]
    fn an_input_without_a_value_changes_nothing_and_null_is_one() {
        let inputs = [Value::Int(6), Value::Int(0), Value::Int(2)];
        let all = folded("smallint", "coalesce(old, 24) / new", &inputs);
        assert_eq!(all, [4, 4, 2].map(|value| Some(Value::Int(value))));
        let all =
            folded("smallint", "coalesce(old, 1) * new", &[Value::Int(30_000), Value::Int(2), Value::Null]);
        assert_eq!(all, [Some(Value::Int(30_000)), Some(Value::Int(30_000)), None]);
        let long = texts(&[&"x".repeat(40_000), &"y".repeat(40_000), "z"]);
        let lengths: Vec<usize> = folded("text", "coalesce(old, '') || new", &long)
            .into_iter()
            .map(|value| value.map_or(0, |value| value.bytes()))
            .collect();
        assert_eq!(lengths, [40_000, 40_000, 40_001]);
    }

    #[test]
    fn an_expression_that_cannot_fold_is_refused_with_the_reason() {
        let all: Vec<String> = [
            ("integer", "old +"),
            ("integer", "old, new"),
            ("integer", "older"),
            ("integer", "now()"),
            ("integer", "random()"),
            ("integer", "sum(new)"),
            ("integer", "(SELECT max(a) FROM s)"),
            ("integer", "old || new"),
            ("integer", "new::double precision::integer"),
            ("integer", "row_number() OVER ()"),
            ("text", "new::integer"),
            ("json", "new || 'x'"),
            ("integer", "new) FROM changes --"),
            ("integer", "$1"),
        ]
        .iter()
        .map(|(ty, expr)| refused(ty, expr))
        .collect();
        expect![[r#"
            expected an expression, found the end
            expected the end of the expression, found `,` (line 1, column 4)
            there is no column `older`: did you mean `old`?
            the expression of `custom` cannot be used: its value would be another one each time: use `old` and `new` alone
            the expression of `custom` cannot be used: its value would be another one each time: use `old` and `new` alone
            the expression of `custom` cannot be used: it is one expression over `old` and `new`, without aggregates, windows, subqueries and tables
            there is no column `a`: there are `old`, `new`
            operator does not exist: integer || integer: add a cast
            the expression of `custom` cannot be used: it computes with floating point numbers, whose last digit differs between machines: use numeric
            the expression of `custom` cannot be used: it is one expression over `old` and `new`, without aggregates, windows, subqueries and tables
            the expression of `custom` cannot be used: it gives integer, and the column is text: cast it, as in (…)::text
            the expression of `custom` cannot be used: it gives text, and the column is json: cast it, as in (…)::json
            expected the end of the expression, found `)` (line 1, column 4)
            there is no parameter `$1`: none has a value (line 1, column 8)"#]].assert_eq(&all.join("\n"));
    }
}
