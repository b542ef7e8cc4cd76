//! Lists of arguments.

use std::{
    fmt,
    marker::PhantomData,
    ops::{Deref, DerefMut},
    slice, vec,
};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{SeqAccess, Visitor},
    ser::SerializeSeq,
};

use super::{ArgsError, Value, encode_args, read_args};

/// All arguments of an event.
///
/// The extractor `Data<Args>` returns any number of arguments. `emit` sends each item as one argument. The type of the items is
/// [`Value`] by default.
///
/// ```
/// use tower_socketio::{Args, Value, extract::{Data, SocketRef}};
///
/// async fn relay(socket: SocketRef, Data(args): Data<Args>) {
///     socket.broadcast().emit("relayed", &args).ok();
/// }
/// # let _ = tower_socketio::Namespace::new().on("relay", relay).with_state::<()>(());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Args<T = Value>(pub Vec<T>);

/// The remaining arguments of an event. The last field of a tuple.
///
/// It may be empty. The type of the items is [`Value`] by default.
///
/// ```
/// use tower_socketio::{Args, Value, extract::{Data, Rest, SocketRef}};
///
/// // emit("to", "room", "event", 1, 2, 3)
/// async fn to(socket: SocketRef, Data((room, event, rest)): Data<(String, String, Rest)>) {
///     socket.to(room).emit(&event, &Args::from(rest)).ok();
/// }
/// # let _ = tower_socketio::Namespace::new().on("to", to).with_state::<()>(());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rest<T = Value>(pub Vec<T>);

impl<T: Serialize> Serialize for Args<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(self.0.len()))?;
        for arg in &self.0 {
            seq.serialize_element(arg)?;
        }
        seq.end()
    }
}

impl<T> From<Rest<T>> for Args<T> {
    fn from(rest: Rest<T>) -> Self {
        Self(rest.0)
    }
}

/// Deserializes a list without spare capacity.
fn read_list<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    struct List<T>(PhantomData<fn() -> T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("arguments")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
            let mut values = Vec::new();
            while let Some(value) = seq.next_element()? {
                values.push(value);
            }
            values.shrink_to_fit();
            Ok(values)
        }
    }
    deserializer.deserialize_seq(List(PhantomData))
}

macro_rules! list {
    ($($name:ident)*) => {$(
        impl<T> Default for $name<T> {
            fn default() -> Self {
                Self(Vec::new())
            }
        }

        impl<'de, T: Deserialize<'de>> Deserialize<'de> for $name<T> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                read_list(deserializer).map(Self)
            }
        }

        impl<T> Deref for $name<T> {
            type Target = Vec<T>;

            fn deref(&self) -> &Vec<T> {
                &self.0
            }
        }

        impl<T> DerefMut for $name<T> {
            fn deref_mut(&mut self) -> &mut Vec<T> {
                &mut self.0
            }
        }

        impl<T> From<Vec<T>> for $name<T> {
            fn from(values: Vec<T>) -> Self {
                Self(values)
            }
        }

        impl<T> From<$name<T>> for Vec<T> {
            fn from(list: $name<T>) -> Self {
                list.0
            }
        }

        impl<T, const N: usize> From<[T; N]> for $name<T> {
            fn from(values: [T; N]) -> Self {
                Self(values.into())
            }
        }

        impl<T> FromIterator<T> for $name<T> {
            fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
                Self(values.into_iter().collect())
            }
        }

        impl<T> Extend<T> for $name<T> {
            fn extend<I: IntoIterator<Item = T>>(&mut self, values: I) {
                self.0.extend(values);
            }
        }

        impl<T> IntoIterator for $name<T> {
            type Item = T;
            type IntoIter = vec::IntoIter<T>;

            fn into_iter(self) -> vec::IntoIter<T> {
                self.0.into_iter()
            }
        }

        impl<'a, T> IntoIterator for &'a $name<T> {
            type Item = &'a T;
            type IntoIter = slice::Iter<'a, T>;

            fn into_iter(self) -> slice::Iter<'a, T> {
                self.0.iter()
            }
        }

        impl<'a, T> IntoIterator for &'a mut $name<T> {
            type Item = &'a mut T;
            type IntoIter = slice::IterMut<'a, T>;

            fn into_iter(self) -> slice::IterMut<'a, T> {
                self.0.iter_mut()
            }
        }
    )*};
}

list!(Args Rest);

impl Value {
    /// Serializes to the value that a recipient would get if this were emitted as one argument. Types that serialize as bytes, such
    /// as `bytes::Bytes`, become [`Value::Binary`].
    ///
    /// # Errors
    ///
    /// Returns an error if it cannot be serialized as JSON.
    pub fn from_serialize<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<Self> {
        let (json, attachments) = encode_args(&Args(vec![value]))?.into_parts();
        let json = std::str::from_utf8(&json).expect("JSON is UTF-8");
        read_args(json, &attachments, false).map_err(ArgsError::into_error)
    }
}
