//! A function as it is called in a statement, before it is known what it is for these arguments.

use super::{Dialect, functions};
use crate::sql::CAST_OPERAND;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::common::{Column, DFSchema, DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use std::sync::Arc;

/// Stands for all functions of a name, until the rewriter has chosen one.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Named {
    name: String,
    signature: Signature,
}

impl Named {
    /// The functions called `name`.
    pub(super) fn udf(name: &str) -> Arc<ScalarUDF> {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(Self { name: name.to_owned(), signature }))
    }
}

impl ScalarUDFImpl for Named {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Err(DataFusionError::Internal(format!("the type of {}() depends on its arguments", self.name)))
    }

    /// The type of the function that would be chosen.
    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let name = |index: usize| format!("argument {index}");
        let fields: Vec<Field> = args
            .arg_fields
            .iter()
            .enumerate()
            .map(|(index, field)| field.as_ref().clone().with_name(name(index)))
            .collect();
        let schema = DFSchema::try_from(Schema::new(fields))?;
        let arguments = (0..args.arg_fields.len())
            .map(|index| match args.scalar_arguments.get(index).copied().flatten() {
                Some(value) => Expr::Literal(value.clone(), None),
                // A number of digits that is still a cast of its text: the type is found anew once it is a number.
                None if index == 1 && matches!(self.name.as_str(), "round" | "trunc") => {
                    Expr::Literal(ScalarValue::Int32(Some(0)), None)
                }
                None => Expr::Column(Column::from_name(name(index))),
            })
            .collect();
        let chosen = functions::plan(&Dialect { now_us: Some(0) }, &self.name, arguments, &schema)?;
        let (_, field) = chosen.to_field(&schema)?;
        // What is kept as text without being text is text once it is cast, to whoever asks before the cast is made.
        let is_cast = self.name == CAST_OPERAND;
        Ok(if is_cast { Arc::new(Field::new("", field.data_type().clone(), true)) } else { field })
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(DataFusionError::Internal(format!("{}() has not been resolved", self.name)))
    }
}
