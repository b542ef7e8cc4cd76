use std::{net::SocketAddr, time::SystemTime};

use axum::extract::ConnectInfo;
use http::{Extensions, HeaderMap, Method, Uri, request::Parts};
use hyper::upgrade::OnUpgrade;

/// The HTTP request that opened a connection.
#[derive(Debug)]
pub(crate) struct ConnectionRequest {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) extensions: Extensions,
    pub(crate) time: SystemTime,
}

impl ConnectionRequest {
    pub(crate) fn new(mut parts: Parts) -> Self {
        parts.extensions.remove::<OnUpgrade>();
        Self {
            method: parts.method,
            uri: parts.uri,
            headers: parts.headers,
            extensions: parts.extensions,
            time: SystemTime::now(),
        }
    }

    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0)
    }
}
