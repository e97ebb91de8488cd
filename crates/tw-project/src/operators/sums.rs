//! `sum` and `avg`.

use super::accumulator::{Accumulator, Rows, resized};
use super::exact_sum::ExactSum;
use crate::functions::function::value_error;
use crate::state::Malformed;
use crate::state::value::{put_decimal, take_decimal};
use crate::state::varint::{put_signed, take_signed};
use crate::types::{self, NUMERIC, exact_shape};
use crate::values::decimal::{self, DIGITS_MAX};
use datafusion::arrow::array::types::{
    Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
};
use datafusion::arrow::array::{ArrayRef, AsArray, Float32Array, Float64Array, Int64Array, PrimitiveArray};
use datafusion::arrow::datatypes::{DataType, i256};
use datafusion::common::Result;
use std::sync::Arc;

/// What a sum is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Wanted {
    Sum,
    Average,
}

/// The type of `sum(x)`, or None if there is no sum of this type.
pub(crate) fn sum_type(ty: &DataType) -> Option<DataType> {
    Some(match ty {
        DataType::Int16 | DataType::Int32 => DataType::Int64,
        DataType::Int64 => DataType::Decimal128(38, 0),
        // 10^19 values at most, so nothing can be lost below 20 digits.
        DataType::Decimal128(precision, scale) if *precision <= 19 => DataType::Decimal128(38, *scale),
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => {
            DataType::Decimal256(DIGITS_MAX, *scale)
        }
        DataType::Float32 | DataType::Float64 => ty.clone(),
        _ => return None,
    })
}

/// The type of `avg(x)`, or None if there is no average of this type.
pub(crate) fn avg_type(ty: &DataType) -> Option<DataType> {
    Some(match ty {
        DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => NUMERIC,
        DataType::Float32 | DataType::Float64 => DataType::Float64,
        _ => return None,
    })
}

/// A sum of integers, or of unscaled decimals, that is far from overflow.
trait Total: Copy + Default + Send + Sync {
    fn add(&mut self, value: Self, taken_back: bool);
    fn of(value: i128) -> Self;
    fn wide(self) -> i256;
    fn from_wide(value: i256) -> Option<Self>;
}

impl Total for i128 {
    #[inline]
    fn add(&mut self, value: Self, taken_back: bool) {
        *self = if taken_back { self.wrapping_sub(value) } else { self.wrapping_add(value) };
    }
    fn of(value: i128) -> Self {
        value
    }
    fn wide(self) -> i256 {
        i256::from_i128(self)
    }
    fn from_wide(value: i256) -> Option<Self> {
        value.to_i128()
    }
}

impl Total for i256 {
    #[inline]
    fn add(&mut self, value: Self, taken_back: bool) {
        *self = if taken_back { self.wrapping_sub(value) } else { self.wrapping_add(value) };
    }
    fn of(value: i128) -> Self {
        i256::from_i128(value)
    }
    fn wide(self) -> i256 {
        self
    }
    fn from_wide(value: i256) -> Option<Self> {
        Some(value)
    }
}

/// `sum` and `avg` of integers and decimals: a total and the number of values.
///
/// Totals of up to 19 digits per value are kept in 128 bits, of up to 38 in 256: neither can overflow before 10^19 rows.
#[derive(Debug)]
struct ExactTotals<T> {
    totals: Vec<(T, i64)>,
    input: DataType,
    wanted: Wanted,
}

/// Decimals of up to 76 digits: the upper and the lower 38 digits are summed apart, so that neither total can overflow.
#[derive(Debug)]
struct WideTotals {
    totals: Vec<(i256, i256, i64)>,
    scale: i8,
    wanted: Wanted,
}

/// `sum` and `avg` of floats.
#[derive(Debug)]
struct FloatTotals {
    totals: Vec<(ExactSum, i64)>,
    single: bool,
    wanted: Wanted,
}

/// An accumulator for the sum or the average of values of a type; None if there is none.
pub(crate) fn totals(ty: &DataType, wanted: Wanted) -> Option<Box<dyn Accumulator>> {
    Some(match ty {
        DataType::Int16 | DataType::Int32 | DataType::Int64 => {
            Box::new(ExactTotals::<i128> { totals: Vec::new(), input: ty.clone(), wanted })
        }
        DataType::Decimal128(precision, _) if *precision <= 19 => {
            Box::new(ExactTotals::<i128> { totals: Vec::new(), input: ty.clone(), wanted })
        }
        DataType::Decimal128(..) => {
            Box::new(ExactTotals::<i256> { totals: Vec::new(), input: ty.clone(), wanted })
        }
        DataType::Decimal256(_, scale) => Box::new(WideTotals { totals: Vec::new(), scale: *scale, wanted }),
        DataType::Float32 | DataType::Float64 => {
            Box::new(FloatTotals { totals: Vec::new(), single: *ty == DataType::Float32, wanted })
        }
        _ => return None,
    })
}

