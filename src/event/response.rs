use std::{borrow::Cow, convert::Infallible, error::Error, fmt, sync::Arc};

use axum::{
    BoxError,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use serde::Serialize;
use serde_json::Value;

use crate::{
    packet::{EncodedArgs, encode_args},
    util::{FromError, log},
};

/// A response that sends an ack. A tuple is sent as several arguments, other types as one.
///
/// ```
/// use tower_socketio::{Ack, extract::Data};
///
/// async fn add(Data((a, b)): Data<(i64, i64)>) -> Ack<i64> {
///     Ack(a + b)
/// }
/// # let _: tower_socketio::Namespace = tower_socketio::Namespace::new().on("add", add);
/// ```
///
/// In JavaScript, `emitWithAck` resolves to the first argument only, while a callback gets all of them. To return several values
/// to `emitWithAck`, use a struct, an array, or a tuple as one argument: `Ack(((a, b),))`.
///
/// If the client did not request an ack, the value is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ack<T>(pub T);

/// The response of an event handler or layer.
///
/// ```
/// use tower_socketio::{Ack, event::{EventResponse, IntoEventResponse}};
///
/// let response: EventResponse = Ack("delivered").into_event_response();
/// # let _ = response;
/// ```
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
    /// Creates a response without an ack. A client that requested one keeps waiting.
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

    /// Returns the arguments of the ack, if there is one.
    pub(crate) fn into_args(self) -> Option<EncodedArgs> {
        match self.0 {
            Repr::None => None,
            Repr::Ack(args) => Some(args),
            Repr::Error(error) => encode_args(&error).ok(),
        }
    }

    /// Returns the length of the ack in bytes.
    pub(crate) fn len(&self) -> usize {
        match &self.0 {
            Repr::None => 0,
            Repr::Ack(args) => args.len(),
            Repr::Error(error) => error.to_string().len(),
        }
    }

    /// Copies the response. Attachments are copied too, because they may be slices of larger buffers, and what an error logs is not.
    pub(crate) fn detached(&self) -> Self {
        match &self.0 {
            Repr::None => Self::none(),
            Repr::Ack(args) => Self(Repr::Ack(args.detached())),
            Repr::Error(error) => Self(Repr::Error(EventError { cause: None, ..error.clone() })),
        }
    }

    /// Drops the ack if an `AckSender` was extracted, which sends it instead.
    pub(crate) fn unless_answered(self, ack_taken: bool) -> Self {
        if ack_taken && matches!(self.0, Repr::Ack(_)) {
            log!(warn, "a handler with an `AckSender` returned an `Ack`, which is dropped");
            return Self::none();
        }
        self
    }
}

/// A type that event handlers can return.
///
/// * `()` sends no ack. As in Node, a client that requested one keeps waiting.
/// * [`Ack`] sends an ack. `None` of an `Option<Ack<T>>` sends none.
/// * [`EventError`] sends an ack with an error.
/// * A `Result` sends what its variant sends. The error may also be a string or your own type. A string alone is not a response,
///   because it could be meant as a success.
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
    /// Converts the value to a response.
    fn into_event_response(self) -> EventResponse;

    /// Returns `true` for the rejection of an extractor that is expected, so that it is not logged as a warning.
    #[doc(hidden)]
    fn is_ordinary(&self) -> bool {
        false
    }
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

/// If the value cannot be encoded, the error is logged, and the client gets the error "internal error".
impl<T: Serialize> IntoEventResponse for Ack<T> {
    fn into_event_response(self) -> EventResponse {
        match encode_args(&self.0) {
            Ok(args) => EventResponse(Repr::Ack(args)),
            Err(error) => EventError::internal(error).into(),
        }
    }
}

