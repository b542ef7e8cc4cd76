//! The twin of `meters` without the feature `metrics`.

use crate::{
    connection::{Connection, SendError, Sent},
    engine::{CloseCause, Packet, Refusal},
    handler::EventResponse,
    namespace::EventRequest,
    packet::Encoded,
    room::Registry,
};

#[derive(Debug)]
pub(crate) struct ServerMeters;

impl ServerMeters {
    pub(crate) fn new() -> Self {
        Self
    }

    pub(crate) fn opened(&self, _: &Connection) {}

    pub(crate) fn upgraded(&self, _: &Connection) {}

    pub(crate) fn closed(&self, _: &Connection, _: CloseCause) {}

    pub(crate) fn received(&self, _: &Connection, _: &Packet) {}

    pub(crate) fn refused_request(&self, _: &Refusal) {}

    pub(crate) fn refused_connect(&self, _: &'static str) {}

    pub(crate) fn slow_client(&self) {}

    pub(crate) fn rejection(&self) {}

    pub(crate) fn panic(&self) {}
}

#[derive(Debug)]
pub(crate) struct OutboxDepth;

impl OutboxDepth {
    pub(crate) fn before(_: &Connection) -> Self {
        Self
    }

    pub(crate) fn take(&mut self, _: &Connection, _: &Packet) {}

    pub(crate) fn passed(_: &Connection, _: &[u8], _: &[Packet]) {}

    pub(crate) fn taken_by_poll(self, _: &Connection, _: &[Packet]) {}
}

#[derive(Debug)]
pub(crate) struct NamespaceMeters;

impl NamespaceMeters {
    pub(crate) fn new<'a>(_: &str, _: impl Iterator<Item = &'a str>) -> Self {
        Self
    }

    pub(crate) fn joined(&self) {}

    pub(crate) fn left(&self) {}

    pub(crate) fn sent(&self, _: SentKind, _: &Result<Sent, SendError>) {}

    pub(crate) fn rooms(&self, _: RoomChange) {}
}

#[derive(Debug)]
pub(crate) struct SentKind;

impl SentKind {
    pub(crate) fn of(_: &Encoded) -> Self {
        Self
    }
}

#[derive(Debug)]
pub(crate) struct RoomCount;

impl RoomCount {
    pub(crate) fn before<M>(_: &Registry<M>) -> Self {
        Self
    }

    pub(crate) fn after<M>(self, _: &Registry<M>) -> RoomChange {
        RoomChange
    }
}

#[derive(Debug)]
pub(crate) struct RoomChange;

#[derive(Debug, Clone)]
pub(super) struct ConnectMeter;

impl ConnectMeter {
    pub(super) fn start(_: &NamespaceMeters) -> Self {
        Self
    }

    pub(super) fn decided(&self, _: &str) {}
}

#[derive(Debug)]
pub(super) struct EventMeter;

impl EventMeter {
    pub(super) fn start(_: &EventRequest) -> Self {
        Self
    }

    pub(super) fn none() -> Self {
        Self
    }

    pub(super) fn end(&self, _: &EventResponse) {}
}