impl<T: Total> ExactTotals<T> {
    #[inline]
    fn take_in(&mut self, rows: &Rows<'_>, value: impl Fn(usize) -> T) {
        rows.for_each(|row, slot, taken_back| {
            if let Some((total, count)) = self.totals.get_mut(slot) {
                total.add(value(row), taken_back);
                *count += if taken_back { -1 } else { 1 };
            }
        });
    }
}

impl<T: Total> Accumulator for ExactTotals<T> {
    fn resize(&mut self, slots: usize) {
        resized(&mut self.totals, slots, (T::default(), 0));
    }

    fn clear(&mut self, slot: usize) {
        if let Some(total) = self.totals.get_mut(slot) {
            *total = (T::default(), 0);
        }
    }

    fn update(&mut self, rows: &Rows<'_>) {
        let Some(values) = rows.values else { return };
        match values.data_type() {
            DataType::Int16 => {
                let values = values.as_primitive::<Int16Type>();
                self.take_in(rows, |row| T::of(i128::from(values.value(row))));
            }
            DataType::Int32 => {
                let values = values.as_primitive::<Int32Type>();
                self.take_in(rows, |row| T::of(i128::from(values.value(row))));
            }
            DataType::Int64 => {
                let values = values.as_primitive::<Int64Type>();
                self.take_in(rows, |row| T::of(i128::from(values.value(row))));
            }
            _ => {
                let values = values.as_primitive::<Decimal128Type>();
                self.take_in(rows, |row| T::of(values.value(row)));
            }
        }
    }

    fn put(&self, slot: usize, out: &mut Vec<u8>) {
        let (total, count) = self.totals.get(slot).copied().unwrap_or_default();
        put_signed(out, count);
        put_decimal(total.wide(), out);
    }

    fn merge(&mut self, slot: usize, input: &mut &[u8]) -> Result<(), Malformed> {
        let count = take_signed(input)?;
        let total = T::from_wide(take_decimal(input)?).ok_or(Malformed("a sum is out of range"))?;
        if let Some((known, rows)) = self.totals.get_mut(slot) {
            known.add(total, false);
            *rows = rows.saturating_add(count);
        }
        Ok(())
    }

    fn results(&self, count: usize) -> Result<ArrayRef> {
        let totals = self.totals.iter().take(count).map(|(total, rows)| (total.wide(), *rows));
        let scale = exact_shape(&self.input).map_or(0, |(_, scale)| scale);
        match (self.wanted, sum_type(&self.input)) {
            (Wanted::Average, _) => averages(totals, scale),
            (Wanted::Sum, Some(DataType::Int64)) => {
                let sums = totals.map(|(total, rows)| {
                    let sum = total.to_i128().and_then(|total| i64::try_from(total).ok());
                    (rows != 0).then(|| sum.ok_or_else(|| value_error("bigint out of range"))).transpose()
                });
                Ok(Arc::new(sums.collect::<Result<Int64Array>>()?))
            }
            (Wanted::Sum, ty) => sums(totals, &ty.unwrap_or(NUMERIC)),
        }
    }

    fn bytes(&self) -> usize {
        self.totals.capacity() * size_of::<(T, i64)>()
    }
}

/// Sums as decimals.
fn sums(totals: impl Iterator<Item = (i256, i64)>, ty: &DataType) -> Result<ArrayRef> {
    let precision = exact_shape(ty).map_or(DIGITS_MAX, |(precision, _)| precision);
    let checked = totals.map(|(total, rows)| {
        let in_range = || if decimal::fits(total, precision) { Ok(total) } else { Err(out_of_range()) };
        (rows != 0).then(in_range).transpose()
    });
    Ok(match ty {
        DataType::Decimal128(..) => {
            let narrow = checked.map(|sum| Ok(sum?.map(i256::as_i128)));
            Arc::new(narrow.collect::<Result<PrimitiveArray<Decimal128Type>>>()?.with_data_type(ty.clone()))
        }
        _ => {
            Arc::new(checked.collect::<Result<PrimitiveArray<Decimal256Type>>>()?.with_data_type(ty.clone()))
        }
    })
}

fn out_of_range() -> datafusion::common::DataFusionError {
    value_error(format!("numeric out of range: a sum has more than {DIGITS_MAX} digits"))
}

/// Averages, with the digits that PostgreSQL gives a quotient.
fn averages(totals: impl Iterator<Item = (i256, i64)>, scale: i8) -> Result<ArrayRef> {
    let trim = scale == decimal::UNBOUND_SCALE;
    let averages = totals.map(|(total, rows)| {
        if rows == 0 {
            return Ok(None);
        }
        let rows = i256::from_i128(i128::from(rows));
        decimal::divide((total, scale, trim), (rows, 0, false)).map(Some).map_err(|_| out_of_range())
    });
    Ok(Arc::new(averages.collect::<Result<PrimitiveArray<Decimal256Type>>>()?.with_data_type(NUMERIC)))
}

impl Accumulator for WideTotals {
    fn resize(&mut self, slots: usize) {
        resized(&mut self.totals, slots, (i256::ZERO, i256::ZERO, 0));
    }

    fn clear(&mut self, slot: usize) {
        if let Some(total) = self.totals.get_mut(slot) {
            *total = (i256::ZERO, i256::ZERO, 0);
        }
    }

