use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, IgnoredAny, SeqAccess, Visitor},
    forward_to_deserialize_any,
};

use super::super::arity::{Arity, arity, is_rest};

/// Deserializes arguments from an array.
pub(super) struct ArgsVisitor<T> {
    skip_name: bool,
    marker: PhantomData<fn() -> T>,
}

impl<T> ArgsVisitor<T> {
    /// With `skip_name`, the first element, which is the name of an event, is skipped.
    pub(super) fn new(skip_name: bool) -> Self {
        Self { skip_name, marker: PhantomData }
    }
}

impl<T> Clone for ArgsVisitor<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for ArgsVisitor<T> {}

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

/// The remaining arguments.
struct Arguments<'a, A> {
    seq: &'a mut A,
    read: usize,
}

impl<'de, A: SeqAccess<'de>> Arguments<'_, A> {
    /// Returns the next argument. A missing one is deserialized from `undefined`, which matches `None`, `()` and null.
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

/// The arguments of a tuple, padded with missing ones.
struct Padded<'a, 'b, A>(&'a mut Arguments<'b, A>);

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Padded<'_, '_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        if is_rest::<S::Value>() {
            return seed.deserialize(&mut *self.0).map(Some);
        }
        self.0.next_or_missing(seed).map(Some)
    }
}

/// A seed that is returned if it is not used.
struct TakeSeed<'a, S>(&'a mut Option<S>);

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for TakeSeed<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        let seed = self.0.take().ok_or_else(|| D::Error::custom("an element was read twice"))?;
        seed.deserialize(deserializer)
    }
}

/// The deserializer of a missing argument.
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
