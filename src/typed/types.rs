//! Types for declarations, and the TypeScript of this crate's types.

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

#[cfg(feature = "asyncapi")]
use crate::packet::{Arity, arity};

use super::type_names::{Types, signature};

/// The [`Ack`](super::Event::Ack) of an event without a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAnswer {}

/// The [`Ack`](super::Event::Ack) of an event whose handler may fail: it returns `Result<Ack<T>, _>`, and the client gets `T` or an
/// [`EventError`](crate::EventError).
///
/// In TypeScript the response has the type `T | EventError`, so that clients must check for an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fallible<T>(std::marker::PhantomData<T>);

/// A binary attachment. In TypeScript, `ArrayBuffer | Uint8Array`: browsers receive the former, Node the latter, and both can be
/// sent. It shares the buffer in which it arrived, at any depth.
///
/// Use it in place of `bytes::Bytes`, which ts-rs maps to an array of numbers. A field of a derived type can be `Bytes` with the
/// attribute `#[ts(as = "tower_socketio::typed::Binary")]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Binary(pub Bytes);

impl<'de> Deserialize<'de> for Binary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(BinaryVisitor)
    }
}

/// Accepts the same input as `Bytes`, and shares attachments.
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

/// A type of an event's argument. Implemented for all types that implement [`TS`].
///
/// This trait is sealed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not known in TypeScript",
    note = "derive `ts_rs::TS` for it; bytes are `tower_socketio::typed::Binary`"
)]
pub trait ArgumentType: sealed::Sealed {
    /// Returns the name in TypeScript.
    #[doc(hidden)]
    fn argument(types: &mut Types) -> String;
}

/// Seals the traits of this module: code outside of the crate cannot name it.
mod sealed {
    pub trait Sealed {}
}

impl<T: TS + 'static> sealed::Sealed for T {}
impl sealed::Sealed for NoAnswer {}
impl<T: TS + 'static> sealed::Sealed for Fallible<T> {}

impl<T: TS + 'static> ArgumentType for T {
    fn argument(types: &mut Types) -> String {
        types.name::<T>()
    }
}

/// A type of an event's response. Implemented for all types that implement [`TS`], for [`NoAnswer`] and for [`Fallible`].
///
/// This trait is sealed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not known in TypeScript",
    note = "derive `ts_rs::TS` for it; bytes are `tower_socketio::typed::Binary`"
)]
pub trait AckType: sealed::Sealed {
    /// The response itself: `T` of a [`Fallible<T>`].
    #[doc(hidden)]
    type Value;

    /// Returns the parameters of the callback in TypeScript, if there is one.
    #[doc(hidden)]
    fn parameters(types: &mut Types) -> Option<String>;

    /// Returns the shape of the ack, if there is one.
    #[cfg(feature = "asyncapi")]
    #[doc(hidden)]
    fn shape() -> Option<AckShape>;
}

/// The number of arguments of an ack, and whether it may be an error instead.
#[cfg(feature = "asyncapi")]
#[doc(hidden)]
#[derive(Debug)]
pub struct AckShape {
    pub(super) arity: Arity,
    pub(super) is_fallible: bool,
}

impl<T: TS + 'static> AckType for T {
    type Value = T;

    fn parameters(types: &mut Types) -> Option<String> {
        Some(signature::<T>(types, "answer", None))
    }

    #[cfg(feature = "asyncapi")]
    fn shape() -> Option<AckShape> {
        Some(AckShape { arity: arity::<T>(), is_fallible: false })
    }
}

impl AckType for NoAnswer {
    type Value = Self;

    fn parameters(_: &mut Types) -> Option<String> {
        None
    }

    #[cfg(feature = "asyncapi")]
    fn shape() -> Option<AckShape> {
        None
    }
}

impl<T: TS + 'static> AckType for Fallible<T> {
    type Value = T;

    fn parameters(types: &mut Types) -> Option<String> {
        let error = types.name::<EventError>();
        Some(signature::<T>(types, "answer", Some(&error)))
    }

    #[cfg(feature = "asyncapi")]
    fn shape() -> Option<AckShape> {
        Some(AckShape { arity: arity::<T>(), is_fallible: true })
    }
}

/// Implements `TS` for a type with a fixed name in TypeScript.
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
        Some("/** The response of a handler that fails. */\n".to_owned())
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
