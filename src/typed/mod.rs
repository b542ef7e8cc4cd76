//! Events that are declared once, for the server and for its TypeScript clients.
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
//! let namespace: Namespace = Namespace::new().on_event(message).with_state(());
//!
//! let text = TypeScript::new().events::<ServerToClientEvents>().events::<ClientToServerEvents>().to_string();
//! assert!(text.contains("joined: (user: string) => void;"));
//! assert!(text.contains("message: (text: string, callback: (answer: boolean) => void) => void;"));
//! ```
//!
//! * [`events!`](crate::events) declares them: what the server emits, and what it handles.
//! * [`SocketRef::emit_event`](crate::SocketRef::emit_event) and its like emit them,
//!   [`Namespace::on_event`](crate::Namespace::on_event) handles them: a wrong argument, a missing answer, or an event that
//!   goes in the other direction does not compile.
//! * [`TypeScript`] writes the interfaces that `socket.io-client` takes.
//!
//! On the wire they are events like any others. The [guide](crate::guide::typed_events) explains them at length.

mod declare;
mod emit;
mod handler;
mod type_names;
mod types;
mod typescript;

use serde::{Serialize, de::DeserializeOwned};

pub use self::{
    handler::{Answer, Typed, TypedHandler},
    types::{AckType, ArgumentType, Binary, Fallible, NoAnswer},
    typescript::{EventSet, Interface, Parameter, TypeScript},
};
/// The crate that says what a Rust type is in TypeScript.
pub use ts_rs;

/// An event: its name, and what goes with it. Made by [`events!`](crate::events), or by hand.
pub trait Event {
    /// The name.
    const NAME: &'static str;

    /// The arguments: a tuple of all of them.
    type Args;

    /// What the receiver answers: [`NoAnswer`], or the arguments of the ack. A tuple is several arguments, `()` is none,
    /// anything else one; [`Fallible`] may be an [`EventError`](crate::EventError) instead.
    type Ack;
}

/// An event that the server emits.
///
/// ```
/// use serde::Serialize;
/// use tower_socketio::typed::{Event, NoAnswer, ServerEvent};
///
/// /// Borrows what it emits.
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
    /// The arguments, as a tuple that serialises as [`Event::Args`].
    fn args(&self) -> impl Serialize;
}

/// An event that clients emit.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event that clients emit",
    note = "declare it in an `on` block of `tower_socketio::events!`"
)]
pub trait ClientEvent: Event<Args: DeserializeOwned + Send> + Send + 'static {
    /// Makes the event of its arguments.
    fn from_args(args: Self::Args) -> Self;
}

/// For the expansion of `events!`.
#[doc(hidden)]
pub mod private {
    pub use serde::Serialize;

    /// Checks the names of a set while it is compiled; each stands before the message that complains of it.
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
