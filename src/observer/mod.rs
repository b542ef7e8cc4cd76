//! Observing a server: its connections, sockets, rooms, events and packets.

mod observe;
mod recorder;
mod script;

pub(crate) use self::observe::tell;
#[cfg(feature = "test-util")]
pub(crate) use self::script::redact;
pub use self::{
    observe::{ObservedEvent, Observer},
    recorder::Recorder,
    script::{Script, ScriptError},
};
