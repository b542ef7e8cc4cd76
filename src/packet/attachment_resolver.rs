//! Deserializes bytes from attachments.
//!
//! [`AttachmentResolver`] wraps a deserializer and replaces placeholders by their attachments, also in untagged enums and
//! flattened structs.

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, EnumAccess, Error as _, IgnoredAny, MapAccess, SeqAccess, VariantAccess, Visitor},
};

use super::{
    bytes::BinaryReader,
    placeholders::Placeholders,
    value::{KeyReader, NUMBER_TOKEN, Number, visit_number},
};

/// Finds attachments by their placeholders.
#[derive(Debug)]
pub(super) struct AttachmentResolver<'a> {
    /// The text that is deserialized. A placeholder is identified by the address of its first key.
    json: &'a str,
    attachments: &'a [Bytes],
    placeholders: Placeholders,
    /// Also looks for binary if a number is requested, and converts numbers that `serde_json` represents as maps.
    thorough: bool,
}

impl<'a> AttachmentResolver<'a> {
    /// Creates a resolver for a text and its placeholders.
    pub(super) fn new(json: &'a str, attachments: &'a [Bytes], placeholders: Placeholders) -> Self {
        Self { json, attachments, placeholders, thorough: false }
    }

    /// Sets the thorough mode of a second attempt. It loses digits that do not fit into a double.
    pub(super) fn thorough(self, thorough: bool) -> Self {
        Self { thorough, ..self }
    }

    pub(super) fn wrap<T>(&self, inner: T) -> Resolve<'_, T> {
        Resolve { inner, resolver: self }
    }

    /// Returns the attachment of the placeholder with this first key.
    fn attachment(&self, first_key: &str) -> Option<&'a Bytes> {
        let offset = first_key.as_ptr().addr().checked_sub(self.json.as_ptr().addr())?;
        self.placeholders.number(offset).map(|number| &self.attachments[number])
    }

    /// Returns `true` if a map is a number in the representation of `serde_json`, and not an object of the text.
    fn is_number(&self, first_key: &str) -> bool {
        first_key == NUMBER_TOKEN && !self.json.as_bytes().as_ptr_range().contains(&first_key.as_ptr())
    }
}

/// Wraps a type of serde, such as a deserializer or a visitor, so that all nested values resolve placeholders.
pub(super) struct Resolve<'r, T> {
    inner: T,
    resolver: &'r AttachmentResolver<'r>,
}

macro_rules! forward_deserialize {
    ($($method:ident ( $($arg:ident : $ty:ty),* ))*) => {
        $(fn $method<V: Visitor<'de>>(self, $($arg: $ty,)* visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$method($($arg,)* self.resolver.wrap(visitor))
        })*
    };
}

/// Implements methods for which objects may be placeholders. `serde_json` treats each like `deserialize_any`.
macro_rules! look_for_binary {
    ($($wanted:ident: $($method:ident ( $($ty:ty),* ))*;)*) => {
        $($(fn $method<V: Visitor<'de>>(self, $(_: $ty,)* visitor: V) -> Result<V::Value, D::Error> {
            let visitor = self.resolver.wrap(visitor);
            self.inner.deserialize_any(MaybeBinary { visitor, wanted: Wanted::$wanted })
        })*)*
    };
}

macro_rules! look_for_binary_if_thorough {
    ($($method:ident ( $($arg:ident : $ty:ty),* ))*) => {
        $(fn $method<V: Visitor<'de>>(self, $($arg: $ty,)* visitor: V) -> Result<V::Value, D::Error> {
            let visitor = self.resolver.wrap(visitor);
            if self.resolver.thorough {
                return self.inner.deserialize_any(MaybeBinary { visitor, wanted: Wanted::Other });
            }
            self.inner.$method($($arg,)* visitor)
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Resolve<'_, D> {
    type Error = D::Error;

    look_for_binary! {
        Any: deserialize_any();
        Seq: deserialize_seq() deserialize_tuple(usize) deserialize_tuple_struct(&'static str, usize);
        Bytes: deserialize_bytes() deserialize_byte_buf();
        Other:
            deserialize_str() deserialize_string() deserialize_map()
            deserialize_struct(&'static str, &'static [&'static str]);
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_ignored_any(visitor)
    }

    look_for_binary_if_thorough! {
        deserialize_bool() deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64()
        deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64() deserialize_f32() deserialize_f64()
        deserialize_char() deserialize_unit() deserialize_unit_struct(name: &'static str)
    }

    forward_deserialize! {
        deserialize_i128() deserialize_u128() deserialize_option() deserialize_newtype_struct(name: &'static str)
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

/// A visitor that checks if an object is a placeholder.
struct MaybeBinary<'r, V> {
    visitor: Resolve<'r, V>,
    wanted: Wanted,
}

/// What a type requests.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Any,
    Bytes,
    Seq,
    /// A type that binary must not be converted to, such as text.
    Other,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for MaybeBinary<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    fn visit_bool<E: serde::de::Error>(self, v: bool) -> Result<V::Value, E> {
        self.visitor.visit_bool(v)
    }

    fn visit_i64<E: serde::de::Error>(self, v: i64) -> Result<V::Value, E> {
        self.visitor.visit_i64(v)
    }

    fn visit_u64<E: serde::de::Error>(self, v: u64) -> Result<V::Value, E> {
        self.visitor.visit_u64(v)
    }

    fn visit_f64<E: serde::de::Error>(self, v: f64) -> Result<V::Value, E> {
        self.visitor.visit_f64(v)
    }

    fn visit_str<E: serde::de::Error>(self, v: &str) -> Result<V::Value, E> {
        self.visitor.visit_str(v)
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, v: &'de str) -> Result<V::Value, E> {
        self.visitor.visit_borrowed_str(v)
    }

    fn visit_string<E: serde::de::Error>(self, v: String) -> Result<V::Value, E> {
        self.visitor.visit_string(v)
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_unit()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_seq(seq)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<V::Value, A::Error> {
        let Resolve { inner: visitor, resolver } = self.visitor;
        let first = map.next_key::<Key<'de>>()?;
        if let Some(Key(Cow::Borrowed(key))) = &first {
            if let Some(data) = resolver.attachment(key) {
                map.next_value::<IgnoredAny>()?;
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                let binary = BinaryReader::new(data);
                return match self.wanted {
                    Wanted::Seq => binary.visit_as_seq(visitor),
                    Wanted::Any | Wanted::Bytes => binary.visit(visitor),
                    Wanted::Other => Err(binary.mismatch(&visitor)),
                };
            }
            if (resolver.thorough || self.wanted != Wanted::Any) && resolver.is_number(key) {
                let text: String = map.next_value()?;
                let number = Number::from_json(&text).ok_or_else(|| A::Error::custom("invalid number"))?;
                return visit_number(number, visitor);
            }
        }
        visitor.visit_map(resolver.wrap(Replay { first, map }))
    }
}

/// A key. Borrowed from the text if it has no escapes.
struct Key<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;

        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(key)))
            }

            fn visit_str<E>(self, key: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

/// A map whose first key has already been read.
struct Replay<'de, A> {
    first: Option<Key<'de>>,
    map: A,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Replay<'de, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        match self.first.take() {
            Some(Key(key)) => seed.deserialize(KeyReader(key)).map(Some).map_err(A::Error::custom),
            None => self.map.next_key_seed(seed),
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.map.next_value_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.map.size_hint()
    }
}
