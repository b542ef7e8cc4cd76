//! The configuration of an engine.

mod client_address;
mod connection_error;
mod engine_io;
mod hooks;
mod origins;
#[cfg(feature = "permessage-deflate")]
mod per_message_deflate;
mod session_cookie;
mod setters;

#[cfg(feature = "permessage-deflate")]
pub use self::per_message_deflate::PerMessageDeflate;
pub use self::{
    client_address::ClientAddress,
    connection_error::ConnectionError,
    engine_io::EngineIoConfig,
    origins::Origins,
    session_cookie::{SameSite, SessionCookie},
};
pub(crate) use self::{
    connection_error::{Rejection, UpgradeError},
    engine_io::ConnectionTimeouts,
    setters::engine_settings,
};
