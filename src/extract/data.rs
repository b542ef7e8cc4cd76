use std::{
    error::Error,
    fmt,
    ops::{Deref, DerefMut},
};

use serde::de::DeserializeOwned;

use crate::event::{EventError, EventRequest, EventResponse, IntoEventResponse};

use super::from_event::FromEvent;

/// The arguments of an event.
///
/// A tuple takes as many arguments as it has fields, also behind a `Box`, an `Arc` or a `Cow`; a [`Rest`](super::Rest) as
/// its last field takes those that are left. [`Args`](crate::Args) takes all of them, anything else takes the first.
/// Arguments that are left over are ignored, as JavaScript does; one that is missing is `None` for an `Option`. An argument
/// that is itself an array is read as `Vec<T>` or `[T; N]`, or as a tuple in a tuple: `Data<((f64, f64),)>`.
///
/// Binary arguments are `bytes::Bytes` (of the crate `bytes`; its feature `serde` comes with this one), `Vec<u8>`,
/// `Box<[u8]>`, `[u8; N]`, or any type with `serde_bytes`, at any depth; [`Value`](crate::Value) holds whatever comes.
/// (`serde_json::Value` cannot hold binary and rejects it. In an untagged or internally tagged enum, and in a flattened struct, serde
/// keeps what it reads before it knows the type: there, binary is `Bytes`, `Value`, or has `serde_bytes`.) A `Value` at any depth, and `Bytes` as the only argument,
/// share the memory of what has arrived; anything else is a copy.
///
/// What JavaScript can say and Rust cannot hold is mended: half of a surrogate pair in text is U+FFFD, and a number beyond
/// the range of a double is the nearest finite one.
///
/// The arguments must be `Send`: those that are nested more than 127 levels deep, if
/// [`max_json_depth`](crate::SocketIoConfig::max_json_depth) allows that, are read on another thread.
///
/// ```
/// use bytes::Bytes;
/// use tower_socketio::extract::Data;
///
/// #[derive(serde::Deserialize)]
/// struct Upload { name: String, content: Bytes }
///
/// async fn one(Data(upload): Data<Upload>) { /* emit("upload", { name, content }) */ }
/// async fn two(Data((name, content)): Data<(String, Bytes)>) { /* emit("upload", name, content) */ }
/// # let _ = tower_socketio::Namespace::<()>::new().on("one", one).on("two", two);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Data<T>(pub T);

impl<T> Deref for Data<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Data<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<S: Sync, T: DeserializeOwned + Send + 'static> FromEvent<S> for Data<T> {
    type Rejection = DataRejection;

    async fn from_event(request: &mut EventRequest, _: &S) -> Result<Self, DataRejection> {
        request.args().map(Self).map_err(DataRejection)
    }
}

/// The arguments do not fit the handler.
#[derive(Debug)]
pub struct DataRejection(serde_json::Error);

impl fmt::Display for DataRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid arguments: {}", self.0)
    }
}

impl Error for DataRejection {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

impl IntoEventResponse for DataRejection {
    fn into_event_response(self) -> EventResponse {
        EventError::new(self.to_string()).into()
    }
}
