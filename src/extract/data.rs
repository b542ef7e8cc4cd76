use std::{
    error::Error,
    fmt,
    ops::{Deref, DerefMut},
};

use serde::de::DeserializeOwned;

use crate::event::{EventError, EventRequest, EventResponse, IntoEventResponse};

use super::from_event::FromEvent;

/// Extracts the arguments of an event.
///
/// ```
/// use tower_socketio::{Namespace, extract::{Data, Rest}};
///
/// #[derive(serde::Deserialize)]
/// struct Message { room: String, text: String }
/// async fn message(Data(message): Data<Message>) {} // emit("message", { room, text })
/// async fn add(Data((a, b)): Data<(i64, i64)>) {} // emit("add", 1, 2)
/// async fn sum(Data((name, Rest(numbers))): Data<(String, Rest<Vec<i64>>)>) {} // emit("sum", "x", 1, 2, 3)
/// # let _: Namespace = Namespace::new().on("message", message).on("add", add).on("sum", sum);
/// ```
///
/// A handler has one `Data`, because each would begin with the first argument. A second one does not compile:
///
/// ```compile_fail
/// use tower_socketio::{Namespace, extract::Data};
///
/// async fn add(Data(a): Data<i64>, Data(b): Data<i64>) {} // Data((a, b)): Data<(i64, i64)>
/// # let _: Namespace = Namespace::new().on("add", add);
/// ```
///
/// To accept arguments of several types, extract `Option<Data<A>>` and `Option<Data<B>>`.
///
/// A tuple extracts as many arguments as it has fields, also inside of a `Box`, an `Arc` or a `Cow`. A [`Rest`](super::Rest) as
/// its last field extracts the remaining ones. [`Args`](crate::Args) extracts all arguments, and any other type the first one.
/// Additional arguments are ignored, as in JavaScript, and a missing one is `None` for an `Option`. An argument that is an array
/// is a `Vec<T>`, a `[T; N]`, or a tuple in a tuple: `Data<((f64, f64),)>`.
///
/// Binary arguments are `bytes::Bytes` (its feature `serde` is enabled by this crate), `Vec<u8>`, `Box<[u8]>`, `[u8; N]`, or a
/// type with `serde_bytes`, at any depth. [`Value`](crate::Value) holds any argument. `serde_json::Value` cannot hold binary data
/// and rejects it. In untagged and internally tagged enums and in flattened structs, where serde buffers values before it knows
/// their types, binary data must be `Bytes`, `Value`, or have `serde_bytes`. A `Value` at any depth, and `Bytes` as the only
/// argument, share the memory of the received packet. Other types copy from it.
///
/// Values that JavaScript supports and Rust does not are replaced: an unpaired surrogate in a string by U+FFFD, and a number
/// outside of the range of a double by the nearest finite one.
///
/// The arguments must be `Send`, because those nested more than 127 levels deep, if
/// [`max_json_depth`](crate::SocketIoConfig::max_json_depth) allows them, are read on another thread.
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
    const READS_ARGUMENTS: bool = true;

    type Rejection = DataRejection;

    async fn from_event(request: &mut EventRequest, _: &S) -> Result<Self, DataRejection> {
        request.args().map(Self).map_err(|error| DataRejection::new(request, error))
    }
}

/// The rejection of [`Data`]: the arguments do not match the type.
#[derive(Debug)]
pub struct DataRejection {
    error: serde_json::Error,
    /// What [`SocketIoConfig::argument_error`](crate::SocketIoConfig::argument_error) returned.
    response: Option<Box<EventError>>,
}

impl DataRejection {
    #[cold]
    fn new(request: &EventRequest, error: serde_json::Error) -> Self {
        let mut rejection = Self { error, response: None };
        let socket = request.socket().inner();
        if let Some(hook) = &socket.client.server.hooks.argument_error {
            let (message, data) = hook(socket, request.event(), &rejection.to_string());
            rejection.response = Some(Box::new(EventError::from_parts(message, data)));
        }
        rejection
    }
}

impl fmt::Display for DataRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.error.to_string();
        // The position is one in what serde has read, and of no use to a client.
        let position = format!(" at line {} column {}", self.error.line(), self.error.column());
        write!(f, "invalid arguments: {}", text.strip_suffix(&position).unwrap_or(&text))
    }
}

impl Error for DataRejection {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

impl IntoEventResponse for DataRejection {
    fn into_event_response(self) -> EventResponse {
        match self.response {
            Some(response) => (*response).into(),
            None => EventError::new(self.to_string()).into(),
        }
    }
}