/// `None` sends no ack. As with `()`, a client that requested one keeps waiting.
impl<T: Serialize> IntoEventResponse for Option<Ack<T>> {
    fn into_event_response(self) -> EventResponse {
        self.map_or_else(EventResponse::none, Ack::into_event_response)
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

/// Sends an [`EventError`] with this message.
impl<T: IntoEventResponse> IntoEventResponse for Result<T, &'static str> {
    fn into_event_response(self) -> EventResponse {
        self.map_err(EventError::new).into_event_response()
    }
}

/// Sends an [`EventError`] with this message.
impl<T: IntoEventResponse> IntoEventResponse for Result<T, String> {
    fn into_event_response(self) -> EventResponse {
        self.map_err(EventError::new).into_event_response()
    }
}

/// An error that is sent to a client that requested an ack.
///
/// The ack has one argument, `{"error":{"message":..,"data":..}}`, without `data` if there is none.
///
/// `?` converts any error, also `anyhow::Error` and `eyre::Report`, as [`internal`](Self::internal) does: the error is logged with
/// its causes, and the client gets the message "internal error". This includes strings: to send the text of a `Result<_, String>`, use
/// `.map_err(EventError::new)?`.
///
/// ```
/// use tower_socketio::{Ack, EventError, extract::Data};
///
/// async fn rename(Data(name): Data<String>) -> Result<Ack<()>, EventError> {
///     if name.is_empty() {
///         return Err(EventError::new("a name is required").data("name"));
///     }
///     std::fs::write("name.txt", name)?; // the client gets "internal error"
///     Ok(Ack(()))
/// }
/// # let _: tower_socketio::Namespace = tower_socketio::Namespace::new().on("rename", rename);
/// ```
///
/// It is also a response of [`on_connect`](crate::Namespace::on_connect), which rejects the client: with the status 500 if it was
/// converted from an error, otherwise with 400.
///
/// Two errors are equal if clients cannot tell them apart.
#[derive(Debug, Clone)]
pub struct EventError {
    message: Cow<'static, str>,
    data: Option<Value>,
    /// The error that is logged, and that the client must not see.
    cause: Option<Arc<dyn Error + Send + Sync>>,
}

impl PartialEq for EventError {
    fn eq(&self, other: &Self) -> bool {
        self.message == other.message && self.data == other.data
    }
}

impl EventError {
    /// Creates an error with a message for the client.
    pub fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self { message: message.into(), data: None, cause: None }
    }

    /// Creates an error whose details the client must not see. The client gets the message "internal error". When the handler has
    /// returned it, `error` is logged with its causes, the event, the namespace and the id of the socket.
    pub fn internal(error: impl Into<BoxError>) -> Self {
        Self { cause: Some(error.into().into()), ..Self::internal_message() }
    }

    /// Returns the error that the client must not see.
    pub(crate) fn cause(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }

    pub(crate) fn internal_message() -> Self {
        Self::new("internal error")
    }

    /// Sets data for the client, a value that serde can write as JSON. A value that it cannot write, such as a map whose keys are
    /// lists, is logged and left out.
    #[must_use]
    pub fn data(mut self, data: impl Serialize) -> Self {
        self.data = match serde_json::to_value(&data) {
            Ok(data) => Some(data),
            Err(error) => {
                log!(error, error = %error, "the data of an error cannot be serialized");
                None
            }
        };
        self
    }

    pub(crate) fn from_parts(message: Cow<'static, str>, data: Option<Value>) -> Self {
        Self { message, data, cause: None }
    }

    pub(crate) fn into_parts(self) -> (Cow<'static, str>, Option<Value>) {
        (self.message, self.data)
    }

    /// Returns the message.
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

impl<E: Into<BoxError>> From<E> for EventError {
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
        Outer { error: Inner::new(self) }.serialize(serializer)
    }
}

/// What the client gets of an error.
#[derive(Serialize)]
struct Inner<'a> {
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Value>,
}

impl<'a> Inner<'a> {
    fn new(error: &'a EventError) -> Self {
        Self { message: &error.message, data: error.data.as_ref() }
    }
}

impl IntoResponse for EventError {
    fn into_response(self) -> Response {
        let status = if self.cause.is_some() { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::BAD_REQUEST };
        let content_type = [(header::CONTENT_TYPE, "application/json")];
        let body = serde_json::to_vec(&Inner::new(&self)).unwrap_or_default();
        let mut response = (status, content_type, body).into_response();
        if let Some(cause) = self.cause {
            response.extensions_mut().insert(FailureCause(cause));
        }
        response
    }
}

/// The error that made `on_connect` fail, as an extension of its response.
#[derive(Clone)]
pub(crate) struct FailureCause(pub(crate) Arc<dyn Error + Send + Sync>);

/// The error of a layer is sent to the client with its text, as for CONNECT.
impl FromError for EventResponse {
    fn from_error(error: &BoxError) -> Self {
        EventError::new(error.to_string()).into()
    }
}
