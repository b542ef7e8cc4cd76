//! The handle to a server.

mod cluster;
mod namespace_ref;
mod operators;
mod pattern_ref;
mod server_side;
mod socket_io;

pub use self::{
    namespace_ref::NamespaceRef,
    pattern_ref::PatternRef,
    server_side::{ServerSideAcks, ServerSideEvent, ServerSideResponses},
    socket_io::{MissingSocketIo, SocketIo, Stats},
};
pub(crate) use self::{server_side::server_side_handler, socket_io::CURRENT_IO};
