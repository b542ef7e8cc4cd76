use metrics::{Counter, Gauge, Histogram, Unit, counter, gauge, histogram};

use crate::engine::{CloseCause, Packet, ProtocolVersion, RequestError, Transport};

/// The metrics of an engine. The handles are created with the engine, so the recorder must be installed before.
#[derive(Debug)]
pub(crate) struct EngineMeters {
    is_recorded: bool,
    transports: [TransportMeters; 4],
    /// By WebSocket and by WebTransport.
    upgrades: [Counter; 2],
    closed: Labelled,
    outbox: Histogram,
    refused_requests: [Counter; 6],
    panics: Counter,
}

/// The metrics of a transport.
#[derive(Debug)]
struct TransportMeters {
    /// Indexed by the revision of the protocol.
    revisions: [Revision; 2],
    received: Counter,
    sent: Counter,
}

#[derive(Debug)]
struct Revision {
    open: Gauge,
    opened: Counter,
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

const REVISIONS: [&str; 2] = ["3", "4"];

/// All causes. The details are ignored.
const CAUSES: [CloseCause; 7] = [
    CloseCause::PingTimeout,
    CloseCause::TransportClose,
    CloseCause::TransportError(""),
    CloseCause::ParseError(""),
    CloseCause::Forced(""),
    CloseCause::SlowClient,
    CloseCause::ShuttingDown,
];

fn transport_meters(transport: Transport) -> TransportMeters {
    let name = transport.as_str();
    TransportMeters {
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
            is_recorded: has_recorder(),
            transports: [Transport::Polling, Transport::WebSocket, Transport::WebTransport, Transport::Custom]
                .map(transport_meters),
            upgrades: [Transport::WebSocket, Transport::WebTransport]
                .map(|transport| counter!("socketio_upgrades_total", "transport" => transport.as_str())),
            closed: Labelled(CAUSES.map(closed).into()),
            outbox: histogram!("socketio_outbox_bytes"),
            refused_requests: ["0", "1", "2", "3", "4", "5"]
                .map(|code| counter!("socketio_requests_refused_total", "code" => code)),
            panics: counter!("socketio_panics_total"),
        }
    }

    fn transport(&self, transport: Transport) -> &TransportMeters {
        &self.transports[match transport {
            Transport::Polling => 0,
            Transport::WebSocket => 1,
            Transport::WebTransport => 2,
            Transport::Custom => 3,
        }]
    }

    fn revision(&self, transport: Transport, protocol: ProtocolVersion) -> &Revision {
        &self.transport(transport).revisions[match protocol {
            ProtocolVersion::V3 => 0,
            ProtocolVersion::V4 => 1,
        }]
    }

    pub(crate) fn opened(&self, transport: Transport, protocol: ProtocolVersion) {
        let revision = self.revision(transport, protocol);
        revision.open.increment(1.0);
        revision.opened.increment(1);
    }

    /// Records an upgrade from long-polling.
    pub(crate) fn upgraded(&self, transport: Transport, protocol: ProtocolVersion) {
        self.revision(Transport::Polling, protocol).open.decrement(1.0);
        self.revision(transport, protocol).open.increment(1.0);
        self.upgrades[transport.probe_index()].increment(1);
    }

    pub(crate) fn closed(&self, transport: Transport, protocol: ProtocolVersion, cause: CloseCause) {
        self.revision(transport, protocol).open.decrement(1.0);
        self.closed.increment(cause.as_str());
    }

    #[inline]
    pub(crate) fn received(&self, transport: Transport, packet: &Packet) {
        if self.is_recorded {
            self.count_received(transport, packet);
        }
    }

    #[inline(never)]
    fn count_received(&self, transport: Transport, packet: &Packet) {
        self.transport(transport).received.increment(packet.len() as u64);
    }

    pub(crate) fn rejected_request(&self, error: &RequestError) {
        if let Some(counter) = self.refused_requests.get(usize::from(error.code())) {
            counter.increment(1);
        }
    }

    pub(crate) fn panic(&self) {
        self.panics.increment(1);
    }
}

/// Records the bytes that are sent, and the size of the outbox before packets were taken from it.
#[derive(Debug)]
pub(crate) struct SendMeter(Option<usize>);

impl SendMeter {
    #[inline]
    pub(crate) fn before(meters: &EngineMeters, buffered_bytes: impl FnOnce() -> usize) -> Self {
        if meters.is_recorded { Self::of(buffered_bytes) } else { Self(None) }
    }

    #[cold]
    fn of(buffered_bytes: impl FnOnce() -> usize) -> Self {
        Self(Some(buffered_bytes()))
    }

    /// Records a packet that is sent as a frame. The size of the outbox is recorded once.
    #[inline]
    pub(crate) fn take(&mut self, meters: &EngineMeters, transport: Transport, packet: &Packet) {
        self.taken(meters, transport, || packet.len());
    }

    /// Records frames that bypass the outbox.
    #[inline]
    pub(crate) fn bypassed(meters: &EngineMeters, transport: Transport, text: &[u8], attachments: &[Packet]) {
        let bytes = || text.len() + attachments.iter().map(Packet::len).sum::<usize>();
        Self(Some(0)).taken(meters, transport, bytes);
    }

    pub(crate) fn polled(mut self, meters: &EngineMeters, packets: &[Packet]) {
        self.taken(meters, Transport::Polling, || packets.iter().map(Packet::len).sum());
    }

    #[inline]
    fn taken(&mut self, meters: &EngineMeters, transport: Transport, bytes: impl FnOnce() -> usize) {
        if meters.is_recorded {
            self.record(meters, transport, bytes());
        }
    }

    #[inline(never)]
    #[expect(clippy::cast_precision_loss, reason = "a histogram takes floats")]
    fn record(&mut self, meters: &EngineMeters, transport: Transport, bytes: usize) {
        if bytes > 0 {
            if let Some(depth) = self.0.take() {
                meters.outbox.record(depth as f64);
            }
            meters.transport(transport).sent.increment(bytes as u64);
        }
    }
}

/// Returns `true` if the application has installed a recorder. That of `metrics` itself, which ignores all metrics, is the only known one
/// without fields.
pub(crate) fn has_recorder() -> bool {
    metrics::with_recorder(|recorder| size_of_val(recorder) > 0)
}

/// Registers the descriptions of the metrics.
fn describe() {
    use metrics::{describe_counter, describe_gauge, describe_histogram};
    describe_gauge!("socketio_connections", Unit::Count, "Connections that are open");
    describe_counter!("socketio_connections_opened_total", Unit::Count, "Connections that were opened");
    describe_counter!("socketio_connections_closed_total", Unit::Count, "Connections that have ended, and why");
    describe_counter!(
        "socketio_upgrades_total",
        Unit::Count,
        "Connections that left long-polling, by their new transport"
    );
    describe_counter!("socketio_requests_refused_total", Unit::Count, "HTTP requests that were refused, by code");
    describe_counter!("socketio_received_bytes_total", Unit::Bytes, "Bytes of packets from clients");
    describe_counter!("socketio_sent_bytes_total", Unit::Bytes, "Bytes of packets to clients");
    describe_histogram!("socketio_outbox_bytes", Unit::Bytes, "Bytes queued for a client when packets were written");
    describe_counter!("socketio_panics_total", Unit::Count, "Handlers and layers that panicked");
}
