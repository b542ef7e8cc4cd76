//! The arguments of an event or an ack as Rust types: a tuple is several arguments, anything else is one.

use std::{
    any::{Any, TypeId, type_name},
    fmt,
    marker::PhantomData,
};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, DeserializeSeed, Error as _, IgnoredAny, SeqAccess, Visitor},
    forward_to_deserialize_any,
    ser::SerializeSeq,
};

use super::{
    Value,
    binary::{Attachment, Resolver},
    is_valid_json,
};

/// All the arguments of an event, however many there are.
///
/// As an extractor's type, `Data<Args>` takes every argument; given to `emit`, each item becomes one argument. The items
/// are [`Value`]s unless another type is named.
///
/// ```
/// use tower_socketio::{Args, Value, extract::{Data, SocketRef}};
///
/// async fn relay(socket: SocketRef, Data(args): Data<Args>) {
///     socket.broadcast().emit("relayed", &args).ok();
/// }
/// # let _ = tower_socketio::Namespace::new().on("relay", relay).with_state::<()>(());
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Args<T = Value>(pub Vec<T>);

impl<T: Serialize> Serialize for Args<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(self.0.len()))?;
        for arg in &self.0 {
            seq.serialize_element(arg)?;
        }
        seq.end()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Args<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self)
    }
}

/// How a type maps to arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arity {
    /// `()`.
    None,
    One,
    /// A tuple or [`Args`].
    Several,
}

/// The arity of a type.
///
/// serde shows a serialiser the same call for `(1, 2)` and for `[1, 2]`, but only the first is two arguments. The name
/// of the type tells them apart, and the comparison is folded away by the compiler.
pub(crate) fn arity<T: ?Sized>() -> Arity {
    const ARGS: &str = concat!(module_path!(), "::Args");
    let mut name = type_name::<T>();
    while let Some(target) = name.strip_prefix('&') {
        name = target.strip_prefix("mut ").unwrap_or(target);
    }
    if name == "()" {
        Arity::None
    } else if name.starts_with('(')
        || name.strip_prefix(ARGS).is_some_and(|rest| rest.is_empty() || rest.starts_with('<'))
    {
        Arity::Several
    } else {
        Arity::One
    }
}

/// Why arguments could not be read.
#[derive(Debug)]
pub(crate) enum ArgsError {
    /// The JSON, or a placeholder in it, is malformed: the end of the connection.
    Malformed(&'static str),
    /// The JSON does not fit the type.
    Mismatch(serde_json::Error),
}

/// The only argument of an event, read from what follows the event's name. `None` if it is not as simple as that.
///
/// Nearly all events have one argument, and what is binary is mostly that argument itself.
pub(crate) fn read_only_arg<T: DeserializeOwned + 'static>(rest: &str, attachments: &[Bytes]) -> Option<T> {
    if arity::<T>() != Arity::One {
        return None;
    }
    match attachments {
        [] => {
            let mut values = serde_json::Deserializer::from_str(rest.strip_prefix(',')?).into_iter();
            let value = values.next()?.ok()?;
            let end = 1 + values.byte_offset();
            (rest.get(end..)? == "]").then_some(value)
        }
        [data] if rest == r#",{"_placeholder":true,"num":0}]"# => {
            share(data).or_else(|| T::deserialize(Attachment(data)).ok())
        }
        _ => None,
    }
}

/// Bytes themselves are shared: serde would copy them.
fn share<T: 'static>(data: &Bytes) -> Option<T> {
    let mut shared = (TypeId::of::<T>() == TypeId::of::<Bytes>()).then(|| data.clone());
    (&mut shared as &mut dyn Any).downcast_mut::<Option<T>>()?.take()
}

