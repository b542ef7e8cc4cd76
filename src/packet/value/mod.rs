//! [`Value`]: an argument of any type.

mod convert;
mod depth;
mod index;
mod json;
mod map;
mod number;
mod reader;
mod visitor;
pub(crate) mod writer;

use std::{fmt, mem::discriminant};

use bytes::Bytes;
use serde::{Serialize, Serializer};

pub use self::{
    convert::BinaryInJson,
    index::Index,
    map::{IntoIter, Iter, IterMut},
    number::Number,
};
pub(super) use self::{
    number::{NUMBER_TOKEN, has_arbitrary_precision},
    reader::{KeyReader, visit_number},
};

/// An argument of any type: JSON or binary.
///
/// Unlike `serde_json::Value`, it can contain the attachments of a binary event, at any depth and without a copy, and keeps the
/// order of an object's keys. It takes 24 bytes, and 40 bytes for each entry of an object plus the key.
///
/// ```
/// use tower_socketio::Value;
///
/// let value = Value::from(serde_json::json!({ "user": { "name": "Ada", "tags": ["a", "b"] } }));
/// assert_eq!(value["user"]["name"], "Ada");
/// assert_eq!(value["user"]["tags"][1].as_str(), Some("b"));
/// assert!(value["nothing"]["here"].is_null());
///
/// #[derive(serde::Deserialize)]
/// struct User { name: String }
/// let user: User = value["user"].to()?;
/// # assert_eq!(user.name, "Ada");
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// # Order and equality
///
/// The entries of an object are in order of arrival. A duplicate key keeps its first position and its last value, as in
/// JavaScript. Two objects are equal if they have the same entries in any order.
///
/// # Numbers
///
/// A number in JSON that is out of the range of a double becomes the nearest finite one.
///
/// # Memory
///
/// Binary shares the buffer in which it arrived; with msgpack, that is the whole packet. Use `Bytes::copy_from_slice` for data
/// that is kept for long.
#[derive(Default)]
pub enum Value {
    /// Null in JSON, or a missing argument.
    #[default]
    Null,
    /// A boolean.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string. Unpaired surrogates, which are valid in JavaScript, become U+FFFD.
    String(Box<str>),
    /// An array.
    Array(Vec<Self>),
    /// An object.
    Object(Map),
    /// A binary attachment. It shares the buffer in which it arrived.
    Binary(Box<Bytes>),
}

/// An entry of a [`Map`].
type Entry = (Box<str>, Value);

/// A JSON object whose entries are in order of arrival.
///
/// It is a list without spare capacity, which suits the small objects that events consist of.
///
/// # Complexity
///
/// Finding, adding and removing an entry take O(n). Collecting n entries takes O(n log n) for any keys.
///
/// ```
/// use tower_socketio::value::Map;
///
/// let mut map: Map = [("b", 1), ("a", 2), ("b", 3)].into();
/// // A duplicate key keeps its first position and its last value.
/// assert_eq!(map.keys().collect::<Vec<_>>(), ["b", "a"]);
/// assert_eq!(map["b"].as_u64(), Some(3));
/// map.insert("c", "text");
/// assert_eq!(map.remove("a").and_then(|value| value.as_u64()), Some(2));
/// # assert_eq!(map.len(), 2);
/// ```
#[derive(Default)]
pub struct Map {
    /// The keys are unique.
    entries: Box<[Entry]>,
}

macro_rules! accessors {
    ($(
        $is:ident $as:ident $as_mut:ident $variant:ident $ty:ty: $what:literal
    )*) => {$(
        #[doc = concat!("Returns `true` if this is ", $what, ".")]
        #[must_use]
        pub fn $is(&self) -> bool {
            matches!(self, Self::$variant(_))
        }

        #[doc = concat!("Returns the value if this is ", $what, ".")]
        #[must_use]
        pub fn $as(&self) -> Option<&$ty> {
            match self {
                Self::$variant(value) => Some(value),
                _ => None,
            }
        }

        #[doc = concat!("Returns a mutable reference to the value if this is ", $what, ".")]
        #[must_use]
        pub fn $as_mut(&mut self) -> Option<&mut $ty> {
            match self {
                Self::$variant(value) => Some(value),
                _ => None,
            }
        }
    )*};
}

