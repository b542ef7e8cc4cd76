//! Replaces `meters` without the feature `metrics`.

use crate::engine::{CloseCause, Packet, ProtocolVersion, RequestError, Transport};

#[derive(Debug)]
pub(crate) struct EngineMeters;

impl EngineMeters {
    pub(crate) fn new() -> Self {
        Self
    }

    pub(crate) fn opened(&self, _: Transport, _: ProtocolVersion) {}

    pub(crate) fn upgraded(&self, _: Transport, _: ProtocolVersion) {}

    pub(crate) fn closed(&self, _: Transport, _: ProtocolVersion, _: CloseCause) {}

    pub(crate) fn received(&self, _: Transport, _: &Packet) {}

    pub(crate) fn rejected_request(&self, _: &RequestError) {}

    pub(crate) fn panic(&self) {}
}

#[derive(Debug)]
pub(crate) struct SendMeter;

impl SendMeter {
    pub(crate) fn before(_: &EngineMeters, _: impl FnOnce() -> usize) -> Self {
        Self
    }

    pub(crate) fn take(&mut self, _: &EngineMeters, _: Transport, _: &Packet) {}

    pub(crate) fn bypassed(_: &EngineMeters, _: Transport, _: &[u8], _: &[Packet]) {}

    pub(crate) fn polled(self, _: &EngineMeters, _: &[Packet]) {}
}
