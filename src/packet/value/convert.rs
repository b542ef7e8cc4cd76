//! Conversions from other types, and from and to `serde_json::Value`.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};

use super::{Map, Number, Value, json};

macro_rules! from {
    ($($ty:ty: $value:ident => $make:expr;)*) => {
        $(impl From<$ty> for Value {
            fn from($value: $ty) -> Self {
                $make
            }
        })*
    };
}

from! {
    (): _unit => Self::Null;
    bool: value => Self::Bool(value);
    Number: number => Self::Number(number);
    serde_json::Number: number => Self::Number(number.into());
    &str: text => Self::String(text.into());
    String: text => Self::String(text.into());
    Box<str>: text => Self::String(text);
    Cow<'_, str>: text => Self::String(text.into());
    char: character => Self::String((*character.encode_utf8(&mut [0; 4])).into());
    Bytes: data => Self::Binary(Box::new(data));
    BytesMut: data => data.freeze().into();
    Map: entries => Self::Object(entries);
}

macro_rules! from_numbers {
    ($($ty:ty)*) => {
        $(impl From<$ty> for Value {
            fn from(number: $ty) -> Self {
                Self::Number(number.into())
            }
        })*
    };
}

from_numbers!(u8 u16 u32 u64 usize i8 i16 i32 i64 isize);

impl From<f64> for Value {
    /// Infinite numbers and NaN become null, as in JSON.
    fn from(float: f64) -> Self {
        Number::from_f64(float).map_or(Self::Null, Self::Number)
    }
}

impl From<f32> for Value {
    /// Infinite numbers and NaN become null, as in JSON.
    fn from(float: f32) -> Self {
        f64::from(float).into()
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, T::into)
    }
}

impl<T: Into<Self>> From<Vec<T>> for Value {
    /// Converts to an array. A vector of `u8` becomes an array of numbers; use [`Bytes`] for binary.
    fn from(values: Vec<T>) -> Self {
        values.into_iter().collect()
    }
}

impl<T: Into<Self>, const N: usize> From<[T; N]> for Value {
    fn from(values: [T; N]) -> Self {
        values.into_iter().collect()
    }
}

impl<T: Into<Self> + Clone> From<&[T]> for Value {
    fn from(values: &[T]) -> Self {
        values.iter().cloned().collect()
    }
}

impl<T: Into<Self>> FromIterator<T> for Value {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        Self::Array(values.into_iter().map(T::into).collect())
    }
}

impl<K: Into<Box<str>>, V: Into<Self>> FromIterator<(K, V)> for Value {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        Self::Object(entries.into_iter().collect())
    }
}

impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Self {
        json::to_value(value)
    }
}

/// Error returned when a [`Value`] that contains binary is converted to `serde_json::Value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the value contains binary, which JSON cannot represent")]
pub struct BinaryInJson(());

impl TryFrom<Value> for serde_json::Value {
    type Error = BinaryInJson;

    /// # Errors
    ///
    /// Returns an error if the value contains binary. (`serde_json::to_value` converts binary to an array of numbers.)
    fn try_from(value: Value) -> Result<Self, BinaryInJson> {
        json::from_value(value).ok_or(BinaryInJson(()))
    }
}

macro_rules! compare {
    ($($ty:ty: |$value:ident, $other:ident| $equal:expr;)*) => {
        $(
            impl PartialEq<$ty> for Value {
                fn eq(&self, $other: &$ty) -> bool {
                    let $value = self;
                    $equal
                }
            }

            impl PartialEq<Value> for $ty {
                fn eq(&self, value: &Value) -> bool {
                    value == self
                }
            }
        )*
    };
}

compare! {
    str: |value, other| value.as_str() == Some(other);
    &str: |value, other| value.as_str() == Some(*other);
    String: |value, other| value.as_str() == Some(other.as_str());
    bool: |value, other| value.as_bool() == Some(*other);
    u8: |value, other| value.as_u64() == Some((*other).into());
    u16: |value, other| value.as_u64() == Some((*other).into());
    u32: |value, other| value.as_u64() == Some((*other).into());
    u64: |value, other| value.as_u64() == Some(*other);
    usize: |value, other| value.as_u64() == Some(*other as u64);
    i8: |value, other| value.as_i64() == Some((*other).into());
    i16: |value, other| value.as_i64() == Some((*other).into());
    i32: |value, other| value.as_i64() == Some((*other).into());
    i64: |value, other| value.as_i64() == Some(*other);
    isize: |value, other| value.as_i64() == Some(*other as i64);
    f32: |value, other| value.as_f64() == Some((*other).into());
    f64: |value, other| value.as_f64() == Some(*other);
    Bytes: |value, other| value.as_binary() == Some(other);
}
