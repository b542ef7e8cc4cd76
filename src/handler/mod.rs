//! Event handlers: async functions of extractors.

mod event_handler;
mod listen;

pub use self::event_handler::{EventHandler, HandlerService, Layered};
