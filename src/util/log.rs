//! Logging. Compiles to nothing without the feature `tracing`.

use std::{error::Error, fmt};

/// Emits a `tracing` event: `log!(level, key = %value, .., "message")`. Never log payloads, auth data or session ids.
///
/// The target is the crate and not the module, so that filters that disable spans, such as `tower_socketio::event=off`, do not apply.
macro_rules! log {
    ($level:ident, $($key:ident = %$value:expr,)* $message:literal) => {{
        #[cfg(feature = "tracing")]
        tracing::$level!(target: "tower_socketio", $($key = %$value,)* $message);
        #[cfg(not(feature = "tracing"))]
        let _ = ($(&$value,)*);
    }};
}

pub(crate) use log;

/// Prints an error with its causes.
pub(crate) struct Chain<'a>(pub(crate) &'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut error = self.0;
        write!(f, "{error}")?;
        while let Some(cause) = error.source() {
            write!(f, ": {cause}")?;
            error = cause;
        }
        Ok(())
    }
}