    fn update(&mut self, rows: &Rows<'_>) {
        let Some(values) = rows.values else { return };
        let values = values.as_primitive::<Decimal256Type>();
        let half = decimal::pow10(38);
        rows.for_each(|row, slot, taken_back| {
            if let Some((upper, lower, count)) = self.totals.get_mut(slot) {
                let value = values.value(row);
                upper.add(value.wrapping_div(half), taken_back);
                lower.add(value.wrapping_rem(half), taken_back);
                *count += if taken_back { -1 } else { 1 };
            }
        });
    }

    fn put(&self, slot: usize, out: &mut Vec<u8>) {
        let (upper, lower, count) = self.totals.get(slot).copied().unwrap_or_default();
        put_signed(out, count);
        put_decimal(upper, out);
        put_decimal(lower, out);
    }

    fn merge(&mut self, slot: usize, input: &mut &[u8]) -> Result<(), Malformed> {
        let (count, upper, lower) = (take_signed(input)?, take_decimal(input)?, take_decimal(input)?);
        if let Some(known) = self.totals.get_mut(slot) {
            known.0.add(upper, false);
            known.1.add(lower, false);
            known.2 = known.2.saturating_add(count);
        }
        Ok(())
    }

    fn results(&self, count: usize) -> Result<ArrayRef> {
        let half = decimal::pow10(38);
        let totals = self
            .totals
            .iter()
            .take(count)
            .map(|(upper, lower, rows)| {
                let total = upper.checked_mul(half).and_then(|upper| upper.checked_add(*lower));
                total.map(|total| (total, *rows)).ok_or_else(out_of_range)
            })
            .collect::<Result<Vec<_>>>()?;
        match self.wanted {
            Wanted::Sum => sums(totals.into_iter(), &DataType::Decimal256(DIGITS_MAX, self.scale)),
            Wanted::Average => averages(totals.into_iter(), self.scale),
        }
    }

    fn bytes(&self) -> usize {
        self.totals.capacity() * size_of::<(i256, i256, i64)>()
    }
}

impl Accumulator for FloatTotals {
    fn resize(&mut self, slots: usize) {
        resized(&mut self.totals, slots, (ExactSum::default(), 0));
    }

    fn clear(&mut self, slot: usize) {
        if let Some(total) = self.totals.get_mut(slot) {
            *total = (ExactSum::default(), 0);
        }
    }

    fn update(&mut self, rows: &Rows<'_>) {
        let Some(values) = rows.values else { return };
        let totals = &mut self.totals;
        let mut add = |slot: usize, value: f64, taken_back: bool| {
            if let Some((total, count)) = totals.get_mut(slot) {
                total.add(value, taken_back);
                *count += if taken_back { -1 } else { 1 };
            }
        };
        if self.single {
            let values = values.as_primitive::<Float32Type>();
            rows.for_each(|row, slot, taken_back| add(slot, f64::from(values.value(row)), taken_back));
        } else {
            let values = values.as_primitive::<Float64Type>();
            rows.for_each(|row, slot, taken_back| add(slot, values.value(row), taken_back));
        }
    }

    fn put(&self, slot: usize, out: &mut Vec<u8>) {
        if let Some((total, count)) = self.totals.get(slot) {
            put_signed(out, *count);
            total.put(out);
        }
    }

    fn merge(&mut self, slot: usize, input: &mut &[u8]) -> Result<(), Malformed> {
        let (count, total) = (take_signed(input)?, ExactSum::take(input)?);
        if let Some((known, rows)) = self.totals.get_mut(slot) {
            known.merge(&total);
            *rows = rows.saturating_add(count);
        }
        Ok(())
    }

    fn results(&self, count: usize) -> Result<ArrayRef> {
        let value = |(total, rows): &(ExactSum, i64)| {
            if *rows == 0 {
                return Ok(None);
            }
            let sum = total.value();
            if sum.is_infinite() && !total.has_infinity() {
                return Err(value_error("value out of range: overflow"));
            }
            Ok(Some(if self.wanted == Wanted::Average { sum / *rows as f64 } else { sum } + 0.0))
        };
        let totals = self.totals.iter().take(count);
        if self.single && self.wanted == Wanted::Sum {
            let narrow = totals.map(|total| {
                let Some(sum) = value(total)? else { return Ok(None) };
                let narrow = sum as f32;
                if narrow.is_infinite() && sum.is_finite() {
                    Err(value_error("value out of range: overflow"))
                } else {
                    Ok(Some(narrow))
                }
            });
            return Ok(Arc::new(narrow.collect::<Result<Float32Array>>()?));
        }
        Ok(Arc::new(totals.map(value).collect::<Result<Float64Array>>()?))
    }

    fn bytes(&self) -> usize {
        self.totals.capacity() * size_of::<(ExactSum, i64)>()
    }
}

/// What PostgreSQL calls a type, for errors about aggregates.
pub(crate) fn no_aggregate(name: &str, ty: &DataType) -> datafusion::common::DataFusionError {
    crate::functions::function::type_error(format!(
        "function {name}({}) does not exist: add a cast",
        types::name(ty)
    ))
}
