//! Replaces `meters` without the feature `metrics`.

use crate::{
    cluster::ClusterErrorKind,
    engine::{SendError, Sent},
    packet::Encoded,
    room::Registry,
};

#[derive(Debug)]
pub(crate) struct ServerMeters;

impl ServerMeters {
    pub(crate) fn new() -> Self {
        Self
    }

    pub(crate) fn refused_connect(&self, _: &'static str) {}

    pub(crate) fn slow_client(&self) {}

    pub(crate) fn rejection(&self) {}

    pub(crate) fn cluster_error(_: ClusterErrorKind) {}
}

#[derive(Debug)]
pub(crate) struct NamespaceMeters;

impl NamespaceMeters {
    pub(crate) fn new<'a>(_: &str, _: impl Iterator<Item = &'a str>) -> Self {
        Self
    }

    pub(crate) fn joined(&self) {}

    pub(crate) fn left(&self) {}

    pub(super) fn is_recorded(&self) -> bool {
        false
    }

    pub(crate) fn kind_of(&self, _: &Encoded) -> SentKind {
        SentKind
    }

    pub(crate) fn sent(&self, _: SentKind, _: &Result<Sent, SendError>) {}

    pub(crate) fn rooms(&self, _: RoomChange) {}
}

#[derive(Debug)]
pub(crate) struct SentKind;

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
    pub(super) fn start<'a>(_: &NamespaceMeters, _: impl FnOnce() -> Option<&'a str>) -> Self {
        Self
    }

    pub(super) fn none() -> Self {
        Self
    }

    pub(super) fn end(&self, _: bool) {}
}