impl Value {
    accessors! {
        is_string as_str as_mut_str String str: "a string"
        is_array as_array as_array_mut Array Vec<Self>: "an array"
        is_object as_object as_object_mut Object Map: "an object"
        is_binary as_binary as_binary_mut Binary Bytes: "binary"
    }

    /// Returns `true` if this is null.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Returns `true` if this is a boolean.
    #[must_use]
    pub fn is_boolean(&self) -> bool {
        matches!(self, Self::Bool(_))
    }

    /// Returns `true` if this is a number.
    #[must_use]
    pub fn is_number(&self) -> bool {
        matches!(self, Self::Number(_))
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

    /// Returns `true` if this is a number that was not written as an integer.
    #[must_use]
    pub fn is_f64(&self) -> bool {
        self.as_number().is_some_and(|number| number.is_f64())
    }

    /// Returns the boolean if this is one.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// Returns the number if this is one.
    #[must_use]
    pub fn as_number(&self) -> Option<Number> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// Returns the integer if this is one between `i64::MIN` and `i64::MAX`.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        self.as_number()?.as_i64()
    }

    /// Returns the integer if this is one between 0 and `u64::MAX`.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        self.as_number()?.as_u64()
    }

    /// Returns the number as a double if this is a number.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        self.as_number()?.as_f64()
    }

    /// Returns `Some(())` if this is null.
    #[must_use]
    pub fn as_null(&self) -> Option<()> {
        self.is_null().then_some(())
    }

    /// Takes the value and leaves null in its place.
    #[must_use]
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}

// The following implementations recurse. If `max_json_depth` allows it, clients can create values that are a thousand levels
// deep, so each level must take few and small stack frames. The tests check that.

impl Clone for Value {
    fn clone(&self) -> Self {
        match self {
            Self::Null => Self::Null,
            Self::Bool(value) => Self::Bool(*value),
            Self::Number(number) => Self::Number(*number),
            Self::String(text) => Self::String(text.clone()),
            Self::Array(values) => {
                let mut copies = Vec::with_capacity(values.len());
                for value in values {
                    copies.push(value.clone());
                }
                Self::Array(copies)
            }
            Self::Object(entries) => Self::Object(entries.clone()),
            Self::Binary(data) => Self::Binary(data.clone()),
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(one), Self::Bool(other)) => one == other,
            (Self::Number(one), Self::Number(other)) => one == other,
            (Self::String(one), Self::String(other)) => one == other,
            (Self::Binary(one), Self::Binary(other)) => one == other,
            (Self::Object(one), Self::Object(other)) => one == other,
            (Self::Array(one), Self::Array(other)) => {
                if one.len() != other.len() {
                    return false;
                }
                for place in 0..one.len() {
                    if one[place] != other[place] {
                        return false;
                    }
                }
                true
            }
            _ => false,
        }
    }
}

impl Eq for Value {}

impl std::hash::Hash for Value {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        discriminant(self).hash(state);
        match self {
            Self::Null => {}
            Self::Bool(value) => value.hash(state),
            Self::Number(number) => number.hash(state),
            Self::String(text) => text.hash(state),
            Self::Binary(data) => data.hash(state),
            Self::Object(entries) => entries.hash(state),
            Self::Array(values) => {
                state.write_usize(values.len());
                for value in values {
                    value.hash(state);
                }
            }
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("Null"),
            Self::Bool(value) => write!(f, "Bool({value})"),
            Self::Number(number) => write!(f, "{number:?}"),
            Self::String(text) => write!(f, "String({text:?})"),
            Self::Binary(data) => write!(f, "Binary({data:?})"),
            Self::Array(values) => {
                f.write_str("Array ")?;
                f.debug_list().entries(values).finish()
            }
            Self::Object(entries) => {
                f.write_str("Object ")?;
                entries.fmt(f)
            }
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(value) => value.serialize(serializer),
            Self::String(value) => serializer.serialize_str(value),
            Self::Array(values) => serialize_array(values, serializer),
            Self::Object(entries) => entries.serialize(serializer),
            Self::Binary(data) => serializer.serialize_bytes(data),
        }
    }
}

fn serialize_array<S: Serializer>(values: &[Value], serializer: S) -> Result<S::Ok, S::Error> {
    use serde::ser::SerializeSeq;
    let mut seq = serializer.serialize_seq(Some(values.len()))?;
    for value in values {
        seq.serialize_element(value)?;
    }
    seq.end()
}

#[cfg(test)]
mod tests;
