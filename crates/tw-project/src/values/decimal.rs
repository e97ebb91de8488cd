//! Exact decimal numbers: reading, printing, rounding and the arithmetic that Arrow's kernels do not have.
//!
//! A number is an unscaled 256-bit integer and a scale: `12.50` is (1250, 2). Nothing here rounds unless its name
//! says so, and whatever does not fit is an error.

use datafusion::arrow::datatypes::i256;
use num_bigint::{BigInt, Sign};

/// The most digits that a number can have.
pub(crate) const DIGITS_MAX: u8 = 76;
/// Digits after the point of a `numeric` without bounds.
pub(crate) const UNBOUND_SCALE: i8 = 38;

/// Why a text is not a decimal number that can be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// It is not a number at all.
    Syntax,
    /// It is NaN or infinite, which PostgreSQL's numeric allows and Arrow's decimals do not.
    NotFinite,
    /// It has more digits after the point than there is room for.
    Fraction,
    /// It has more digits before the point than there is room for.
    Integer,
}

/// A decimal number as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Written<'a> {
    negative: bool,
    integer: &'a [u8],
    fraction: &'a [u8],
    exponent: i32,
}

fn split(text: &[u8]) -> Result<Written<'_>, Unfit> {
    let (negative, rest) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, text),
    };
    let (mantissa, exponent) = match rest.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (rest.get(..at).unwrap_or_default(), rest.get(at + 1..)),
        None => (rest, None),
    };
    let (integer, fraction) = match mantissa.iter().position(|byte| *byte == b'.') {
        Some(at) => (mantissa.get(..at).unwrap_or_default(), mantissa.get(at + 1..).unwrap_or_default()),
        None => (mantissa, [].as_slice()),
    };
    let all_digits = |part: &[u8]| part.iter().all(u8::is_ascii_digit);
    if (integer.is_empty() && fraction.is_empty()) || !all_digits(integer) || !all_digits(fraction) {
        let word = std::str::from_utf8(rest).unwrap_or_default();
        let not_finite = ["nan", "inf", "infinity"].iter().any(|special| word.eq_ignore_ascii_case(special));
        return Err(if not_finite { Unfit::NotFinite } else { Unfit::Syntax });
    }
    let exponent = match exponent {
        None => 0,
        Some(digits) => {
            let text = std::str::from_utf8(digits).map_err(|_| Unfit::Syntax)?;
            if !digits.last().is_some_and(u8::is_ascii_digit) {
                return Err(Unfit::Syntax);
            }
            // An exponent that does not fit in 32 bits is far out of every range.
            text.parse::<i32>().map_err(|_| Unfit::Integer)?
        }
    };
    Ok(Written { negative, integer, fraction, exponent })
}

/// Reads an optionally signed decimal number with an optional exponent as an unscaled integer of `scale`; exact.
pub(crate) fn parse(text: &[u8], precision: u8, scale: i8) -> Result<i256, Unfit> {
    let written = split(text)?;
    let whole = written.integer.len();
    let count = whole + written.fraction.len();
    let digit = |index: usize| {
        let byte =
            if index < whole { written.integer.get(index) } else { written.fraction.get(index - whole) };
        byte.map_or(0, |byte| i128::from(byte - b'0'))
    };
    let first = (0..count).find(|index| digit(*index) != 0);
    let Some(first) = first else { return Ok(i256::ZERO) };
    let last = (0..count).rev().find(|index| digit(*index) != 0).unwrap_or(first);
    // The unscaled result is the digits first..=last times ten to the power of `shift`.
    let after_point = i64::from(written.exponent) - (last as i64 - whole as i64 + 1);
    let shift = after_point + i64::from(scale);
    if shift < 0 {
        return Err(Unfit::Fraction);
    }
    if (last - first + 1) as i64 + shift > i64::from(precision) {
        return Err(Unfit::Integer);
    }
    let mut value = i256::ZERO;
    let mut part: i128 = 0;
    let mut part_digits = 0u32;
    for index in first..=last {
        part = part * 10 + digit(index);
        part_digits += 1;
        if part_digits == 37 {
            value = push_part(value, part, part_digits)?;
            (part, part_digits) = (0, 0);
        }
    }
    value = push_part(value, part, part_digits)?;
    value = value.checked_mul(pow10(shift as u32)).ok_or(Unfit::Integer)?;
    Ok(if written.negative { value.wrapping_neg() } else { value })
}

