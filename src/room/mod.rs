//! Who is in which room, and who receives a broadcast. Pure: it knows ids and handles, no sockets.

mod name;
mod registry;

pub use self::name::{IntoRooms, Room};
pub(crate) use self::registry::{MemberId, Recipients, Registry, Selection};
