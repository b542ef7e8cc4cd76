use std::{collections::HashMap, sync::Arc, time::Instant};

use foldhash::fast::RandomState;
use metrics::{Counter, Gauge, Histogram, Unit, counter, gauge, histogram};

use crate::{
    engine::{Packet, SendError, Sent},
    packet::Encoded,
    room::Registry,
};

/// The label of events without a handler of their own, whose names clients choose.
const ANY_EVENT: &str = "*";

/// What a server counts. The handles are made with the server: the recorder must be installed before.
#[derive(Debug)]
pub(crate) struct ServerMeters {
    refused_connects: Labelled,
    slow_clients: Counter,
    rejections: Counter,
}

/// Counters for the values of one label.
#[derive(Debug)]
struct Labelled(Vec<(&'static str, Counter)>);

impl Labelled {
    fn increment(&self, value: &str) {
        if let Some((_, counter)) = self.0.iter().find(|(known, _)| *known == value) {
            counter.increment(1);
        }
    }
}

/// Why a CONNECT is refused before any namespace is asked.
const REFUSED_CONNECTS: [&str; 4] = ["name_too_long", "too_many_namespaces", "too_much_auth", "unknown_namespace"];

impl ServerMeters {
    pub(crate) fn new() -> Self {
        describe();
        let refused = |result| (result, counter!("socketio_connects_total", "namespace" => "", "result" => result));
        Self {
            refused_connects: Labelled(REFUSED_CONNECTS.map(refused).into()),
            slow_clients: counter!("socketio_slow_clients_total"),
            rejections: counter!("socketio_event_rejections_total"),
        }
    }

    /// A CONNECT was refused before any namespace was asked.
    pub(crate) fn refused_connect(&self, result: &'static str) {
        self.refused_connects.increment(result);
    }

    pub(crate) fn slow_client(&self) {
        self.slow_clients.increment(1);
    }

    pub(crate) fn rejection(&self) {
        self.rejections.increment(1);
    }
}

/// What is counted for a namespace, by the name with which it was configured: all namespaces of a pattern are one.
#[derive(Debug)]
pub(crate) struct NamespaceMeters {
    name: Arc<str>,
    sockets: Gauge,
    rooms: Gauge,
    sent: Counter,
    connect_seconds: Histogram,
    /// Only looked up in: names that clients choose cannot crowd it.
    events: HashMap<Box<str>, Arc<EventMeters>, RandomState>,
    other_events: Arc<EventMeters>,
}

/// What is counted for an event.
#[derive(Debug)]
struct EventMeters {
    received: Counter,
    errors: Counter,
    seconds: Histogram,
}

impl EventMeters {
    fn new(namespace: &Arc<str>, event: &str) -> Arc<Self> {
        let labels = [("namespace", namespace.to_string()), ("event", event.to_owned())];
        Arc::new(Self {
            received: counter!("socketio_events_received_total", &labels),
            errors: counter!("socketio_event_errors_total", &labels),
            seconds: histogram!("socketio_event_duration_seconds", &labels),
        })
    }
}

impl NamespaceMeters {
    pub(crate) fn new<'a>(name: &str, events: impl Iterator<Item = &'a str>) -> Self {
        let name: Arc<str> = name.into();
        Self {
            sockets: gauge!("socketio_sockets", "namespace" => name.clone()),
            rooms: gauge!("socketio_rooms", "namespace" => name.clone()),
            sent: counter!("socketio_events_sent_total", "namespace" => name.clone()),
            connect_seconds: histogram!("socketio_connect_duration_seconds", "namespace" => name.clone()),
            events: events.map(|event| (event.into(), EventMeters::new(&name, event))).collect(),
            other_events: EventMeters::new(&name, ANY_EVENT),
            name,
        }
    }

    pub(crate) fn joined(&self) {
        self.sockets.increment(1.0);
    }

    pub(crate) fn left(&self) {
        self.sockets.decrement(1.0);
    }

    /// A packet was queued for a client. Acks are not counted.
    pub(crate) fn sent(&self, kind: SentKind, sent: &Result<Sent, SendError>) {
        if kind == SentKind::Counted && sent.as_ref().is_ok_and(|sent| sent.queued) {
            self.sent.increment(1);
        }
    }

    pub(crate) fn rooms(&self, change: RoomChange) {
        if change.0 != 0.0 {
            self.rooms.increment(change.0);
        }
    }
}

/// Whether a packet is counted when it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SentKind {
    Counted,
    Ack,
}

