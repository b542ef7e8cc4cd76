//! Attachments inside serde types.
//!
//! Socket.IO protocol 5, section "Binary": a binary value stands in the JSON as `{"_placeholder":true,"num":N}` and
//! follows as a binary message. On the way in, [`Resolver`] wraps a deserialiser so that bytes are taken from the
//! attachments, also inside of untagged enums and flattened structs; on the way out, [`Extractor`] is the formatter that
//! takes bytes out of the JSON.

use std::{cell::Cell, fmt, io};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{
        DeserializeSeed, EnumAccess, Error as _, MapAccess, SeqAccess, VariantAccess, Visitor,
        value::{StrDeserializer, StringDeserializer},
    },
    forward_to_deserialize_any,
};
use serde_json::Value;

use crate::engine::{MESSAGE_BYTE, Packet};

const PLACEHOLDER: &str = "_placeholder";
const NUMBER: &str = "num";

/// Finds attachments by the number in their placeholders.
#[derive(Debug)]
pub(super) struct Resolver<'a> {
    attachments: &'a [Bytes],
    illegal: Cell<bool>,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(attachments: &'a [Bytes]) -> Self {
        Self { attachments, illegal: Cell::new(false) }
    }

    pub(super) fn wrap<T>(&self, inner: T) -> Resolve<'_, T> {
        Resolve { inner, resolver: self }
    }

    /// Whether a placeholder had no number, or one that no attachment has.
    pub(super) fn found_illegal_placeholder(&self) -> bool {
        self.illegal.get()
    }

    fn get<E: serde::de::Error>(&self, number: Option<u64>) -> Result<&Bytes, E> {
        let found = number.and_then(|n| usize::try_from(n).ok()).and_then(|n| self.attachments.get(n));
        found.ok_or_else(|| {
            self.illegal.set(true);
            E::custom("illegal attachments")
        })
    }
}

/// Something of serde's, wrapped so that everything below it resolves placeholders.
pub(super) struct Resolve<'r, T> {
    inner: T,
    resolver: &'r Resolver<'r>,
}

