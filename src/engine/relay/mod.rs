//! HTTP requests that one node passes to another: those of a session that a load balancer sends to a node that does not have it.
//!
//! The node that got the request, the *asker*, begins an [`Exchange`] with the *owner* of the session, which the id of the session
//! names. An exchange is an HTTP request and its response: two heads, and a stream of bytes in each direction. The streams are the
//! bodies. If the response opens a WebSocket, they are the bytes of the connection from then on, as on an HTTP/2 stream: the asker
//! neither reads nor writes frames.
//!
//! ```text
//!   asker                                    owner
//!     │ Begin: head, first bytes               │
//!     ├───────────────────────────────────────▶│  runs the request like those of its own
//!     │                                 Accept │
//!     │◀───────────────────────────────────────┤  if the response takes a while
//!     │ Data, Credit                           │
//!     │◀──────────────────────────────────────▶│
//!     │ Check                                  │
//!     ├───────────────────────────────────────▶│  nothing has been heard for a while; `Accept` or `Reset` follows
//!     │                Head: head, first bytes │
//!     │◀───────────────────────────────────────┤
//! ```
//!
//! * Each stream has a window of [`WINDOW`] bytes. Its sender waits for `Credit`, so that no queue grows.
//! * `Data` has its offset: a message that was lost breaks the exchange, and is not mistaken for a shorter stream. `Check` and `Accept`
//!   have the offset that the sender has reached, and repeat its `Credit`, because the last message may have been lost.
//! * Either node sends `Reset` when it drops an exchange that is not complete. The other one then treats the connection of the client
//!   as lost.

mod body;
mod exchange;
mod line;
mod message;
mod node_id;
mod shared;
mod table;

pub(crate) use self::{
    body::RelayedBody,
    exchange::Tunnel,
    line::Line,
    message::{Malformed, RequestHead, ResponseHead},
    node_id::NodeId,
    shared::{Exchange, Relay},
};

#[cfg(any(test, fuzzing))]
pub(crate) use self::message::fuzz;
