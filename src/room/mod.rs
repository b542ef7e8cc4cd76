//! Rooms, their members, and the recipients of broadcasts. Works on ids and handles, not on sockets.

mod id;
mod name;
mod registry;

#[cfg(any(test, fuzzing))]
pub(crate) use self::registry::model::run as check_registry;
pub(crate) use self::registry::{Handle, MemberId, Recipients, Registry, Selection};
pub use self::{
    id::SocketId,
    name::{IntoRooms, Room, Rooms},
};