/// Reads arguments from a packet's JSON array, which is walked once.
///
/// An event's array begins with its name, which is skipped; an ack's does not.
pub(crate) fn read_args<T: DeserializeOwned>(
    json: &str,
    attachments: &[Bytes],
    skip_name: bool,
) -> Result<T, ArgsError> {
    let resolver = Resolver::new(attachments);
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let visitor = ArgsVisitor { skip_name, marker: PhantomData };
    let value = if attachments.is_empty() {
        deserializer.deserialize_seq(visitor)
    } else {
        resolver.wrap(&mut deserializer).deserialize_seq(visitor)
    };
    let error = match value.and_then(|value| deserializer.end().map(|()| value)) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    if resolver.found_illegal_placeholder() {
        Err(ArgsError::Malformed("illegal attachments"))
    } else if is_valid_json(json) {
        // What serde_json calls a syntax error may be a value that Rust cannot hold, as half of a surrogate pair.
        Err(ArgsError::Mismatch(error))
    } else {
        Err(ArgsError::Malformed("invalid JSON"))
    }
}

struct ArgsVisitor<T> {
    skip_name: bool,
    marker: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for ArgsVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of arguments")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<T, A::Error> {
        if self.skip_name {
            seq.next_element::<IgnoredAny>()?;
        }
        let mut args = Arguments { seq: &mut seq, read: 0 };
        let value = match arity::<T>() {
            Arity::One => args.next_or_missing(PhantomData)?,
            Arity::None | Arity::Several => T::deserialize(&mut args)?,
        };
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(value)
    }
}

/// The arguments that have not been read yet.
struct Arguments<'a, A> {
    seq: &'a mut A,
    read: usize,
}

impl<'de, A: SeqAccess<'de>> Arguments<'_, A> {
    /// The next argument. One that the client left out is what JavaScript calls undefined: `None`, `()` or null.
    fn next_or_missing<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.read += 1;
        let mut seed = Some(seed);
        if let Some(value) = self.seq.next_element_seed(TakeSeed(&mut seed))? {
            return Ok(value);
        }
        let seed = seed.take().expect("an element that is absent does not use up its seed");
        seed.deserialize(Missing(PhantomData))
            .map_err(|_: A::Error| A::Error::custom(format_args!("argument {} is missing", self.read)))
    }
}

impl<'de, A: SeqAccess<'de>> Deserializer<'de> for &mut Arguments<'_, A> {
    type Error = A::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, A::Error> {
        visitor.visit_seq(&mut *self.seq)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, A::Error> {
        visitor.visit_seq(Padded(self))
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, A::Error> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit_struct
        newtype_struct seq tuple_struct map struct enum identifier ignored_any
    }
}

/// Arguments of a tuple, which asks for as many as it has fields.
struct Padded<'a, 'b, A>(&'a mut Arguments<'b, A>);

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Padded<'_, '_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.0.next_or_missing(seed).map(Some)
    }
}

/// A seed that stays in its place if it is not used.
struct TakeSeed<'a, S>(&'a mut Option<S>);

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for TakeSeed<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        let seed = self.0.take().ok_or_else(|| D::Error::custom("an element was read twice"))?;
        seed.deserialize(deserializer)
    }
}

/// An argument that is not there.
struct Missing<E>(PhantomData<E>);

impl<'de, E: serde::de::Error> Deserializer<'de> for Missing<E> {
    type Error = E;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        visitor.visit_unit()
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        visitor.visit_none()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event<T: DeserializeOwned>(json: &str) -> Result<T, ArgsError> {
        read_args(json, &[], true)
    }

    fn mismatch<T: DeserializeOwned + fmt::Debug>(json: &str) -> String {
        match event::<T>(json).unwrap_err() {
            ArgsError::Mismatch(error) => error.to_string(),
            ArgsError::Malformed(error) => panic!("malformed: {error}"),
        }
    }

