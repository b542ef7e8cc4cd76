//! Logging that compiles to nothing without the `tracing` feature.

/// `log!(level, key = %value, .., "message")`. Payloads, auth data and session ids are never logged.
macro_rules! log {
    ($level:ident, $($key:ident = %$value:expr,)* $message:literal) => {{
        #[cfg(feature = "tracing")]
        tracing::$level!($($key = %$value,)* $message);
        #[cfg(not(feature = "tracing"))]
        let _ = ($(&$value,)*);
    }};
}

pub(crate) use log;
