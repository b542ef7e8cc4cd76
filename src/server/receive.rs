use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;

use crate::{
    engine::{Direct, HeldInput, Packet, ProtocolVersion, Reader},
    packet::{Assembled, Assembler, DecodeError, EventPayload, Header, Kind, Limits, decode},
    parser::DecoderState,
    util::{BoxFuture, log},
};

use super::{
    admission::admit,
    reason::DisconnectReason,
    socket_table::Addressee,
    state::{Change, Client, Event, Socket},
};

/// Decodes a client's messages and handles the packets.
pub(super) struct Inbound {
    client: Arc<Client>,
    format: Format,
    /// An event that has not started.
    waiting: Option<Box<Waiting>>,
    /// The number of attachments to skip, because their packet was ignored.
    ignored_attachments: usize,
    is_observed: bool,
}

/// The decoder of messages.
#[derive(Debug)]
enum Format {
    Json(Assembler),
    Parser(Box<DecoderState>),
}

/// A waiting event. The connection is not read meanwhile.
struct Waiting {
    socket: Arc<Socket>,
    /// The bytes of its arguments and attachments.
    size: usize,
    stage: Stage,
}

/// What the event waits for.
enum Stage {
    /// A limit: other events must end first.
    Limits(Event),
    /// A layer that is not ready.
    Layers(BoxFuture<()>),
}

impl Inbound {
    pub(super) fn new(client: Arc<Client>) -> Self {
        let format = match client.server.settings.parsers.get(client.form) {
            None => Format::Json(Assembler::new(client.server.max_attachment_bytes())),
            Some(parser) => Format::Parser(Box::new(DecoderState::new(parser.clone()))),
        };
        let is_observed = client.server.is_observed();
        Self { client, format, waiting: None, ignored_attachments: 0, is_observed }
    }
}

impl Reader for Inbound {
    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.waiting {
            None => Poll::Ready(()),
            Some(_) => self.poll_waiting(cx),
        }
    }

    fn receive(&mut self, message: Packet, direct: &mut Direct<'_>, cx: &mut Context<'_>) {
        if self.is_observed {
            self.client.server.tell(&Change::PacketReceived(&self.client, &message));
        }
        if let Err(DecodeError(detail)) = self.try_receive(message, direct, cx) {
            self.client.violation(detail);
        }
    }

    /// Returns `true` if everything that was read has been handled.
    fn is_idle(&self) -> bool {
        self.waiting.is_none() && !matches!(&self.format, Format::Json(assembler) if assembler.is_waiting())
    }

    /// Returns the input that has been read and not handled: an event that cannot start yet, or a packet without all of its
    /// attachments.
    fn held(&self) -> HeldInput {
        if let Some(waiting) = &self.waiting {
            return HeldInput { bytes: waiting.size, is_stalled: true, is_incomplete: false };
        }
        match &self.format {
            Format::Json(assembler) => {
                HeldInput { bytes: assembler.bytes(), is_stalled: false, is_incomplete: assembler.is_waiting() }
            }
            Format::Parser(_) => HeldInput::default(),
        }
    }
}

