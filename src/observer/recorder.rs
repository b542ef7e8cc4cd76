use std::{collections::HashMap, fmt};

use crate::{
    engine::Packet,
    server::DisconnectReason,
    socket::Conn,
    util::{Mutex, shrink},
};

use super::{
    observe::Observer,
    script::{Line, Script, redact},
};

/// Records the messages of sessions, so that a session that went wrong becomes a test.
///
/// The recorder is an [observer](crate::SocketIoConfig::observer). `selects` decides which sessions are recorded, when they are opened.
/// `done` gets the [`Script`] of each when it has ended, and must not block.
///
/// ```
/// use tower_socketio::{SocketIoConfig, client::Conn, observer::{Recorder, Script}};
///
/// let is_reported = |connection: &Conn| connection.request().uri().query().is_some_and(|query| query.contains("debug=1"));
/// let recorder = Recorder::new(is_reported, |script: Script| println!("{script}"));
/// let config = SocketIoConfig::new().observer(recorder);
/// # let _ = config;
/// ```
///
/// Arguments, acks and auth payloads are redacted: strings, numbers and binary data are replaced, while names of events, keys and the
/// structure stay. [`payloads`](Self::payloads) keeps them. Packets of a [parser](crate::SocketIoConfig::parser) are recorded as binary
/// messages, which are replaced as a whole.
pub struct Recorder {
    selects: Box<dyn Fn(&Conn) -> bool + Send + Sync>,
    done: Box<dyn Fn(Script) + Send + Sync>,
    payloads: bool,
    max_bytes: usize,
    max_sessions: usize,
    /// By the id of the session.
    sessions: Mutex<HashMap<Box<str>, Recording>>,
}

#[derive(Default)]
struct Recording {
    lines: Vec<Line>,
    bytes: usize,
}

/// The bytes that a line takes besides its packet.
const LINE: usize = 128;

impl Recorder {
    /// Creates a recorder with redacted payloads.
    #[must_use]
    pub fn new(
        selects: impl Fn(&Conn) -> bool + Send + Sync + 'static,
        done: impl Fn(Script) + Send + Sync + 'static,
    ) -> Self {
        Self {
            selects: Box::new(selects),
            done: Box::new(done),
            payloads: false,
            max_bytes: 1 << 20,
            max_sessions: 100,
            sessions: Mutex::default(),
        }
    }

    /// Sets whether payloads are recorded as they are. Default: `false`.
    #[must_use]
    pub fn payloads(mut self, keep: bool) -> Self {
        self.payloads = keep;
        self
    }

    /// Sets how many bytes of a session are recorded. Later messages are left out. Default: 1 MiB.
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Sets how many sessions are recorded at the same time. Others are not recorded. Default: 100.
    #[must_use]
    pub fn max_sessions(mut self, sessions: usize) -> Self {
        self.max_sessions = sessions;
        self
    }

    fn record(&self, connection: &Conn, is_from_client: bool, packet: &Packet) {
        let is_full = |recording: &Recording| recording.bytes + packet.len() + LINE > self.max_bytes;
        if self.sessions.lock().get(connection.id()).is_none_or(is_full) {
            return;
        }
        let packet = if self.payloads { copy(packet) } else { redact(packet) };
        if let Some(recording) = self.sessions.lock().get_mut(connection.id()) {
            recording.bytes += packet.len() + LINE;
            recording.lines.push(Line { is_from_client, packet, number: 0 });
        }
    }
}

/// Copies a packet, which may be a slice of a large buffer.
fn copy(packet: &Packet) -> Packet {
    match packet.is_binary() {
        true => Packet::binary(packet.data().to_vec()),
        false => Packet::message(&String::from_utf8_lossy(packet.data())),
    }
}

impl Observer for Recorder {
    fn connection_opened(&self, connection: &Conn) {
        if self.sessions.lock().len() < self.max_sessions && (self.selects)(connection) {
            self.sessions.lock().insert(connection.id().into(), Recording::default());
        }
    }

    fn packet_received(&self, connection: &Conn, packet: &Packet) {
        self.record(connection, true, packet);
    }

    fn packet_sent(&self, connection: &Conn, packet: &Packet) {
        self.record(connection, false, packet);
    }

    fn connection_closed(&self, connection: &Conn, _: DisconnectReason) {
        let mut sessions = self.sessions.lock();
        let recording = sessions.remove(connection.id());
        shrink(&mut sessions);
        drop(sessions);
        if let Some(recording) = recording {
            (self.done)(Script { lines: recording.lines, is_redacted: !self.payloads });
        }
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("payloads", &self.payloads).finish_non_exhaustive()
    }
}
