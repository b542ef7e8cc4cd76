//! Deserializes arguments and other JSON.

mod arguments;

use std::{
    any::{Any, TypeId},
    marker::PhantomData,
};

use bytes::Bytes;
use serde::{
    Deserializer,
    de::{DeserializeOwned, Error as _},
};

use self::arguments::ArgsVisitor;
use super::{
    DecodeError, Value,
    arity::{Arity, arity},
    attachment_resolver::AttachmentResolver,
    bytes::BinaryReader,
    deep::{self, MAX_LEVELS, SHALLOW},
    is_valid_json, is_within_depth,
    mend::mend,
    placeholders::{LAST_ARGUMENT, Placeholders},
    value::has_arbitrary_precision,
};

/// Why arguments cannot be deserialized.
#[derive(Debug)]
pub(crate) enum ArgsError {
    /// The JSON or a placeholder in it is invalid. The connection is closed.
    Malformed(&'static str),
    /// The JSON does not match the type.
    Mismatch(serde_json::Error),
}

impl ArgsError {
    /// Converts to an error of `serde_json`.
    pub(crate) fn into_error(self) -> serde_json::Error {
        match self {
            Self::Mismatch(error) => error,
            Self::Malformed(detail) => serde_json::Error::custom(detail),
        }
    }
}

/// Fast path for events with one argument, which may be binary. `rest` is the JSON after the event's name. Returns `None` if the
/// event needs the general path.
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
        [data] if rest == LAST_ARGUMENT => {
            share(data).or_else(|| T::deserialize(BinaryReader::<serde_json::Error>::new(data)).ok())
        }
        _ => None,
    }
}

/// Returns binary as `Bytes`, or as a vector or slice. serde would copy `Bytes`, and build vectors byte by byte.
fn share<T: 'static>(data: &Bytes) -> Option<T> {
    let wanted = TypeId::of::<T>();
    if wanted == TypeId::of::<Bytes>() {
        cast(data.clone())
    } else if wanted == TypeId::of::<Vec<u8>>() {
        cast(data.to_vec())
    } else if wanted == TypeId::of::<Box<[u8]>>() {
        cast::<Box<[u8]>, T>(data[..].into())
    } else {
        None
    }
}

fn cast<Known: 'static, T: 'static>(value: Known) -> Option<T> {
    (&mut Some(value) as &mut dyn Any).downcast_mut::<Option<T>>()?.take()
}

/// Deserializes arguments from a packet's JSON array.
///
/// With `skip_name`, the first element, which is the name of an event, is skipped. Each attachment must be named once.
pub(crate) fn read_args<T>(json: &str, attachments: &[Bytes], skip_name: bool) -> Result<T, ArgsError>
where
    T: DeserializeOwned + Send + 'static,
{
    if !attachments.is_empty()
        && let Some(shared) = share_first_arg(json, attachments, skip_name)?
    {
        return Ok(shared);
    }
    Source { json, attachments }.read(ArgsVisitor::new(skip_name))
}

/// Returns the first argument if it is binary and `T` can share it.
fn share_first_arg<T: 'static>(json: &str, attachments: &[Bytes], skip_name: bool) -> Result<Option<T>, ArgsError> {
    if ![TypeId::of::<Bytes>(), TypeId::of::<Vec<u8>>(), TypeId::of::<Box<[u8]>>()].contains(&TypeId::of::<T>()) {
        return Ok(None);
    }
    let visitor = ArgsVisitor::new(skip_name);
    match (Source { json, attachments }).read::<Value, _>(visitor) {
        Ok(Value::Binary(data)) => Ok(share(&data)),
        Ok(_) | Err(ArgsError::Mismatch(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Deserializes one JSON value.
pub(crate) fn read_json<T: DeserializeOwned + Send>(json: &[u8]) -> serde_json::Result<T> {
    let json = std::str::from_utf8(json).map_err(serde_json::Error::custom)?;
    Source { json, attachments: &[] }.read(Whole(PhantomData)).map_err(ArgsError::into_error)
}

/// A deserialization that can be repeated.
trait Read<T>: Copy + Send {
    fn read<'de, D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error>;
}

struct Whole<T>(PhantomData<fn() -> T>);

impl<T> Clone for Whole<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Whole<T> {}

impl<T: DeserializeOwned> Read<T> for Whole<T> {
    fn read<'de, D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        T::deserialize(deserializer)
    }
}

impl<T: DeserializeOwned> Read<T> for ArgsVisitor<T> {
    fn read<'de, D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

/// JSON and its attachments.
#[derive(Clone, Copy)]
struct Source<'a> {
    json: &'a str,
    attachments: &'a [Bytes],
}

/// The options of the second attempt.
#[derive(Clone, Copy, Default)]
struct Attempt {
    deep: bool,
    thorough: bool,
}

impl Source<'_> {
    /// Deserializes the JSON. It is read once unless that fails.
    fn read<T: Send, R: Read<T>>(self, read: R) -> Result<T, ArgsError> {
        let first = self.attempt(read, Attempt::default())?;
        first.or_else(|error| self.recover(read, error))
    }

    fn attempt<T, R: Read<T>>(self, read: R, attempt: Attempt) -> Result<serde_json::Result<T>, ArgsError> {
        let mut deserializer = serde_json::Deserializer::from_str(self.json);
        if attempt.deep {
            deserializer.disable_recursion_limit();
        }
        let value = if self.attachments.is_empty() && !attempt.thorough {
            read.read(&mut deserializer)
        } else {
            let placeholders = Placeholders::find(self.json, self.attachments.len());
            let placeholders = placeholders.map_err(|DecodeError(detail)| ArgsError::Malformed(detail))?;
            let resolver = AttachmentResolver::new(self.json, self.attachments, placeholders);
            read.read(resolver.thorough(attempt.thorough).wrap(&mut deserializer))
        };
        Ok(value.and_then(|value| deserializer.end().map(|()| value)))
    }

    /// Tries again if the first attempt may have failed because `serde_json` rejects JSON that JavaScript accepts.
    fn recover<T: Send, R: Read<T>>(self, read: R, error: serde_json::Error) -> Result<T, ArgsError> {
        let (mended, attempt) = self.second_attempt(error)?;
        let source = Source { json: mended.as_deref().unwrap_or(self.json), attachments: self.attachments };
        let again = if attempt.deep {
            deep::run(move || Ok(source.attempt(read, attempt))).map_err(ArgsError::Mismatch)?
        } else {
            source.attempt(read, attempt)
        };
        again?.map_err(ArgsError::Mismatch)
    }

    /// Returns the JSON of the second attempt, if it differs, and its options, or the error of the first one if a second one is of no use.
    fn second_attempt(self, error: serde_json::Error) -> Result<(Option<String>, Attempt), ArgsError> {
        if !is_valid_json(self.json) {
            return Err(ArgsError::Malformed("invalid JSON"));
        }
        let mended = mend(self.json);
        let attempt = Attempt {
            deep: !is_within_depth(self.json.as_bytes(), SHALLOW),
            // Also gives a better error, which does not mention a map where the client sent binary.
            thorough: !self.attachments.is_empty() || has_arbitrary_precision(),
        };
        let is_too_deep = attempt.deep && !is_within_depth(self.json.as_bytes(), MAX_LEVELS);
        if is_too_deep || mended.is_none() && !attempt.deep && !attempt.thorough {
            return Err(ArgsError::Mismatch(error));
        }
        Ok((mended, attempt))
    }
}

#[cfg(test)]
mod tests;
