use crate::engine::CloseCause;

/// Why a transport failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct TransportError {
    detail: &'static str,
    parse: bool,
}

impl TransportError {
    /// The connection broke, or the rules of the transport were broken: the sockets are disconnected with "transport
    /// error" and this detail.
    #[must_use]
    pub const fn new(detail: &'static str) -> Self {
        Self { detail, parse: false }
    }

    /// What arrived is no Engine.IO packet: the sockets are disconnected with "parse error" and this detail.
    #[must_use]
    pub const fn parse(detail: &'static str) -> Self {
        Self { detail, parse: true }
    }

    pub(crate) fn cause(self) -> CloseCause {
        if self.parse { CloseCause::ParseError(self.detail) } else { CloseCause::TransportError(self.detail) }
    }
}
