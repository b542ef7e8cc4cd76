//! Logging. Compiles to nothing without the feature `tracing`.

/// Emits a `tracing` event: `log!(level, key = %value, .., "message")`. Never log payloads, auth data or session ids.
macro_rules! log {
    ($level:ident, $($key:ident = %$value:expr,)* $message:literal) => {{
        #[cfg(feature = "tracing")]
        tracing::$level!($($key = %$value,)* $message);
        #[cfg(not(feature = "tracing"))]
        let _ = ($(&$value,)*);
    }};
}

pub(crate) use log;
