//! Event handlers: async functions of extractors.

mod event_handler;
mod listen;

/// Used by the expansion of `debug_handler`.
#[cfg(feature = "macros")]
#[doc(hidden)]
pub mod private {
    pub use crate::extract::FromEvent;
    pub use axum::{
        extract::{FromRequest, FromRequestParts},
        response::IntoResponse,
    };
}

pub(crate) use self::event_handler::assert_reads_arguments_once;
pub use self::event_handler::{EventHandler, HandlerService, Layered};
