use metrics::{Counter, Gauge, Histogram, Unit, counter, gauge, histogram};

use crate::engine::{CloseCause, Packet, Protocol, Refusal, Transport};

/// What an engine counts. The handles are made with the engine: the recorder must be installed before.
#[derive(Debug)]
pub(crate) struct EngineMeters {
    carriers: [Carrier; 3],
    upgrades: Counter,
    closed: Labelled,
    outbox: Histogram,
    refused_requests: [Counter; 6],
    panics: Counter,
}

/// What is counted for a transport.
#[derive(Debug)]
struct Carrier {
    /// By the revision of the protocol.
    revisions: [Revision; 2],
    received: Counter,
    sent: Counter,
}

#[derive(Debug)]
struct Revision {
    open: Gauge,
    opened: Counter,
}

/// Counters by the few values of one label.
#[derive(Debug)]
struct Labelled(Vec<(&'static str, Counter)>);

impl Labelled {
    fn increment(&self, value: &str) {
        if let Some((_, counter)) = self.0.iter().find(|(known, _)| *known == value) {
            counter.increment(1);
        }
    }
}

const REVISIONS: [&str; 2] = ["3", "4"];

/// Every cause; the details do not matter.
const CAUSES: [CloseCause; 7] = [
    CloseCause::PingTimeout,
    CloseCause::TransportClose,
    CloseCause::TransportError(""),
    CloseCause::ParseError(""),
    CloseCause::Forced(""),
    CloseCause::SlowClient,
    CloseCause::ShuttingDown,
];

fn carrier(transport: Transport) -> Carrier {
    let name = transport.as_str();
    Carrier {
        revisions: REVISIONS.map(|protocol| Revision {
            open: gauge!("socketio_connections", "transport" => name, "protocol" => protocol),
            opened: counter!("socketio_connections_opened_total", "transport" => name, "protocol" => protocol),
        }),
        received: counter!("socketio_received_bytes_total", "transport" => name),
        sent: counter!("socketio_sent_bytes_total", "transport" => name),
    }
}

impl EngineMeters {
    pub(crate) fn new() -> Self {
        describe();
        let closed = |cause: CloseCause| {
            (cause.as_str(), counter!("socketio_connections_closed_total", "reason" => cause.as_str()))
        };
        Self {
            carriers: [Transport::Polling, Transport::WebSocket, Transport::Custom].map(carrier),
            upgrades: counter!("socketio_upgrades_total"),
            closed: Labelled(CAUSES.map(closed).into()),
            outbox: histogram!("socketio_outbox_bytes"),
            refused_requests: ["0", "1", "2", "3", "4", "5"]
                .map(|code| counter!("socketio_requests_refused_total", "code" => code)),
            panics: counter!("socketio_panics_total"),
        }
    }

    fn carrier(&self, transport: Transport) -> &Carrier {
        &self.carriers[match transport {
            Transport::Polling => 0,
            Transport::WebSocket => 1,
            Transport::Custom => 2,
        }]
    }

    fn revision(&self, transport: Transport, protocol: Protocol) -> &Revision {
        &self.carrier(transport).revisions[match protocol {
            Protocol::V3 => 0,
            Protocol::V4 => 1,
        }]
    }

    pub(crate) fn opened(&self, transport: Transport, protocol: Protocol) {
        let revision = self.revision(transport, protocol);
        revision.open.increment(1.0);
        revision.opened.increment(1);
    }

    /// A connection has left long-polling for a WebSocket.
    pub(crate) fn upgraded(&self, protocol: Protocol) {
        self.revision(Transport::Polling, protocol).open.decrement(1.0);
        self.revision(Transport::WebSocket, protocol).open.increment(1.0);
        self.upgrades.increment(1);
    }

    pub(crate) fn closed(&self, transport: Transport, protocol: Protocol, cause: CloseCause) {
        self.revision(transport, protocol).open.decrement(1.0);
        self.closed.increment(cause.as_str());
    }

    pub(crate) fn received(&self, transport: Transport, packet: &Packet) {
        self.carrier(transport).received.increment(packet.len() as u64);
    }

    pub(crate) fn refused_request(&self, refusal: &Refusal) {
        if let Some(counter) = self.refused_requests.get(usize::from(refusal.code())) {
            counter.increment(1);
        }
    }

    pub(crate) fn panic(&self) {
        self.panics.increment(1);
    }
}

/// What waited in a client's outbox before some of it was taken out to be written.
#[derive(Debug)]
pub(crate) struct OutboxDepth(Option<usize>);

impl OutboxDepth {
    pub(crate) fn before(buffered_bytes: impl FnOnce() -> usize) -> Self {
        Self(Some(buffered_bytes()))
    }

    /// A packet goes out as a frame. The depth counts once for all that are taken together.
    pub(crate) fn take(&mut self, meters: &EngineMeters, transport: Transport, packet: &Packet) {
        self.taken(meters, transport, packet.len());
    }

    /// Frames go out past the outbox.
    pub(crate) fn passed(meters: &EngineMeters, text: &[u8], attachments: &[Packet]) {
        let bytes = text.len() + attachments.iter().map(Packet::len).sum::<usize>();
        Self(Some(0)).taken(meters, Transport::WebSocket, bytes);
    }

    pub(crate) fn taken_by_poll(mut self, meters: &EngineMeters, packets: &[Packet]) {
        self.taken(meters, Transport::Polling, packets.iter().map(Packet::len).sum());
    }

    #[expect(clippy::cast_precision_loss, reason = "a histogram takes floats")]
    fn taken(&mut self, meters: &EngineMeters, transport: Transport, bytes: usize) {
        if bytes > 0 {
            if let Some(depth) = self.0.take() {
                meters.outbox.record(depth as f64);
            }
            meters.carrier(transport).sent.increment(bytes as u64);
        }
    }
}

/// Tells the recorder what the names mean.
fn describe() {
    use metrics::{describe_counter, describe_gauge, describe_histogram};
    describe_gauge!("socketio_connections", Unit::Count, "Connections that are open");
    describe_counter!("socketio_connections_opened_total", Unit::Count, "Connections that were opened");
    describe_counter!("socketio_connections_closed_total", Unit::Count, "Connections that have ended, and why");
    describe_counter!("socketio_upgrades_total", Unit::Count, "Connections that moved from long-polling to WebSocket");
    describe_counter!("socketio_requests_refused_total", Unit::Count, "HTTP requests that were refused, by code");
    describe_counter!("socketio_received_bytes_total", Unit::Bytes, "Bytes of packets from clients");
    describe_counter!("socketio_sent_bytes_total", Unit::Bytes, "Bytes of packets to clients");
    describe_histogram!("socketio_outbox_bytes", Unit::Bytes, "What waited for a client when some of it was written");
    describe_counter!("socketio_panics_total", Unit::Count, "Handlers and layers that panicked");
}