macro_rules! forward_deserialize {
    ($($method:ident ( $($arg:ident : $ty:ty),* ))*) => {
        $(fn $method<V: Visitor<'de>>(self, $($arg: $ty,)* visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$method($($arg,)* self.resolver.wrap(visitor))
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Resolve<'_, D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_any(MaybeBinary(self.resolver.wrap(visitor)))
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.deserialize_any(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.deserialize_any(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_ignored_any(visitor)
    }

    forward_deserialize! {
        deserialize_bool() deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64() deserialize_i128()
        deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64() deserialize_u128()
        deserialize_f32() deserialize_f64() deserialize_char() deserialize_str() deserialize_string()
        deserialize_option() deserialize_unit() deserialize_unit_struct(name: &'static str)
        deserialize_newtype_struct(name: &'static str) deserialize_seq() deserialize_tuple(len: usize)
        deserialize_tuple_struct(name: &'static str, len: usize) deserialize_map()
        deserialize_struct(name: &'static str, fields: &'static [&'static str])
        deserialize_enum(name: &'static str, variants: &'static [&'static str]) deserialize_identifier()
    }
}

macro_rules! forward_visit {
    ($($method:ident ( $($arg:ident : $ty:ty)? ))*) => {
        $(fn $method<E: serde::de::Error>(self, $($arg: $ty)?) -> Result<V::Value, E> {
            self.inner.$method($($arg)?)
        })*
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Resolve<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    forward_visit! {
        visit_bool(v: bool) visit_i64(v: i64) visit_i128(v: i128) visit_u64(v: u64) visit_u128(v: u128) visit_f64(v: f64)
        visit_char(v: char) visit_str(v: &str) visit_borrowed_str(v: &'de str) visit_string(v: String)
        visit_bytes(v: &[u8]) visit_borrowed_bytes(v: &'de [u8]) visit_byte_buf(v: Vec<u8>) visit_none() visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.inner.visit_some(self.resolver.wrap(deserializer))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.inner.visit_newtype_struct(self.resolver.wrap(deserializer))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<V::Value, A::Error> {
        self.inner.visit_seq(self.resolver.wrap(seq))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.inner.visit_map(self.resolver.wrap(map))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<V::Value, A::Error> {
        self.inner.visit_enum(self.resolver.wrap(data))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Resolve<'_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.inner.next_element_seed(self.resolver.wrap(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Resolve<'_, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.inner.next_key_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.next_value_seed(self.resolver.wrap(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Resolve<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(self.resolver.wrap(deserializer))
    }
}

impl<'r, 'de, A: EnumAccess<'de>> EnumAccess<'de> for Resolve<'r, A> {
    type Error = A::Error;
    type Variant = Resolve<'r, A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        let (value, variant) = self.inner.variant_seed(seed)?;
        Ok((value, self.resolver.wrap(variant)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Resolve<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.newtype_variant_seed(self.resolver.wrap(seed))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.inner.tuple_variant(len, self.resolver.wrap(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.inner.struct_variant(fields, self.resolver.wrap(visitor))
    }
}

/// A visitor of any value: an object may turn out to be a placeholder.
struct MaybeBinary<'r, V>(Resolve<'r, V>);

impl<'de, V: Visitor<'de>> Visitor<'de> for MaybeBinary<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_bool<E: serde::de::Error>(self, v: bool) -> Result<V::Value, E> {
        self.0.visit_bool(v)
    }

    fn visit_i64<E: serde::de::Error>(self, v: i64) -> Result<V::Value, E> {
        self.0.visit_i64(v)
    }

    fn visit_u64<E: serde::de::Error>(self, v: u64) -> Result<V::Value, E> {
        self.0.visit_u64(v)
    }

    fn visit_f64<E: serde::de::Error>(self, v: f64) -> Result<V::Value, E> {
        self.0.visit_f64(v)
    }

    fn visit_str<E: serde::de::Error>(self, v: &str) -> Result<V::Value, E> {
        self.0.visit_str(v)
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, v: &'de str) -> Result<V::Value, E> {
        self.0.visit_borrowed_str(v)
    }

    fn visit_string<E: serde::de::Error>(self, v: String) -> Result<V::Value, E> {
        self.0.visit_string(v)
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(seq)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<V::Value, A::Error> {
        let mut read = Replay { placeholder: None, number: None, key: None, value: None, map: &mut map };
        read.begin()?;
        if read.key.is_some() || read.placeholder != Some(Value::Bool(true)) {
            return self.0.visit_map(read);
        }
        let number = read.number.as_ref().and_then(Value::as_u64);
        let data = self.0.resolver.get(number)?;
        self.0.inner.visit_bytes(data)
    }
}

/// A key of an object, as far as it matters here.
enum Key {
    Placeholder,
    Number,
    Other(String),
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl Visitor<'_> for KeyVisitor {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Key, E> {
                Ok(match key {
                    PLACEHOLDER => Key::Placeholder,
                    NUMBER => Key::Number,
                    other => Key::Other(other.to_owned()),
                })
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

/// A map of which the first entries, and the key after them, have been read already.
struct Replay<A> {
    placeholder: Option<Value>,
    number: Option<Value>,
    key: Option<String>,
    /// That of the key that has been given last, if it has been read.
    value: Option<Value>,
    map: A,
}

impl<'de, A: MapAccess<'de>> Replay<A> {
    /// Reads as long as it may be a placeholder.
    fn begin(&mut self) -> Result<(), A::Error> {
        while let Some(key) = self.map.next_key()? {
            match key {
                Key::Placeholder => self.placeholder = Some(self.map.next_value()?),
                Key::Number => self.number = Some(self.map.next_value()?),
                Key::Other(key) => {
                    self.key = Some(key);
                    break;
                }
            }
        }
        Ok(())
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Replay<A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        for (key, value) in [(PLACEHOLDER, &mut self.placeholder), (NUMBER, &mut self.number)] {
            if value.is_some() {
                self.value = value.take();
                return seed.deserialize(StrDeserializer::new(key)).map(Some);
            }
        }
        match self.key.take() {
            Some(key) => seed.deserialize(StringDeserializer::new(key)).map(Some),
            None => self.map.next_key_seed(seed),
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        match self.value.take() {
            Some(value) => seed.deserialize(value).map_err(A::Error::custom),
            None => self.map.next_value_seed(seed),
        }
    }
}

macro_rules! reject {
    ($($method:ident ( $($ty:ty),* ))*) => {
        $(fn $method<V: Visitor<'de>>(self, $(_: $ty,)* _: V) -> Result<V::Value, serde_json::Error> {
            Err(serde_json::Error::custom("not binary"))
        })*
    };
}

/// An attachment that is deserialised without its placeholder, by types that ask for bytes or for anything.
pub(super) struct Attachment<'a>(pub(super) &'a [u8]);

impl<'de> Deserializer<'de> for Attachment<'_> {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_bytes(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! { bytes byte_buf ignored_any }

    // Text, for one, may be made of bytes, but was not sent.
    reject! {
        deserialize_bool() deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64() deserialize_i128()
        deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64() deserialize_u128()
        deserialize_f32() deserialize_f64() deserialize_char() deserialize_str() deserialize_string()
        deserialize_unit() deserialize_unit_struct(&'static str) deserialize_seq() deserialize_tuple(usize)
        deserialize_tuple_struct(&'static str, usize) deserialize_map()
        deserialize_struct(&'static str, &'static [&'static str])
        deserialize_enum(&'static str, &'static [&'static str]) deserialize_identifier()
    }
}

/// The formatter that moves bytes out of the JSON into attachments.
#[derive(Debug)]
pub(super) struct Extractor<'a>(pub(super) &'a mut Vec<Packet>);

impl serde_json::ser::Formatter for Extractor<'_> {
    fn write_byte_array<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: &[u8]) -> io::Result<()> {
        writer.write_all(br#"{"_placeholder":true,"num":"#)?;
        writer.write_all(itoa::Buffer::new().format(self.0.len()).as_bytes())?;
        writer.write_all(b"}")?;
        let mut message = Vec::with_capacity(1 + value.len());
        message.push(MESSAGE_BYTE);
        message.extend_from_slice(value);
        self.0.push(Packet::typed(message.into()));
        Ok(())
    }
}
