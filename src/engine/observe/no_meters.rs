//! Replaces `meters` without the feature `metrics`.

use crate::engine::{CloseCause, Connection, Packet, ProtocolVersion, RequestError, Transport};

#[derive(Debug)]
pub(crate) struct EngineMeters;

impl EngineMeters {
    pub(crate) fn new() -> Self {
        Self
    }

    pub(crate) fn opened(&self, _: Transport, _: ProtocolVersion) {}

    pub(crate) fn upgraded(&self, _: ProtocolVersion) {}

    pub(crate) fn closed(&self, _: Transport, _: ProtocolVersion, _: CloseCause) {}

    pub(crate) fn received(&self, _: &Connection, _: &Packet) {}

    pub(crate) fn rejected_request(&self, _: &RequestError) {}

    pub(crate) fn panic(&self) {}
}

#[derive(Debug)]
pub(crate) struct SendMeter;

impl SendMeter {
    pub(crate) fn before(_: &Connection) -> Self {
        Self
    }

    pub(crate) fn take(&mut self, _: &Connection, _: &Packet) {}

    pub(crate) fn bypassed(_: &Connection, _: &[u8], _: &[Packet]) {}

    pub(crate) fn polled(self, _: &Connection, _: &[Packet]) {}
}
