//! Types that stand in declarations, and what our own types are in TypeScript.

use std::{fmt, path::PathBuf};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{SeqAccess, Visitor, value::SeqAccessDeserializer},
};
use ts_rs::{Config, TS, TypeVisitor};

use crate::{
    event::EventError,
    packet::{Args, Value, reclaim},
};

use super::type_names::{Types, signature};

/// The [`Ack`](super::Event::Ack) of an event that is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAnswer {}

/// The [`Ack`](super::Event::Ack) of an event whose handler answers `T`, or fails with an
/// [`EventError`](crate::EventError): it returns `Result<Ack<T>, _>`.
///
/// In TypeScript the answer is then `T | EventError`, and the client has to look which of them it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fallible<T>(std::marker::PhantomData<T>);

/// Bytes that are an attachment, in TypeScript `ArrayBuffer | Uint8Array`: browsers receive the one, Node the other, and
/// both can be sent. They share the memory in which they arrived, at any depth.
///
/// It stands for `bytes::Bytes`, which ts-rs takes for a list of numbers. A field of a type of your own may stay `Bytes`
/// with the attribute `#[ts(as = "tower_socketio::typed::Binary")]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Binary(pub Bytes);

impl<'de> Deserialize<'de> for Binary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(BinaryVisitor)
    }
}

/// Takes what `Bytes` take, and shares attachments.
struct BinaryVisitor;

impl<'de> Visitor<'de> for BinaryVisitor {
    type Value = Binary;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("byte array")
    }

    fn visit_bytes<E>(self, data: &[u8]) -> Result<Binary, E> {
        Ok(Binary(reclaim(data)))
    }

    fn visit_byte_buf<E>(self, data: Vec<u8>) -> Result<Binary, E> {
        Ok(Binary(data.into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Binary, E> {
        Ok(Binary(Bytes::copy_from_slice(text.as_bytes())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Binary, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(seq)).map(|data| Binary(data.into()))
    }
}

impl<T: Into<Bytes>> From<T> for Binary {
    fn from(bytes: T) -> Self {
        Self(bytes.into())
    }
}

/// What an argument of an event may be: any type that is a [`TS`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not known in TypeScript",
    note = "derive `ts_rs::TS` for it; bytes are `tower_socketio::typed::Binary`"
)]
pub trait ArgumentType {
    /// The name in TypeScript.
    #[doc(hidden)]
    fn argument(types: &mut Types) -> String;
}

impl<T: TS + 'static> ArgumentType for T {
    fn argument(types: &mut Types) -> String {
        types.name::<T>()
    }
}

/// What an event may be answered with: any type that is a [`TS`], [`NoAnswer`], or [`Fallible`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not known in TypeScript",
    note = "derive `ts_rs::TS` for it; bytes are `tower_socketio::typed::Binary`"
)]
pub trait AckType {
    /// The parameters of the callback in TypeScript, if there is one.
    #[doc(hidden)]
    fn parameters(types: &mut Types) -> Option<String>;
}

impl<T: TS + 'static> AckType for T {
    fn parameters(types: &mut Types) -> Option<String> {
        Some(signature::<T>(types, "answer", None))
    }
}

impl AckType for NoAnswer {
    fn parameters(_: &mut Types) -> Option<String> {
        None
    }
}

impl<T: TS + 'static> AckType for Fallible<T> {
    fn parameters(types: &mut Types) -> Option<String> {
        let error = types.name::<EventError>();
        Some(signature::<T>(types, "answer", Some(&error)))
    }
}

/// A type that has a name of its own in TypeScript.
macro_rules! impl_ts {
    ($ty:ty, $name:expr) => {
        impl TS for $ty {
            type WithoutGenerics = Self;
            type OptionInnerType = Self;

            fn name(_: &Config) -> String {
                $name.to_owned()
            }

            fn inline(config: &Config) -> String {
                <Self as TS>::name(config)
            }
        }
    };
}

impl_ts!(Binary, "ArrayBuffer | Uint8Array");
impl_ts!(Value, "unknown");

impl<T: TS> TS for Args<T> {
    type WithoutGenerics = Args<ts_rs::Dummy>;
    type OptionInnerType = Self;

    fn name(config: &Config) -> String {
        Vec::<T>::name(config)
    }

    fn inline(config: &Config) -> String {
        Vec::<T>::inline(config)
    }

    fn visit_dependencies(visitor: &mut impl TypeVisitor)
    where
        Self: 'static,
    {
        Vec::<T>::visit_dependencies(visitor);
    }

    fn visit_generics(visitor: &mut impl TypeVisitor)
    where
        Self: 'static,
    {
        Vec::<T>::visit_generics(visitor);
    }
}

impl TS for EventError {
    type WithoutGenerics = Self;
    type OptionInnerType = Self;

    fn docs() -> Option<String> {
        Some("/** What a handler answers that fails. */\n".to_owned())
    }

    fn name(_: &Config) -> String {
        "EventError".to_owned()
    }

    fn inline(_: &Config) -> String {
        "{ error: { message: string, data?: unknown } }".to_owned()
    }

    fn decl(config: &Config) -> String {
        format!("type {} = {};", Self::name(config), Self::inline(config))
    }

    fn decl_concrete(config: &Config) -> String {
        Self::decl(config)
    }

    fn output_path() -> Option<PathBuf> {
        Some("EventError.ts".into())
    }
}