fn push_part(value: i256, part: i128, digits: u32) -> Result<i256, Unfit> {
    if value == i256::ZERO {
        return Ok(i256::from_i128(part));
    }
    value
        .checked_mul(pow10(digits))
        .and_then(|value| value.checked_add(i256::from_i128(part)))
        .ok_or(Unfit::Integer)
}

/// Reads a number and rounds it to `scale` digits after the point, half away from zero, as a cast to numeric does.
pub(crate) fn parse_rounded(text: &[u8], precision: u8, scale: i8) -> Result<i256, Unfit> {
    match parse(text, precision, scale) {
        Err(Unfit::Fraction) => {}
        exact_or_unfit => return exact_or_unfit,
    }
    let written = split(text)?;
    let digits: Vec<u8> = written.integer.iter().chain(written.fraction).copied().collect();
    let number = BigInt::parse_bytes(&digits, 10).ok_or(Unfit::Syntax)?;
    let shift = i64::from(written.exponent) - written.fraction.len() as i64 + i64::from(scale);
    // Only a negative shift loses digits; beyond the number's own length nothing remains.
    let drop = u32::try_from(-shift).unwrap_or(u32::MAX);
    if drop as usize > digits.len() + 1 {
        return Ok(i256::ZERO);
    }
    let rounded = div_rounded(&number, &BigInt::from(10u8).pow(drop));
    let value = from_big(&rounded).filter(|value| fits(*value, precision)).ok_or(Unfit::Integer)?;
    Ok(if written.negative { value.wrapping_neg() } else { value })
}

/// Ten to the power of `exponent`, which is at most [`DIGITS_MAX`].
pub(crate) fn pow10(exponent: u32) -> i256 {
    match 10i128.checked_pow(exponent) {
        Some(power) => i256::from_i128(power),
        None => i256::from_i128(10).wrapping_pow(exponent),
    }
}

/// Whether a number has at most `precision` digits.
pub(crate) fn fits(value: i256, precision: u8) -> bool {
    let limit = pow10(u32::from(precision.min(DIGITS_MAX)));
    value < limit && value > limit.wrapping_neg()
}

/// The quotient, rounded half away from zero. `divisor` is positive.
pub(crate) fn div_rounded(number: &BigInt, divisor: &BigInt) -> BigInt {
    let half = divisor / 2u8;
    let odd = divisor % 2u8 != BigInt::ZERO;
    let rest = number % divisor;
    let quotient = number / divisor;
    let magnitude = BigInt::from(rest.magnitude().clone());
    let up = if odd { magnitude > half } else { magnitude >= half };
    match (up, number.sign()) {
        (true, Sign::Minus) => quotient - 1u8,
        (true, _) => quotient + 1u8,
        (false, _) => quotient,
    }
}

/// As an integer of any size.
pub(crate) fn to_big(value: i256) -> BigInt {
    match value.to_i128() {
        Some(small) => BigInt::from(small),
        None => BigInt::from_signed_bytes_le(&value.to_le_bytes()),
    }
}

/// Back from an integer of any size; None if it does not fit in 256 bits.
pub(crate) fn from_big(value: &BigInt) -> Option<i256> {
    let bytes = value.to_signed_bytes_le();
    if bytes.len() > 32 {
        return None;
    }
    let fill = if value.sign() == Sign::Minus { 0xff } else { 0 };
    let mut out = [fill; 32];
    out.iter_mut().zip(bytes).for_each(|(out, byte)| *out = byte);
    Some(i256::from_le_bytes(out))
}

/// The same number with another scale, rounded half away from zero; None if it has more than `precision` digits.
pub(crate) fn rescale(value: i256, from: i8, to: i8, precision: u8) -> Option<i256> {
    let scaled = match i32::from(to) - i32::from(from) {
        0 => value,
        up @ 1.. => {
            if value == i256::ZERO {
                return Some(value);
            }
            (up as u32 <= u32::from(DIGITS_MAX)).then(|| value.checked_mul(pow10(up as u32)))??
        }
        down => {
            let down = down.unsigned_abs();
            if down > u32::from(DIGITS_MAX) {
                return Some(i256::ZERO);
            }
            div_rounded_256(value, pow10(down))
        }
    };
    fits(scaled, precision).then_some(scaled)
}

