use std::{borrow::Cow, convert::Infallible, error::Error, fmt};

use axum::BoxError;
use serde::Serialize;
use serde_json::Value;

use crate::{
    packet::{EncodedArgs, encode_args},
    util::{FromError, log},
};

/// Answers the client's ack. A tuple is several arguments, anything else one.
///
/// JavaScript's `emitWithAck` takes the first argument alone, and a callback all of them: a client that awaits several values
/// wants them in a struct, an array, or a tuple that is one argument, `Ack(((a, b),))`.
///
/// If the client does not wait for an ack, the value is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ack<T>(pub T);

/// What an event's handler or layer answers.
#[derive(Debug, Clone)]
#[must_use]
pub struct EventResponse(Repr);

#[derive(Debug, Clone)]
enum Repr {
    None,
    Ack(EncodedArgs),
    Error(EventError),
}

impl EventResponse {
    /// No answer: if the client waits for an ack, it keeps waiting.
    pub fn none() -> Self {
        Self(Repr::None)
    }

    pub(crate) fn ack(args: EncodedArgs) -> Self {
        Self(Repr::Ack(args))
    }

    pub(crate) fn is_none(&self) -> bool {
        matches!(self.0, Repr::None)
    }

    pub(crate) fn error(&self) -> Option<&EventError> {
        match &self.0 {
            Repr::Error(error) => Some(error),
            Repr::None | Repr::Ack(_) => None,
        }
    }

    /// The arguments of the ack, if there is to be one.
    pub(crate) fn into_args(self) -> Option<EncodedArgs> {
        match self.0 {
            Repr::None => None,
            Repr::Ack(args) => Some(args),
            Repr::Error(error) => encode_args(&error).ok(),
        }
    }

    /// The bytes of the answer.
    pub(crate) fn len(&self) -> usize {
        match &self.0 {
            Repr::None => 0,
            Repr::Ack(args) => args.len(),
            Repr::Error(error) => error.to_string().len(),
        }
    }

    /// A copy that takes no more memory than [`len`](Self::len) says: attachments may be parts of what a client has sent.
    pub(crate) fn detached(&self) -> Self {
        match &self.0 {
            Repr::Ack(args) => Self(Repr::Ack(args.detached())),
            _ => self.clone(),
        }
    }

    /// The handler has the ack in its own hands: what it returns is no answer.
    pub(crate) fn unless_answered(self, ack_taken: bool) -> Self {
        if ack_taken && matches!(self.0, Repr::Ack(_)) {
            log!(warn, "a handler with an `AckSender` returned an `Ack` too, which is dropped");
            return Self::none();
        }
        self
    }
}

/// What an event handler may return.
///
/// `()` answers nothing: as in Node, a client that waits for an ack gets none. [`Ack`] answers. Of a `Result`, whichever
/// side it is answers; [`EventError`], strings and your own errors can stand on its right. (A string by itself is no answer:
/// it might be meant for a success.)
///
/// ```
/// use tower_socketio::{
///     EventError,
///     event::{EventResponse, IntoEventResponse},
/// };
///
/// enum RenameError { Taken, Database }
///
/// impl IntoEventResponse for RenameError {
///     fn into_event_response(self) -> EventResponse {
///         match self {
///             Self::Taken => EventError::new("the name is taken"),
///             Self::Database => EventError::new("try again later"),
///         }
///         .into()
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be returned from an event handler",
    note = "return `()`, `Ack<T>` where `T: Serialize`, `EventError`, or a `Result` of these; or implement \
            `IntoEventResponse` for your own type"
)]
pub trait IntoEventResponse {
    /// The answer.
    fn into_event_response(self) -> EventResponse;
}

impl IntoEventResponse for () {
    fn into_event_response(self) -> EventResponse {
        EventResponse::none()
    }
}

impl IntoEventResponse for EventResponse {
    fn into_event_response(self) -> EventResponse {
        self
    }
}

impl IntoEventResponse for Infallible {
    fn into_event_response(self) -> EventResponse {
        match self {}
    }
}

/// An answer that cannot be encoded is logged, and the client is told of an internal error.
impl<T: Serialize> IntoEventResponse for Ack<T> {
    fn into_event_response(self) -> EventResponse {
        match encode_args(&self.0) {
            Ok(args) => EventResponse(Repr::Ack(args)),
            Err(error) => EventError::internal(error).into(),
        }
    }
}

impl<T: IntoEventResponse, E: IntoEventResponse> IntoEventResponse for Result<T, E> {
    fn into_event_response(self) -> EventResponse {
        match self {
            Ok(value) => value.into_event_response(),
            Err(error) => error.into_event_response(),
        }
    }
}

impl IntoEventResponse for EventError {
    fn into_event_response(self) -> EventResponse {
        self.into()
    }
}

/// The error is an [`EventError`] with this message.
impl<T: IntoEventResponse> IntoEventResponse for Result<T, &'static str> {
    fn into_event_response(self) -> EventResponse {
        self.map_err(EventError::new).into_event_response()
    }
}

/// The error is an [`EventError`] with this message.
impl<T: IntoEventResponse> IntoEventResponse for Result<T, String> {
    fn into_event_response(self) -> EventResponse {
        self.map_err(EventError::new).into_event_response()
    }
}

/// An error that is told to a client that waits for an ack.
///
/// The ack's only argument is then `{"error":{"message":..,"data":..}}`; `data` is left out if there is none. Any
/// `std::error::Error` becomes one with `?`: it is logged, and the client reads "internal error".
#[derive(Debug, Clone, PartialEq)]
pub struct EventError {
    message: Cow<'static, str>,
    data: Option<Value>,
}

impl EventError {
    /// An error with this message.
    pub fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self { message: message.into(), data: None }
    }

    /// An error that is no business of the client's: it is logged, and the client reads "internal error".
    pub fn internal(error: impl fmt::Display) -> Self {
        log!(error, error = %error, "an event failed");
        Self::internal_message()
    }

    pub(crate) fn internal_message() -> Self {
        Self::new("internal error")
    }

    /// Adds data for the client.
    #[must_use]
    pub fn data(mut self, data: impl Into<Value>) -> Self {
        self.data = Some(data.into());
        self
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for EventError {
    fn from(error: E) -> Self {
        Self::internal(error)
    }
}

impl From<EventError> for EventResponse {
    fn from(error: EventError) -> Self {
        Self(Repr::Error(error))
    }
}

impl Serialize for EventError {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Outer<'a> {
            error: Inner<'a>,
        }
        #[derive(Serialize)]
        struct Inner<'a> {
            message: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            data: Option<&'a Value>,
        }
        let inner = Inner { message: &self.message, data: self.data.as_ref() };
        Outer { error: inner }.serialize(serializer)
    }
}

/// A layer's error is told to the client with the error's text, as on CONNECT.
impl FromError for EventResponse {
    fn from_error(error: &BoxError) -> Self {
        EventError::new(error.to_string()).into()
    }
}