impl Inbound {
    #[cold]
    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(waiting) = self.waiting.take() else {
            return Poll::Ready(());
        };
        let Waiting { socket, size, stage } = *waiting;
        match stage {
            Stage::Limits(event) => self.start(socket, event, &mut Direct::unavailable(), cx),
            Stage::Layers(layers) => self.wait_for_layers(socket, size, layers, cx),
        }
        if self.waiting.is_some() { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Starts an event, or stores it until its socket may start another one.
    #[inline(always)]
    fn start(&mut self, socket: Arc<Socket>, mut event: Event, direct: &mut Direct<'_>, cx: &mut Context<'_>) {
        let mut is_registered = false;
        loop {
            match socket.poll_may_start(&mut event, cx) {
                Poll::Ready(true) => break,
                Poll::Ready(false) => return,
                // A handler or the socket may have ended before the waker was registered.
                Poll::Pending if !is_registered => self.client.reader.register(cx.waker()),
                Poll::Pending => {
                    self.waiting = Some(Box::new(Waiting { socket, size: event.size, stage: Stage::Limits(event) }));
                    return;
                }
            }
            is_registered = true;
        }
        if self.is_observed {
            self.client.server.tell(&Change::EventReceived(&socket, &event));
        }
        let size = event.size;
        if let Some(layers) = socket.namespace.application().event(&socket, event, direct, cx) {
            self.wait_for_layers(socket, size, layers, cx);
        }
    }

    /// Waits for layers that are not ready, but only until the socket ends: they may hold or obtain a permit that others wait
    /// for.
    #[cold]
    fn wait_for_layers(&mut self, socket: Arc<Socket>, size: usize, mut layers: BoxFuture<()>, cx: &mut Context<'_>) {
        self.client.reader.register(cx.waker());
        if socket.takes_events() && layers.as_mut().poll(cx).is_pending() {
            self.waiting = Some(Box::new(Waiting { socket, size, stage: Stage::Layers(layers) }));
        }
    }

    fn try_receive(
        &mut self,
        message: Packet,
        direct: &mut Direct<'_>,
        cx: &mut Context<'_>,
    ) -> Result<(), DecodeError> {
        let limits = self.client.server.settings.packet_limits();
        if self.ignored_attachments > 0 {
            if !message.is_binary() {
                return Err(TEXT_WHERE_BINARY_IS_DUE);
            }
            self.ignored_attachments -= 1;
            return Ok(());
        }
        let assembled = match &mut self.format {
            Format::Json(assembler) => match read_json(assembler, message, limits)? {
                Read::Packet(packet) => Some(packet),
                Read::Header(header) => match addressee(&self.client, &header)? {
                    // The socket does not exist: its attachments are skipped.
                    None => {
                        self.ignored_attachments = header.attachments;
                        None
                    }
                    Some(_) => assembler.text(header)?,
                },
                Read::Attachment => None,
            },
            Format::Parser(reading) => reading.receive(&message, limits, || self.client.server.count_panic())?,
        };
        match assembled {
            Some(packet) => self.dispatch(packet, direct, cx),
            None => Ok(()),
        }
    }

    fn dispatch(
        &mut self,
        packet: Assembled,
        direct: &mut Direct<'_>,
        cx: &mut Context<'_>,
    ) -> Result<(), DecodeError> {
        let Assembled { header, attachments } = packet;
        match header.kind {
            Kind::Event | Kind::BinaryEvent => return self.event(header, attachments, direct, cx),
            Kind::Connect => match (self.client.connection.wire_format.protocol, header.namespace().split_once('?')) {
                (ProtocolVersion::V3, Some((name, query))) => admit(&self.client, name, query_to_auth(query), cx)?,
                (ProtocolVersion::V3 | ProtocolVersion::V4, _) => {
                    admit(&self.client, header.namespace(), header.payload.to_readable(), cx)?;
                }
            },
            Kind::Disconnect => {
                if let Some(socket) = addressee(&self.client, &header)? {
                    socket.close(DisconnectReason::ClientNamespaceDisconnect);
                }
            }
            Kind::Ack | Kind::BinaryAck => {
                if let (Some(socket), Some(id)) = (addressee(&self.client, &header)?, header.id) {
                    socket.acks.resolve(id, header.payload, attachments);
                }
            }
            Kind::ConnectError => return Err(DecodeError("a client must not send CONNECT_ERROR")),
        }
        Ok(())
    }

    fn event(
        &mut self,
        header: Header,
        attachments: Vec<Bytes>,
        direct: &mut Direct<'_>,
        cx: &mut Context<'_>,
    ) -> Result<(), DecodeError> {
        let Some(socket) = addressee(&self.client, &header)? else {
            return Ok(());
        };
        if header.payload.is_empty() {
            self.client.connection.span.in_scope(|| log!(debug, "an event without a name is ignored"));
            return Ok(());
        }
        let payload = EventPayload::new(header.payload, attachments)?;
        let event = Event { size: payload.size(), payload, ack: header.id, share: None };
        self.start(socket, event, direct, cx);
        Ok(())
    }
}

const TEXT_WHERE_BINARY_IS_DUE: DecodeError = DecodeError("got plaintext data when reconstructing a packet");

/// The result of decoding a message as JSON.
enum Read {
    /// A complete packet.
    Packet(Assembled),
    /// A text with attachments to follow.
    Header(Header),
    /// An attachment, with others to follow.
    Attachment,
}

fn read_json(assembler: &mut Assembler, message: Packet, limits: Limits) -> Result<Read, DecodeError> {
    if message.is_binary() {
        return Ok(assembler.binary(message.into_data())?.map_or(Read::Attachment, Read::Packet));
    }
    // An attachment is expected, so the content of the text does not matter.
    if assembler.is_waiting() {
        return Err(TEXT_WHERE_BINARY_IS_DUE);
    }
    let header = decode(message, limits)?;
    match header.attachments {
        0 => Ok(Read::Packet(Assembled { header, attachments: Vec::new() })),
        _ => Ok(Read::Header(header)),
    }
}

/// Returns the socket that a packet is addressed to. `None` if the server has disconnected it while the packet was on its way.
fn addressee(client: &Client, header: &Header) -> Result<Option<Arc<Socket>>, DecodeError> {
    let name = match client.connection.wire_format.protocol {
        ProtocolVersion::V3 => header.namespace().split('?').next().unwrap_or_default(),
        ProtocolVersion::V4 => header.namespace(),
    };
    match client.addressee(name) {
        Addressee::Socket(socket) => Ok(Some(socket)),
        Addressee::Left => Ok(None),
        Addressee::Unknown => Err(DecodeError("a packet for a namespace that is not joined")),
    }
}

/// Converts a query to an auth payload. Clients of Engine.IO 3 append a query to the name of the namespace instead of sending a
/// payload.
fn query_to_auth(query: &str) -> Bytes {
    let auth: serde_json::Map<_, _> =
        form_urlencoded::parse(query.as_bytes()).map(|(key, value)| (key.into(), value.into())).collect();
    serde_json::to_vec(&auth).expect("a map of strings is JSON").into()
}
