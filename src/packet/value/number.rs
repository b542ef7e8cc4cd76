use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::LazyLock,
};

use serde::{Serialize, Serializer};

use super::super::is_valid_json;

/// A number: a 64-bit integer or a finite double.
///
/// Unlike `serde_json::Number`, it does not depend on the features of `serde_json` that other crates enable.
///
/// ```
/// use tower_socketio::value::Number;
///
/// assert_eq!(Number::from(-1).as_i64(), Some(-1));
/// assert_eq!(Number::from_f64(0.5).map(|number| number.to_string()), Some("0.5".to_owned()));
/// assert_eq!(Number::from_f64(f64::NAN), None);
/// ```
#[derive(Clone, Copy, PartialEq)]
pub struct Number(Repr);

#[derive(Clone, Copy, PartialEq)]
enum Repr {
    Natural(u64),
    Negative(i64),
    /// Finite.
    Float(f64),
}

impl Number {
    /// Converts a double. Returns `None` if it is infinite or NaN.
    #[must_use]
    pub fn from_f64(float: f64) -> Option<Self> {
        float.is_finite().then_some(Self(Repr::Float(float)))
    }

    /// Parses a JSON number. Returns the nearest number that can be represented.
    pub(in super::super) fn from_json(text: &str) -> Option<Self> {
        if !text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) || !is_valid_json(text) {
            return None;
        }
        // Negative zero is not an integer.
        let integer = Some(text).filter(|text| *text != "-0");
        let natural = integer.and_then(|text| text.parse::<u64>().ok()).map(Self::from);
        let integer = natural.or_else(|| integer?.parse::<i64>().ok().map(Self::from));
        integer.or_else(|| Self::from_f64(text.parse::<f64>().ok()?.clamp(f64::MIN, f64::MAX)))
    }

    /// Returns `true` if this is an integer between `i64::MIN` and `i64::MAX`.
    #[must_use]
    pub fn is_i64(&self) -> bool {
        self.as_i64().is_some()
    }

    /// Returns `true` if this is an integer between 0 and `u64::MAX`.
    #[must_use]
    pub fn is_u64(&self) -> bool {
        self.as_u64().is_some()
    }

    /// Returns `true` if this was not written as an integer.
    #[must_use]
    pub fn is_f64(&self) -> bool {
        matches!(self.0, Repr::Float(_))
    }

    /// Returns the integer if this is one between `i64::MIN` and `i64::MAX`.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match self.0 {
            Repr::Natural(number) => number.try_into().ok(),
            Repr::Negative(number) => Some(number),
            Repr::Float(_) => None,
        }
    }

    /// Returns the integer if this is one between 0 and `u64::MAX`.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match self.0 {
            Repr::Natural(number) => Some(number),
            Repr::Negative(_) | Repr::Float(_) => None,
        }
    }

    /// Returns the nearest double. Always `Some`, as with the default features of `serde_json`.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        Some(match self.0 {
            Repr::Natural(number) => number as f64,
            Repr::Negative(number) => number as f64,
            Repr::Float(number) => number,
        })
    }
}

macro_rules! from_integers {
    ($($natural:ty)*; $($signed:ty)*) => {
        $(impl From<$natural> for Number {
            fn from(number: $natural) -> Self {
                Self(Repr::Natural(number as u64))
            }
        })*
        $(impl From<$signed> for Number {
            fn from(number: $signed) -> Self {
                let number = number as i64;
                Self(u64::try_from(number).map_or(Repr::Negative(number), Repr::Natural))
            }
        })*
    };
}

from_integers!(u8 u16 u32 u64 usize; i8 i16 i32 i64 isize);

impl From<serde_json::Number> for Number {
    /// A number out of the range of a double becomes the nearest finite one.
    fn from(number: serde_json::Number) -> Self {
        if let Some(number) = number.as_u64() {
            return number.into();
        }
        if let Some(number) = number.as_i64() {
            return number.into();
        }
        let float = number.as_f64().and_then(Self::from_f64);
        // With `arbitrary_precision` it may be any number.
        float.or_else(|| Self::from_json(&number.to_string())).unwrap_or(Self(Repr::Natural(0)))
    }
}

impl From<Number> for serde_json::Number {
    fn from(number: Number) -> Self {
        match number.0 {
            Repr::Natural(number) => number.into(),
            Repr::Negative(number) => number.into(),
            Repr::Float(number) => Self::from_f64(number).expect("a number is finite"),
        }
    }
}

impl Eq for Number {}

impl Hash for Number {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self.0 {
            Repr::Natural(number) => number.hash(state),
            Repr::Negative(number) => number.hash(state),
            // 0.0 and -0.0 are equal.
            Repr::Float(number) => (number + 0.0).to_bits().hash(state),
        }
    }
}

impl fmt::Display for Number {
    /// Formats the number as JSON.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Repr::Natural(number) => number.fmt(f),
            Repr::Negative(number) => number.fmt(f),
            Repr::Float(number) => f.write_str(&serde_json::to_string(&number).map_err(|_| fmt::Error)?),
        }
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Number({self})")
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Repr::Natural(number) => serializer.serialize_u64(number),
            Repr::Negative(number) => serializer.serialize_i64(number),
            Repr::Float(number) => serializer.serialize_f64(number),
        }
    }
}

/// With `arbitrary_precision`, `serde_json` deserializes a number as a map with this key if any value is requested. The key is
/// private to `serde_json`, but all of its deserializers depend on it.
pub(in super::super) const NUMBER_TOKEN: &str = "$serde_json::private::Number";

/// Returns `true` if a crate has enabled `serde_json/arbitrary_precision`.
pub(in super::super) fn has_arbitrary_precision() -> bool {
    static FOUND: LazyLock<bool> = LazyLock::new(|| serde_json::from_str::<serde_json::Number>("1e999").is_ok());
    *FOUND
}