fn div_rounded_256(value: i256, divisor: i256) -> i256 {
    let quotient = value.wrapping_div(divisor);
    let rest = value.wrapping_rem(divisor).wrapping_abs();
    // The divisor is a power of ten: even, or one.
    if rest != i256::ZERO && rest >= divisor.wrapping_div(i256::from_i128(2)) {
        let step = if value.is_negative() { i256::MINUS_ONE } else { i256::ONE };
        return quotient.wrapping_add(step);
    }
    quotient
}

/// Prints a number with all digits of its scale; `trim` leaves zeros at the end of the fraction out.
pub(crate) fn print(value: i256, scale: i8, trim: bool, out: &mut String) {
    if value.is_negative() {
        out.push('-');
    }
    let digits = match value.to_i128() {
        Some(small) => small.unsigned_abs().to_string(),
        None => value.wrapping_abs().to_string(),
    };
    if scale <= 0 {
        out.push_str(&digits);
        if value != i256::ZERO {
            out.extend(std::iter::repeat_n('0', usize::from(scale.unsigned_abs())));
        }
        return;
    }
    let scale = scale as usize;
    let padded = format!("{digits:0>width$}", width = scale + 1);
    let (integer, fraction) = padded.split_at(padded.len() - scale);
    let fraction = if trim { fraction.trim_end_matches('0') } else { fraction };
    out.push_str(integer);
    if !fraction.is_empty() {
        out.push('.');
        out.push_str(fraction);
    }
}

/// How many digits after the point a number needs: its scale without zeros at the end.
fn needed_scale(value: i256, scale: i8) -> i8 {
    let ten = i256::from_i128(10);
    let (mut value, mut scale) = (value, scale);
    while scale > 0 && value.wrapping_rem(ten) == i256::ZERO {
        value = value.wrapping_div(ten);
        scale -= 1;
    }
    scale
}

/// The first digit in base 10,000 and its weight (the power of 10,000), as PostgreSQL's numeric keeps numbers.
fn leading(value: i256, scale: i8) -> (i32, i32) {
    if value == i256::ZERO {
        return (0, 0);
    }
    let digits = value.wrapping_abs().to_string();
    // The position of the first decimal digit: 0 for units, −1 for tenths.
    let first = digits.len() as i32 - 1 - i32::from(scale);
    let weight = first.div_euclid(4);
    let within = (first.rem_euclid(4) + 1) as usize;
    let head: i32 = digits.get(..within.min(digits.len())).and_then(|head| head.parse().ok()).unwrap_or(0);
    let missing = within.saturating_sub(digits.len()) as u32;
    (weight, head * 10i32.pow(missing))
}

/// Why there is no quotient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoQuotient {
    /// Division by zero.
    Zero,
    /// It does not fit in 38 digits before and 38 after the point.
    Range,
}