    #[test]
    fn tuples_are_several_arguments_and_everything_else_is_one() {
        assert_eq!(arity::<(u8, u8)>(), Arity::Several);
        assert_eq!(arity::<&&mut (u8,)>(), Arity::Several);
        assert_eq!(arity::<Args>(), Arity::Several);
        assert_eq!(arity::<&Args<u8>>(), Arity::Several);
        assert_eq!(arity::<()>(), Arity::None);
        assert_eq!(arity::<[u8; 2]>(), Arity::One);
        assert_eq!(arity::<Vec<(u8, u8)>>(), Arity::One);
        assert_eq!(arity::<str>(), Arity::One);
        assert_eq!(arity::<Box<(u8, u8)>>(), Arity::One);
    }

    #[test]
    fn bytes_are_shared_where_they_are_the_only_argument() {
        let attachments = [Bytes::from(vec![7; 100])];
        let rest = r#",{"_placeholder":true,"num":0}]"#;
        let shared: Bytes = read_only_arg(rest, &attachments).unwrap();
        assert_eq!((shared.as_ptr(), shared.len()), (attachments[0].as_ptr(), 100));
        let inside: Option<Bytes> = read_only_arg(rest, &attachments).unwrap();
        assert_eq!(inside.unwrap(), attachments[0]);
    }

    #[test]
    fn arguments_are_read_by_position() {
        assert_eq!(event::<String>(r#"["e","a",1]"#).unwrap(), "a");
        assert_eq!(event::<(String, u8)>(r#"["e","a",1]"#).unwrap(), ("a".to_owned(), 1));
        assert_eq!(event::<[u8; 2]>(r#"["e",[1,2]]"#).unwrap(), [1, 2]);
        assert_eq!(event::<Vec<u8>>(r#"["e",[1,2]]"#).unwrap(), [1, 2]);
        event::<()>(r#"["e",1]"#).unwrap();
        assert_eq!(event::<Args<u8>>(r#"["e",1,2,3]"#).unwrap().0, [1, 2, 3]);
        assert_eq!(event::<(u8, (u8, u8))>(r#"["e",1,[2,3]]"#).unwrap(), (1, (2, 3)));
    }

    #[test]
    fn an_argument_that_is_left_out_is_none_or_an_error() {
        assert_eq!(event::<Option<u8>>(r#"["e"]"#).unwrap(), None);
        assert_eq!(event::<(u8, Option<u8>)>(r#"["e",1]"#).unwrap(), (1, None));
        assert_eq!(event::<serde_json::Value>(r#"["e"]"#).unwrap(), serde_json::Value::Null);
        assert_eq!(mismatch::<(u8, String)>(r#"["e",1]"#), "argument 2 is missing at line 1 column 7");
        assert_eq!(mismatch::<String>(r#"["e"]"#), "argument 1 is missing at line 1 column 5");
    }

    /// JavaScript prints a number with as many digits as it needs; none of them may be lost.
    #[test]
    fn numbers_keep_their_last_digit() {
        for number in ["45e99", "0.30000000000000004", "1.7976931348623157e308", "5e-324"] {
            let json = format!(r#"["e",{number}]"#);
            assert_eq!(event::<f64>(&json).unwrap(), number.parse::<f64>().unwrap(), "{number}");
        }
    }

    #[test]
    fn acks_have_no_name() {
        assert_eq!(read_args::<u8>("[7]", &[], false).unwrap(), 7);
        assert_eq!(read_args::<Option<u8>>("[]", &[], false).unwrap(), None);
    }

    #[test]
    fn malformed_json_is_told_from_json_of_another_type() {
        assert!(mismatch::<u8>(r#"["e","a"]"#).contains("expected u8"));
        mismatch::<String>(r#"["e","\ud800"]"#);
        assert!(mismatch::<f64>(r#"["e",1e999]"#).contains("out of range"));
        for json in [r#"["e",1"#, r#"["e" 1]"#, r#"["e",]"#, r#"["e",1]x"#, r#"["e",1,tru]"#] {
            assert!(matches!(event::<u8>(json), Err(ArgsError::Malformed("invalid JSON"))), "{json}");
        }
    }
}
