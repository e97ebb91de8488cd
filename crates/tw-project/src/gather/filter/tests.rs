//! Conditions that cross to other nodes mean what they meant.

use super::*;
use datafusion::arrow::array::{ArrayRef, BooleanArray, Float64Array, Int32Array};
use datafusion::arrow::datatypes::Field;
use datafusion::common::ToDFSchema;
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{col, lit};
use datafusion::physical_expr::create_physical_expr;
use proptest::prelude::*;

fn batch() -> RecordBatch {
    let numbers = Int32Array::from(vec![Some(1), None, Some(3), Some(-2), Some(3)]);
    let texts =
        StringViewArray::from(vec![Some("a"), Some(""), None, Some("a text that is longer"), Some("b")]);
    let truths = BooleanArray::from(vec![Some(true), Some(false), None, Some(true), None]);
    let floats = Float64Array::from(vec![0.5, f64::NAN, -0.0, 1.0, 2.0]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("n", Arc::new(numbers)),
        ("t", Arc::new(texts)),
        ("b", Arc::new(truths)),
        ("f", Arc::new(floats)),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
        .unwrap()
}

/// What an expression keeps, as it is computed where it was written.
fn expected(expr: &Expr, batch: &RecordBatch) -> RecordBatch {
    let schema = batch.schema().to_dfschema().unwrap();
    let expr =
        create_physical_expr(expr, &schema, &ExecutionProps::new(), &PhysicalPlanningContext::default())
            .unwrap();
    keep(&expr, batch.clone()).unwrap()
}

/// What it keeps after it has crossed.
fn crossed(expr: &Expr, batch: &RecordBatch) -> Option<RecordBatch> {
    let filter = Filter::of(expr, &batch.schema())?;
    let json = serde_json::to_string(&filter).unwrap();
    let filter: Filter = serde_json::from_str(&json).unwrap();
    let condition = filter.expression(&batch.schema()).unwrap();
    Some(compact(&keep(&condition, batch.clone()).unwrap()).unwrap())
}

/// What it keeps after it has crossed as a condition of FILTER.
fn crossed_physical(expr: &Expr, batch: &RecordBatch) -> Option<RecordBatch> {
    let schema = batch.schema().to_dfschema().unwrap();
    let (props, context) = (ExecutionProps::new(), PhysicalPlanningContext::default());
    let expr = create_physical_expr(expr, &schema, &props, &context).unwrap();
    let filter = Filter::of_physical(expr.as_ref(), &batch.schema())?;
    Some(compact(&keep(&filter.expression(&batch.schema()).unwrap(), batch.clone()).unwrap()).unwrap())
}

fn text(text: &str) -> Expr {
    lit(ScalarValue::Utf8View(Some(text.into())))
}

fn condition() -> impl Strategy<Value = Expr> {
    let number = (0usize..6, -3i32..4).prop_map(|(op, value)| {
        let ops = [Operator::Eq, Operator::NotEq, Operator::Lt, Operator::LtEq, Operator::Gt, Operator::GtEq];
        Expr::BinaryExpr(BinaryExpr::new(Box::new(col("n")), ops[op], Box::new(lit(value))))
    });
    let leaf = prop_oneof![
        number,
        "[ab]?".prop_map(|value| text(&value).lt_eq(col("t"))),
        Just(col("b")),
        Just(col("t").is_null()),
        Just(col("n").is_not_null()),
        proptest::collection::vec(-3i32..4, 1..4).prop_flat_map(|values| {
            let values: Vec<Expr> = values.into_iter().map(lit).collect();
            any::<bool>().prop_map(move |negated| col("n").in_list(values.clone(), negated))
        }),
    ];
    leaf.prop_recursive(4, 30, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| a.and(b)),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| a.or(b)),
            inner.prop_map(|a| !a),
        ]
    })
}

proptest! {
    #[test]
    fn prj_1_a_condition_keeps_the_same_rows_on_another_node(expr in condition()) {
        let batch = batch();
        prop_assert_eq!(crossed(&expr, &batch).unwrap(), expected(&expr, &batch));
        prop_assert_eq!(crossed_physical(&expr, &batch).unwrap(), expected(&expr, &batch));
    }

    #[test]
    fn any_values_are_taken_or_refused(column in 0usize..6, bytes: Vec<u8>) {
        if let Ok(condition) = Filter::Eq(column, Hex(bytes)).expression(&batch().schema()) {
            let _ = keep(&condition, batch());
        }
    }
}

#[test]
fn what_has_another_form_stays_here() {
    let of = |expr: Expr| {
        let crosses = crossed(&expr, &batch()).is_some();
        assert_eq!(crossed_physical(&expr, &batch()).is_some(), crosses, "{expr}");
        crosses
    };
    assert!(of(col("n").gt(lit(1i32))));
    // Of another type, of an order of its own, computed, and without a value.
    assert!(!of(col("n").gt(lit(1i64))));
    assert!(!of(col("f").eq(lit(1.0f64))));
    assert!(!of((col("n") + lit(1i32)).eq(lit(1i32))));
    assert!(!of(col("n").eq(lit(ScalarValue::Int32(None)))));
    assert!(!of(col("n").eq(col("n"))));
    assert!(!of(col("n").in_list((0..2_000).map(|n: i32| lit(n)).collect(), false)));
    assert!(!of((0..100).fold(col("b"), |expr, _| !expr)));
}

#[test]
fn long_lists_make_no_deep_expressions() {
    let any = Filter::Any((0..100_000).map(|_| Filter::Null(0)).collect());
    let kept = keep(&any.expression(&batch().schema()).unwrap(), batch()).unwrap();
    assert_eq!(kept.num_rows(), 1);
}

#[test]
fn batches_are_filtered_as_they_are_without_columns() {
    let none = batch().project(&[]).unwrap();
    assert_eq!(compact(&none).unwrap().num_rows(), 5);
}

#[test]
fn fields_with_a_meaning_of_their_own_stay_here() {
    let json = Field::new("j", DataType::Utf8View, true)
        .with_metadata([("tradewind.type".to_owned(), "json".to_owned())].into());
    assert_eq!(Filter::of(&col("j").eq(text("{}")), &Schema::new(vec![json])), None);
}
