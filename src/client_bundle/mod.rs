//! Serves the files of the JavaScript client.

#[cfg(feature = "client-directory")]
mod directory;
#[cfg(feature = "client")]
mod embedded;
#[cfg(any(feature = "client", feature = "client-directory"))]
mod response;

use std::fmt;

use axum::{body::Body, response::Response};
use http::Request;

use crate::util::BoxFuture;

/// The source of the client files in the configuration.
#[derive(Debug, Clone, Default)]
pub(crate) enum ClientFiles {
    /// The files embedded in this crate.
    #[cfg(feature = "client")]
    #[default]
    Embedded,
    #[cfg(feature = "client-directory")]
    Directory(std::path::PathBuf),
    #[cfg_attr(not(feature = "client"), default)]
    Off,
}

/// The source of the client files in a server.
pub(crate) enum ClientBundle {
    #[cfg(feature = "client")]
    Embedded,
    #[cfg(feature = "client-directory")]
    Directory(tower_http::services::ServeDir),
    Off,
}

impl ClientBundle {
    pub(crate) fn new(files: &ClientFiles) -> Self {
        match files {
            #[cfg(feature = "client")]
            ClientFiles::Embedded => Self::Embedded,
            #[cfg(feature = "client-directory")]
            ClientFiles::Directory(path) => Self::Directory(directory::open(path)),
            ClientFiles::Off => Self::Off,
        }
    }

    pub(crate) fn is_served(&self) -> bool {
        !matches!(self, Self::Off)
    }

    /// Handles a request for a client file. Returns `None` if the name is not one.
    #[cfg_attr(not(any(feature = "client", feature = "client-directory")), expect(unused_variables))]
    pub(crate) fn serve<B>(&self, name: &str, request: &Request<B>) -> Option<BoxFuture<Response<Body>>> {
        match self {
            #[cfg(feature = "client")]
            Self::Embedded => embedded::serve(name, request),
            #[cfg(feature = "client-directory")]
            Self::Directory(directory) => directory::serve(directory, name, request),
            Self::Off => None,
        }
    }
}

impl fmt::Debug for ClientBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBundle").finish_non_exhaustive()
    }
}
