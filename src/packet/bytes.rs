//! Passes [`Bytes`] through serde without a copy, although serde's visitors know only borrowed bytes.

use std::{cell::Cell, marker::PhantomData};

use bytes::Bytes;
use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, Expected, SeqAccess, Unexpected, Visitor},
    forward_to_deserialize_any,
};

thread_local! {
    /// The attachment that a visitor is being called with.
    static LENT: Cell<Option<Bytes>> = const { Cell::new(None) };
}

/// Calls a visitor with bytes that it may [`reclaim`].
fn lend<R>(data: &Bytes, visit: impl FnOnce(&[u8]) -> R) -> R {
    /// Restores the previous attachment, also if the visitor panics.
    struct Restore(Option<Bytes>);

    impl Drop for Restore {
        fn drop(&mut self) {
            LENT.set(self.0.take());
        }
    }

    let _restore = Restore(LENT.replace(Some(data.clone())));
    visit(data)
}

/// Returns the bytes that a visitor was called with: shared if they are an attachment, otherwise copied.
pub(crate) fn reclaim(data: &[u8]) -> Bytes {
    let lent = LENT.take();
    let shared = lent.as_ref().filter(|lent| std::ptr::eq(&***lent, data)).cloned();
    LENT.set(lent);
    shared.unwrap_or_else(|| Bytes::copy_from_slice(data))
}

/// Deserializes binary, for types that request bytes, any value, or a sequence of `u8`.
pub(super) struct BinaryReader<'a, E> {
    data: &'a Bytes,
    marker: PhantomData<fn() -> E>,
}

impl<'a, E: Error> BinaryReader<'a, E> {
    pub(super) fn new(data: &'a Bytes) -> Self {
        Self { data, marker: PhantomData }
    }

    /// Calls the visitor with the data as bytes.
    pub(super) fn visit<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        lend(self.data, |data| visitor.visit_bytes(data))
    }

    /// Returns the error of a type that requests something else.
    pub(super) fn mismatch(&self, expected: &dyn Expected) -> E {
        E::invalid_type(Unexpected::Bytes(self.data), expected)
    }

    /// Calls the visitor with the data as a sequence, which it must read to the end.
    pub(super) fn visit_as_seq<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        let mut seq = ByteSeq { rest: self.data.iter(), marker: PhantomData };
        let value = visitor.visit_seq(&mut seq)?;
        match seq.rest.len() {
            0 => Ok(value),
            _ => Err(E::invalid_length(self.data.len(), &"fewer bytes")),
        }
    }
}

macro_rules! reject {
    ($($method:ident ( $($ty:ty),* ))*) => {
        $(fn $method<V: Visitor<'de>>(self, $(_: $ty,)* visitor: V) -> Result<V::Value, E> {
            Err(self.mismatch(&visitor))
        })*
    };
}

impl<'de, E: Error> Deserializer<'de> for BinaryReader<'_, E> {
    type Error = E;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        self.visit(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, E> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        self.visit_as_seq(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, E> {
        self.visit_as_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(self, _: &'static str, _: usize, visitor: V) -> Result<V::Value, E> {
        self.visit_as_seq(visitor)
    }

    forward_to_deserialize_any! { bytes byte_buf ignored_any }

    reject! {
        deserialize_bool() deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64() deserialize_i128()
        deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64() deserialize_u128()
        deserialize_f32() deserialize_f64() deserialize_char() deserialize_str() deserialize_string()
        deserialize_unit() deserialize_unit_struct(&'static str) deserialize_map()
        deserialize_struct(&'static str, &'static [&'static str])
        deserialize_enum(&'static str, &'static [&'static str]) deserialize_identifier()
    }
}

/// A sequence of `u8` only: the bytes of a `Float32Array`, for example, are not its numbers.
struct ByteSeq<'a, E> {
    rest: std::slice::Iter<'a, u8>,
    marker: PhantomData<fn() -> E>,
}

impl<'de, E: Error> SeqAccess<'de> for ByteSeq<'_, E> {
    type Error = E;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, E> {
        let Some(byte) = self.rest.next() else { return Ok(None) };
        seed.deserialize(ByteReader { byte: *byte, marker: PhantomData }).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

struct ByteReader<E> {
    byte: u8,
    marker: PhantomData<fn() -> E>,
}

impl<'de, E: Error> Deserializer<'de> for ByteReader<E> {
    type Error = E;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        Err(E::invalid_type(Unexpected::Other("a byte of binary"), &visitor))
    }

    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        visitor.visit_u8(self.byte)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, E> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct seq tuple
        tuple_struct map struct enum identifier
    }
}