impl SentKind {
    pub(crate) fn of(packet: &Encoded) -> Self {
        let is_ack = |packet: &Packet| !packet.is_binary() && matches!(packet.data().first(), Some(b'3' | b'6'));
        if packet.packets().first().is_some_and(is_ack) { Self::Ack } else { Self::Counted }
    }
}

/// How many rooms a namespace had before something was done to it.
#[derive(Debug)]
pub(crate) struct RoomCount(usize);

#[derive(Debug, Clone, Copy)]
pub(crate) struct RoomChange(f64);

impl RoomCount {
    pub(crate) fn before<M>(registry: &Registry<M>) -> Self {
        Self(registry.rooms().len())
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge takes floats")]
    pub(crate) fn after<M>(self, registry: &Registry<M>) -> RoomChange {
        RoomChange(registry.rooms().len() as f64 - self.0 as f64)
    }
}

/// Measures a CONNECT.
#[derive(Debug, Clone)]
pub(super) struct ConnectMeter {
    namespace: Arc<str>,
    seconds: Histogram,
    started: Instant,
}

impl ConnectMeter {
    pub(super) fn start(meters: &NamespaceMeters) -> Self {
        let seconds = meters.connect_seconds.clone();
        Self { namespace: meters.name.clone(), seconds, started: Instant::now() }
    }

    pub(super) fn decided(&self, result: &str) {
        let labels = [("namespace", self.namespace.to_string()), ("result", result.to_owned())];
        counter!("socketio_connects_total", &labels).increment(1);
        self.seconds.record(self.started.elapsed());
    }
}

/// Counts and measures an event; `None` for what is no event of a client's.
#[derive(Debug)]
pub(super) struct EventMeter(Option<(Arc<EventMeters>, Instant)>);

impl EventMeter {
    pub(super) fn start<'a>(namespace: &NamespaceMeters, event: impl FnOnce() -> Option<&'a str>) -> Self {
        let Some(name) = event() else {
            return Self::none();
        };
        let meters = namespace.events.get(name).unwrap_or(&namespace.other_events).clone();
        meters.received.increment(1);
        Self(Some((meters, Instant::now())))
    }

    pub(super) fn none() -> Self {
        Self(None)
    }

    pub(super) fn end(&self, failed: bool) {
        if let Some((meters, started)) = &self.0 {
            meters.seconds.record(started.elapsed());
            if failed {
                meters.errors.increment(1);
            }
        }
    }
}

/// Registers the descriptions of the metrics.
fn describe() {
    use metrics::{describe_counter, describe_gauge, describe_histogram};
    describe_counter!("socketio_slow_clients_total", Unit::Count, "Packets that found no room for a client");
    describe_gauge!("socketio_sockets", Unit::Count, "Sockets that are connected");
    describe_gauge!("socketio_rooms", Unit::Count, "Rooms that somebody is in");
    describe_counter!("socketio_connects_total", Unit::Count, "CONNECTs that were answered, and how");
    describe_histogram!("socketio_connect_duration_seconds", Unit::Seconds, "How long a CONNECT took to be answered");
    describe_counter!("socketio_events_received_total", Unit::Count, "Events from clients");
    describe_counter!("socketio_events_sent_total", Unit::Count, "Events to clients, once for each recipient");
    describe_counter!("socketio_event_errors_total", Unit::Count, "Events that failed or were rejected");
    describe_counter!("socketio_event_rejections_total", Unit::Count, "Events that an extractor rejected");
    describe_histogram!("socketio_event_duration_seconds", Unit::Seconds, "How long a handler took to answer an event");
}
