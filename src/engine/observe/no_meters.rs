//! The twin of `meters` without the feature `metrics`.

use crate::engine::{CloseCause, Packet, Protocol, Refusal, Transport};

#[derive(Debug)]
pub(crate) struct EngineMeters;

impl EngineMeters {
    pub(crate) fn new() -> Self {
        Self
    }

    pub(crate) fn opened(&self, _: Transport, _: Protocol) {}

    pub(crate) fn upgraded(&self, _: Protocol) {}

    pub(crate) fn closed(&self, _: Transport, _: Protocol, _: CloseCause) {}

    pub(crate) fn received(&self, _: Transport, _: &Packet) {}

    pub(crate) fn refused_request(&self, _: &Refusal) {}

    pub(crate) fn panic(&self) {}
}

#[derive(Debug)]
pub(crate) struct OutboxDepth;

impl OutboxDepth {
    pub(crate) fn before(_: impl FnOnce() -> usize) -> Self {
        Self
    }

    pub(crate) fn take(&mut self, _: &EngineMeters, _: Transport, _: &Packet) {}

    pub(crate) fn passed(_: &EngineMeters, _: &[u8], _: &[Packet]) {}

    pub(crate) fn taken_by_poll(self, _: &EngineMeters, _: &[Packet]) {}
}
