//! What an AsyncAPI document needs of events beside their TypeScript. Without the feature `asyncapi` it is empty.

use std::{fmt, marker::PhantomData};

#[cfg(feature = "asyncapi")]
use schemars::{JsonSchema, Schema, SchemaGenerator};

#[cfg(feature = "asyncapi")]
use super::Fallible;

/// Who emits the events of a set. `events!` sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The server emits them.
    Emit,
    /// Clients emit them, and the server handles them.
    On,
}

/// The JSON Schema of a type, if it has one.
#[doc(hidden)]
#[derive(Clone, Copy, Default)]
pub struct TypeSchema(#[cfg(feature = "asyncapi")] pub(super) Option<fn(&mut SchemaGenerator) -> Schema>);

impl fmt::Debug for TypeSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypeSchema").finish_non_exhaustive()
    }
}

/// Asks whether a type implements `JsonSchema`, by the order in which methods are looked up: `(&Probe::<T>::NEW).schema()` is that of
/// [`WithSchema`] if it does, or else that of [`WithoutSchema`]. So types need not implement it unless a document is generated.
#[doc(hidden)]
#[derive(Debug)]
pub struct Probe<T>(PhantomData<T>);

impl<T> Probe<T> {
    /// A probe.
    pub const NEW: Self = Self(PhantomData);
}

#[doc(hidden)]
pub trait WithSchema {
    fn schema(&self) -> TypeSchema;
}

#[doc(hidden)]
pub trait WithoutSchema {
    fn schema(&self) -> TypeSchema;
}

#[cfg(feature = "asyncapi")]
impl<T: JsonSchema> WithSchema for Probe<T> {
    fn schema(&self) -> TypeSchema {
        TypeSchema(Some(|generator| generator.subschema_for::<T>()))
    }
}

/// The error is described separately.
#[cfg(feature = "asyncapi")]
impl<T: JsonSchema> WithSchema for Probe<Fallible<T>> {
    fn schema(&self) -> TypeSchema {
        TypeSchema(Some(|generator| generator.subschema_for::<T>()))
    }
}

impl<T> WithoutSchema for &Probe<T> {
    fn schema(&self) -> TypeSchema {
        TypeSchema::default()
    }
}
