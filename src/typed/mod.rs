//! Typed events: declared once, for the server and for TypeScript clients. Requires the feature `typed`.
//!
//! ```
//! use tower_socketio::{Ack, Namespace, SocketRef, typed::{Typed, TypeScript}};
//!
//! tower_socketio::events! {
//!     pub emit ServerToClientEvents {
//!         "joined" => Joined { user: String },
//!     }
//!     pub on ClientToServerEvents {
//!         "message" => Message { text: String } -> bool,
//!     }
//! }
//!
//! async fn message(socket: SocketRef, Typed(Message { text }): Typed<Message>) -> Ack<bool> {
//!     socket.broadcast().emit_event(&Joined { user: text }).ok();
//!     Ack(true)
//! }
//! let namespace: Namespace = Namespace::new().on_event(message);
//!
//! let text = TypeScript::new().events::<ServerToClientEvents>().events::<ClientToServerEvents>().to_string();
//! assert!(text.contains("joined: (user: string) => void;"));
//! assert!(text.contains("message: (text: string, callback: (answer: boolean) => void) => void;"));
//! ```
//!
//! * [`events!`](crate::events) declares the events that the server emits, and those that it handles.
//! * [`SocketRef::emit_event`](crate::SocketRef::emit_event) and methods of the same name emit them, and
//!   [`Namespace::on_event`](crate::Namespace::on_event) handles them. A wrong argument, a missing response or an event of the
//!   wrong direction does not compile.
//! * [`TypeScript`] generates the interfaces for `socket.io-client`, and `AsyncApi` (feature `asyncapi`) a document for clients in other
//!   languages.
//!
//! On the wire, typed events do not differ from others. See the [guide](crate::guide::typed_events).

#[cfg(feature = "asyncapi")]
mod asyncapi;
mod declare;
mod emit;
mod handler;
mod schema;
mod type_names;
mod types;
mod typescript;

use serde::{Serialize, de::DeserializeOwned};

#[cfg(feature = "asyncapi")]
pub use self::asyncapi::AsyncApi;
pub use self::{
    handler::{Answer, Typed, TypedHandler},
    schema::Direction,
    types::{AckType, ArgumentType, Binary, Fallible, NoAnswer},
    typescript::{EventSet, Interface, Parameter, TypeScript},
};
/// The crate that maps Rust types to JSON Schema.
#[cfg(feature = "asyncapi")]
pub use schemars;
/// The crate that maps Rust types to TypeScript.
pub use ts_rs;

/// A typed event: its name, arguments and response. Implemented by [`events!`](crate::events), or manually.
pub trait Event {
    /// The name of the event.
    const NAME: &'static str;

    /// A tuple of all arguments.
    type Args;

    /// The arguments of the ack, or [`NoAnswer`]. A tuple stands for several arguments, `()` for none, any other type for one. With
    /// [`Fallible`], the ack may be an [`EventError`](crate::EventError) instead.
    type Ack;
}

/// An event that the server emits.
///
/// ```
/// use serde::Serialize;
/// use tower_socketio::typed::{Event, NoAnswer, ServerEvent};
///
/// /// Borrows its argument.
/// struct Joined<'a> { user: &'a str }
///
/// impl Event for Joined<'_> {
///     const NAME: &'static str = "joined";
///     type Args = (String,);
///     type Ack = NoAnswer;
/// }
/// impl ServerEvent for Joined<'_> {
///     fn args(&self) -> impl Serialize {
///         (self.user,)
///     }
/// }
/// # fn doc(socket: tower_socketio::SocketRef) {
/// socket.emit_event(&Joined { user: "Ada" }).ok();
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event that the server emits",
    note = "declare it in an `emit` block of `tower_socketio::events!`"
)]
pub trait ServerEvent: Event {
    /// Returns the arguments, as a tuple that serializes like [`Event::Args`].
    fn args(&self) -> impl Serialize;
}

/// An event that clients emit.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event that clients emit",
    note = "declare it in an `on` block of `tower_socketio::events!`"
)]
pub trait ClientEvent: Event<Args: DeserializeOwned + Send> + Send + 'static {
    /// Creates the event from its arguments.
    fn from_args(args: Self::Args) -> Self;
}

/// An event declared by [`events!`](crate::events), in either direction. It is converted from and to its arguments.
///
/// With it, a `TestClient` emits events of clients, and returns those of the server.
pub trait DeclaredEvent: Event {
    /// Creates the event from its arguments.
    fn from_arguments(args: Self::Args) -> Self;

    /// Returns the arguments.
    fn into_arguments(self) -> Self::Args;
}

/// Used by the expansion of `events!`.
#[doc(hidden)]
pub mod private {
    pub use serde::Serialize;

    pub use super::schema::{Probe, WithSchema, WithoutSchema};

    /// Checks the names of a set at compile time. Each name is followed by the message of its error.
    pub const fn check_names(names: &[(&str, &str)]) {
        let mut i = 0;
        while i < names.len() {
            let (name, complaint) = names[i];
            assert!(!crate::packet::is_reserved(name.as_bytes()), "{}", complaint);
            let mut other = 0;
            while other < i {
                assert!(!equal(name, names[other].0), "{}", complaint);
                other += 1;
            }
            i += 1;
        }
    }

    const fn equal(a: &str, b: &str) -> bool {
        let (a, b) = (a.as_bytes(), b.as_bytes());
        if a.len() != b.len() {
            return false;
        }
        let mut i = 0;
        while i < a.len() {
            if a[i] != b[i] {
                return false;
            }
            i += 1;
        }
        true
    }
}
