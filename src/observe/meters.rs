use std::{collections::HashMap, sync::Arc, time::Instant};

use foldhash::fast::RandomState;
use metrics::{Counter, Gauge, Histogram, Unit, counter, gauge, histogram};

use crate::{
    cluster::ClusterErrorKind,
    engine::{Packet, SendError, Sent, has_recorder},
    packet::Encoded,
    room::Registry,
};

/// The label of events without a handler. Clients choose their names, so they must not become labels.
const ANY_EVENT: &str = "*";

/// The metrics of a server. The handles are created with the server, so the recorder must be installed before.
#[derive(Debug)]
pub(crate) struct ServerMeters {
    refused_connects: Labelled,
    slow_clients: Counter,
    rejections: Counter,
}

/// Counters, one for each value of a label.
#[derive(Debug)]
struct Labelled(Vec<(&'static str, Counter)>);

impl Labelled {
    fn increment(&self, value: &str) {
        if let Some((_, counter)) = self.0.iter().find(|(known, _)| *known == value) {
            counter.increment(1);
        }
    }
}

/// The reasons for rejecting a CONNECT before its namespace has been found.
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

    /// Counts a CONNECT that was rejected before its namespace was found.
    pub(crate) fn refused_connect(&self, result: &'static str) {
        self.refused_connects.increment(result);
    }

    pub(crate) fn slow_client(&self) {
        self.slow_clients.increment(1);
    }

    pub(crate) fn rejection(&self) {
        self.rejections.increment(1);
    }

    /// Counts a failure of the cluster. Created on demand, because most servers are not part of one.
    pub(crate) fn cluster_error(kind: ClusterErrorKind) {
        let label = match kind {
            ClusterErrorKind::Disconnected => "disconnected",
            ClusterErrorKind::Lost { count } => {
                counter!("socketio_cluster_lost_messages_total").increment(count);
                "lost"
            }
            ClusterErrorKind::Missed => "missed",
            ClusterErrorKind::Malformed => "malformed",
            ClusterErrorKind::Rejected => "rejected",
            ClusterErrorKind::Timeout { .. } => "timeout",
            ClusterErrorKind::Config => "config",
        };
        counter!("socketio_cluster_errors_total", "kind" => label).increment(1);
    }
}

/// The metrics of a namespace. All namespaces of a pattern share them.
#[derive(Debug)]
pub(crate) struct NamespaceMeters {
    is_recorded: bool,
    name: Arc<str>,
    sockets: Gauge,
    rooms: Gauge,
    sent: Counter,
    connect_seconds: Histogram,
    /// A fast hasher is safe: clients only look up names and cannot add any.
    events: HashMap<Box<str>, Arc<EventMeters>, RandomState>,
    other_events: Arc<EventMeters>,
}

/// The metrics of an event.
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
            is_recorded: has_recorder(),
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

    /// Returns `true` if there was a recorder when the server was created.
    #[inline]
    pub(super) fn is_recorded(&self) -> bool {
        self.is_recorded
    }

    /// Returns whether a packet is counted.
    #[inline]
    pub(crate) fn kind_of(&self, packet: &Encoded) -> SentKind {
        if self.is_recorded { SentKind::of(packet) } else { SentKind::Uncounted }
    }

    /// Counts a packet that was queued for a client.
    #[inline]
    pub(crate) fn sent(&self, kind: SentKind, sent: &Result<Sent, SendError>) {
        if kind == SentKind::Counted {
            self.count_sent(sent);
        }
    }

    #[inline(never)]
    fn count_sent(&self, sent: &Result<Sent, SendError>) {
        if sent.as_ref().is_ok_and(|sent| sent.queued) {
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
    /// An ack, or any packet if there is no recorder.
    Uncounted,
}

impl SentKind {
    #[inline(never)]
    fn of(packet: &Encoded) -> Self {
        let is_ack = |packet: &Packet| !packet.is_binary() && matches!(packet.data().first(), Some(b'3' | b'6'));
        if packet.packets().first().is_some_and(is_ack) { Self::Uncounted } else { Self::Counted }
    }
}

/// The number of rooms of a namespace before a change.
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
pub(super) struct ConnectMeter(Option<StartedConnect>);

#[derive(Debug, Clone)]
struct StartedConnect {
    namespace: Arc<str>,
    seconds: Histogram,
    started: Instant,
}

impl ConnectMeter {
    pub(super) fn start(meters: &NamespaceMeters) -> Self {
        Self(meters.is_recorded.then(|| StartedConnect {
            namespace: meters.name.clone(),
            seconds: meters.connect_seconds.clone(),
            started: Instant::now(),
        }))
    }

    pub(super) fn decided(&self, result: &str) {
        let Some(StartedConnect { namespace, seconds, started }) = &self.0 else { return };
        let labels = [("namespace", namespace.to_string()), ("result", result.to_owned())];
        counter!("socketio_connects_total", &labels).increment(1);
        seconds.record(started.elapsed());
    }
}

/// Measures an event. `None` for handlers of disconnections and for outgoing events.
#[derive(Debug)]
pub(super) struct EventMeter(Option<(Arc<EventMeters>, Instant)>);

impl EventMeter {
    pub(super) fn start<'a>(namespace: &NamespaceMeters, event: impl FnOnce() -> Option<&'a str>) -> Self {
        if !namespace.is_recorded {
            return Self::none();
        }
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

/// Registers descriptions with the recorder.
fn describe() {
    use metrics::{describe_counter, describe_gauge, describe_histogram};
    describe_counter!(
        "socketio_slow_clients_total",
        Unit::Count,
        "Packets that did not fit into the send buffer of their client"
    );
    describe_counter!("socketio_cluster_errors_total", Unit::Count, "Failures of the cluster by kind");
    describe_counter!("socketio_cluster_lost_messages_total", Unit::Count, "Messages to other nodes that were lost");
    describe_gauge!("socketio_sockets", Unit::Count, "Connected sockets");
    describe_gauge!("socketio_rooms", Unit::Count, "Rooms with at least one socket");
    describe_counter!("socketio_connects_total", Unit::Count, "Answered CONNECT packets by result");
    describe_histogram!("socketio_connect_duration_seconds", Unit::Seconds, "Time until a CONNECT packet was answered");
    describe_counter!("socketio_events_received_total", Unit::Count, "Events from clients");
    describe_counter!("socketio_events_sent_total", Unit::Count, "Events to clients, counted for each recipient");
    describe_counter!("socketio_event_errors_total", Unit::Count, "Events that failed or were rejected");
    describe_counter!("socketio_event_rejections_total", Unit::Count, "Events that an extractor rejected");
    describe_histogram!(
        "socketio_event_duration_seconds",
        Unit::Seconds,
        "Time until the handler of an event completed"
    );
}