/// The quotient as PostgreSQL's numeric division gives it, at scale [`UNBOUND_SCALE`].
///
/// The number of digits is chosen as in PostgreSQL's `select_div_scale`: at least 16 significant ones, and at least as many after the
/// point as either operand has. Scales are those that are displayed; `trim` says that zeros at the end were not kept.
pub(crate) fn divide(a: (i256, i8, bool), b: (i256, i8, bool)) -> Result<i256, NoQuotient> {
    if b.0 == i256::ZERO {
        return Err(NoQuotient::Zero);
    }
    let shown = |(value, scale, trim): (i256, i8, bool)| {
        i32::from(if trim { needed_scale(value, scale) } else { scale }).max(0)
    };
    let ((weight_a, first_a), (weight_b, first_b)) = (leading(a.0, a.1), leading(b.0, b.1));
    let quotient_weight = weight_a - weight_b - i32::from(first_a <= first_b);
    let scale = (16 - quotient_weight * 4).max(shown(a)).max(shown(b)).clamp(0, 1000);
    if a.0 == i256::ZERO {
        return Ok(i256::ZERO);
    }
    // a / 10^sa ÷ b / 10^sb, times 10^scale.
    let shift = scale - i32::from(a.1) + i32::from(b.1);
    let (mut number, mut divisor) = (to_big(a.0), to_big(b.0));
    if divisor.sign() == Sign::Minus {
        (number, divisor) = (-number, -divisor);
    }
    let ten = BigInt::from(10u8);
    if shift >= 0 {
        number *= ten.pow(shift as u32);
    } else {
        divisor *= ten.pow(shift.unsigned_abs());
    }
    let quotient = div_rounded(&number, &divisor);
    let extra = i32::from(UNBOUND_SCALE) - scale;
    let scaled = if extra >= 0 {
        quotient * ten.pow(extra as u32)
    } else {
        let power = ten.pow(extra.unsigned_abs());
        if &quotient % &power != BigInt::ZERO {
            return Err(NoQuotient::Range);
        }
        quotient / power
    };
    from_big(&scaled).filter(|value| fits(*value, DIGITS_MAX)).ok_or(NoQuotient::Range)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(value: i256, scale: i8) -> String {
        let mut out = String::new();
        print(value, scale, false, &mut out);
        out
    }

    #[test]
    fn numbers_read_back_what_they_print() {
        for (text, scale, printed) in [
            ("12.5", 2, "12.50"),
            ("-0.05", 2, "-0.05"),
            ("0", 0, "0"),
            ("1e3", 2, "1000.00"),
            ("1200e-2", 0, "12"),
            (
                "99999999999999999999999999999999999999.99",
                38,
                "99999999999999999999999999999999999999.99000000000000000000000000000000000000",
            ),
            (".5", 1, "0.5"),
        ] {
            assert_eq!(shown(parse(text.as_bytes(), 76, scale).unwrap(), scale), printed);
        }
    }

    #[test]
    fn what_does_not_fit_says_which_side_is_too_long() {
        assert_eq!(parse(b"1.234", 12, 2), Err(Unfit::Fraction));
        assert_eq!(parse(b"12345678901.2", 12, 2), Err(Unfit::Integer));
        assert_eq!(parse(b"1e999999999999", 12, 2), Err(Unfit::Integer));
        assert_eq!(parse(b"NaN", 12, 2), Err(Unfit::NotFinite));
        assert_eq!(parse(b"-Infinity", 12, 2), Err(Unfit::NotFinite));
        for text in ["", "-", ".", "1.2.3", "1e", "1e+", "0x1", " 1"] {
            assert_eq!(parse(text.as_bytes(), 12, 2), Err(Unfit::Syntax), "{text:?}");
        }
    }

    #[test]
    fn rounding_goes_half_away_from_zero() {
        for (text, expected) in
            [("1.005", "1.01"), ("-1.005", "-1.01"), ("1.0049", "1.00"), ("1e-900", "0.00")]
        {
            assert_eq!(shown(parse_rounded(text.as_bytes(), 12, 2).unwrap(), 2), expected);
        }
    }

    #[test]
    fn quotients_have_the_digits_that_postgresql_gives() {
        // What PostgreSQL 15 prints for these, without zeros at the end.
        for (a, b, expected) in [
            ("1", "3", "0.33333333333333333333"),
            ("100", "3", "33.3333333333333333"),
            ("2", "1", "2"),
            ("10000", "7", "1428.5714285714285714"),
            ("1", "10000", "0.0001"),
            ("-1", "3", "-0.33333333333333333333"),
            ("123456789012", "7", "17636684144.57142857"),
            ("0.0001", "3", "0.000033333333333333333333"),
        ] {
            let scale = |text: &str| text.split_once('.').map_or(0, |(_, fraction)| fraction.len() as i8);
            let read = |text: &str| (parse(text.as_bytes(), 76, scale(text)).unwrap(), scale(text), false);
            let mut out = String::new();
            print(divide(read(a), read(b)).unwrap(), UNBOUND_SCALE, true, &mut out);
            assert_eq!(out, expected, "{a} / {b}");
        }
        assert_eq!(divide((i256::ONE, 0, false), (i256::ZERO, 0, false)), Err(NoQuotient::Zero));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[-+0-9.eE]{0,90}", precision in 1u8..=76, scale in 0i8..=76) {
            if let Ok(value) = parse(text.as_bytes(), precision, scale) {
                prop_assert!(fits(value, precision));
                prop_assert_eq!(parse(shown(value, scale).as_bytes(), 76, scale), Ok(value));
            }
            let _ = parse_rounded(text.as_bytes(), precision, scale);
        }

        #[test]
        fn big_integers_convert_both_ways(low in any::<u128>(), high in any::<i128>()) {
            let value = i256::from_parts(low, high);
            prop_assert_eq!(from_big(&to_big(value)), Some(value));
        }
    }
}
