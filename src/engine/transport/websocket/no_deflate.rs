//! Replaces `deflate` without the feature `permessage-deflate`: nothing is ever agreed on.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};

use crate::engine::{EngineIoConfig, Frame, Packet, WireFormat};

#[derive(Debug, Clone, Copy, Default)]
pub(in crate::engine::transport) struct Deflate;

impl Deflate {
    pub(in crate::engine::transport) fn negotiate(_: &EngineIoConfig, _: &HeaderMap) -> (Self, Option<HeaderValue>) {
        (Self, None)
    }

    #[expect(clippy::unused_self, reason = "as with the feature")]
    pub(super) fn is_agreed(&self) -> bool {
        false
    }

    #[expect(clippy::unused_self, reason = "as with the feature")]
    pub(super) fn applies_to(&self, _: usize) -> bool {
        false
    }

    #[expect(clippy::unused_self, reason = "as with the feature")]
    pub(super) fn compress(&mut self, _: &Packet, _: &WireFormat) -> Option<Frame> {
        None
    }

    #[expect(clippy::unused_self, reason = "as with the feature")]
    pub(super) fn ends_turn(&mut self) -> bool {
        false
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InflateError {
    Corrupt,
    #[allow(dead_code, reason = "without compression nothing is inflated")]
    TooLarge,
}

pub(super) fn inflate(_: &[u8], _: usize) -> Result<Bytes, InflateError> {
    Err(InflateError::Corrupt)
}
