//! Numbers as JavaScript has them.

use std::io::Write;

/// The whole numbers below are the safe integers of JavaScript.
pub(super) const UNSAFE: u64 = 1 << 53;

/// A number of JSON, as JavaScript takes it: an integer, or a double that is not a safe one.
pub(super) enum Number {
    Natural(u64),
    Negative(i64),
    Double(f64),
}

impl Number {
    pub(super) fn parse(literal: &str) -> Option<Self> {
        // Most are short, and whole.
        if literal.len() < 16 {
            if let Ok(natural) = literal.parse() {
                return Some(Self::Natural(natural));
            }
            if let Ok(negative) = literal.parse::<i64>() {
                return Some(Self::from(negative as f64));
            }
        }
        literal.parse::<f64>().ok().map(Self::from)
    }
}

impl From<f64> for Number {
    fn from(number: f64) -> Self {
        if number.fract() != 0.0 || number.is_nan() || number.abs() >= UNSAFE as f64 {
            Self::Double(number)
        } else if number >= 0.0 {
            Self::Natural(number as u64)
        } else {
            Self::Negative(number as i64)
        }
    }
}

/// Writes a double as `JSON.stringify` does: the shortest digits that are read as the same number, without an exponent between 1e-7
/// and 1e21.
pub(super) fn write_double(out: &mut Vec<u8>, number: f64) {
    match Number::from(number) {
        Number::Natural(number) => out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
        Number::Negative(number) => out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
        Number::Double(number) if !number.is_finite() => out.extend_from_slice(b"null"),
        Number::Double(number) => write_digits(out, number),
    }
}

fn write_digits(out: &mut Vec<u8>, number: f64) {
    const INFALLIBLE: &str = "a double has at most 17 digits";
    // One digit, a point, the others, and the exponent.
    let mut scientific = [0; 40];
    let mut rest = &mut scientific[..];
    write!(rest, "{:e}", number.abs()).expect(INFALLIBLE);
    let unused = rest.len();
    let length = scientific.len() - unused;
    let split = scientific[..length].iter().position(|byte| *byte == b'e').expect(INFALLIBLE);
    let exponent = std::str::from_utf8(&scientific[split + 1..length]).ok().and_then(|digits| digits.parse().ok());
    let exponent: i32 = exponent.expect(INFALLIBLE);
    if split > 1 {
        scientific.copy_within(2..split, 1);
    }
    let digits = &scientific[..if split > 1 { split - 1 } else { 1 }];
    if number < 0.0 {
        out.push(b'-');
    }
    let zeros = |out: &mut Vec<u8>, count: usize| out.resize(out.len() + count, b'0');
    match exponent {
        0..21 => {
            let whole = exponent as usize + 1;
            let (before, after) = digits.split_at(whole.min(digits.len()));
            out.extend_from_slice(before);
            zeros(out, whole - before.len());
            if !after.is_empty() {
                out.push(b'.');
                out.extend_from_slice(after);
            }
        }
        -6..0 => {
            out.extend_from_slice(b"0.");
            zeros(out, exponent.unsigned_abs() as usize - 1);
            out.extend_from_slice(digits);
        }
        _ => {
            out.push(digits[0]);
            if digits.len() > 1 {
                out.push(b'.');
                out.extend_from_slice(&digits[1..]);
            }
            out.extend_from_slice(if exponent < 0 { b"e" } else { b"e+" });
            out.extend_from_slice(itoa::Buffer::new().format(exponent).as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(number: f64) -> String {
        let mut out = Vec::new();
        write_double(&mut out, number);
        String::from_utf8(out).unwrap()
    }

    /// As Node.js prints them.
    #[test]
    fn doubles_are_written_as_javascript_does() {
        for (number, expected) in [
            (0.0, "0"),
            (-0.0, "0"),
            (1.5, "1.5"),
            (-1.0, "-1"),
            (0.1, "0.1"),
            (123.456, "123.456"),
            (0.000_001, "0.000001"),
            (0.000_001_23, "0.00000123"),
            (0.000_000_1, "1e-7"),
            (-1.23e-7, "-1.23e-7"),
            (9_007_199_254_740_991.0, "9007199254740991"),
            (9_007_199_254_740_992.0, "9007199254740992"),
            (7_766_279_631_452_241_920.0, "7766279631452242000"),
            (1e20, "100000000000000000000"),
            (1.234_567_89e20, "123456789000000000000"),
            (1e21, "1e+21"),
            (-1.5e300, "-1.5e+300"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (5e-324, "5e-324"),
            (f64::NAN, "null"),
            (f64::NEG_INFINITY, "null"),
        ] {
            assert_eq!(text(number), expected);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_the_same_number(number in any::<f64>()) {
            prop_assert_eq!(text(number).parse::<f64>().unwrap(), number);
        }
    }
}
