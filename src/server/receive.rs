use std::{
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;

use crate::{
    engine::{Direct, HeldInput, Packet, ProtocolVersion, Reader},
    namespace::{self, EventRequest, Reply},
    packet::{Assembled, Assembler, DecodeError, EventPayload, Header, Kind, Limits, decode},
    parser::DecoderState,
    socket::{DisconnectReason, EventStart, Socket},
    util::log,
};

use super::{
    Client,
    event_cost::{LARGE, Share},
    socket_table::Addressee,
};

/// Turns a client's messages into packets, and handles these.
pub(super) struct Inbound {
    client: Arc<Client>,
    format: Format,
    /// An event that waits until its socket may start another one.
    stalled: Option<Box<Stalled>>,
    /// Attachments that are ignored, for the packet that they belong to was.
    ignored_attachments: usize,
}

/// How messages become packets.
#[derive(Debug)]
enum Format {
    Json(Assembler),
    Parser(Box<DecoderState>),
}

#[derive(Debug)]
struct Stalled {
    socket: Arc<Socket>,
    event: EventRequest,
    /// What a large event has, or waits for, of the server's budget.
    share: Option<Box<Share>>,
}

impl Inbound {
    pub(super) fn new(client: Arc<Client>) -> Self {
        let format = match &client.server.settings.parser {
            None => Format::Json(Assembler::new(client.server.max_attachment_bytes())),
            Some(parser) => Format::Parser(Box::new(DecoderState::new(parser.clone()))),
        };
        Self { client, format, stalled: None, ignored_attachments: 0 }
    }
}

impl Reader for Inbound {
    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.stalled {
            None => Poll::Ready(()),
            Some(_) => self.poll_stalled(cx),
        }
    }

    fn receive(&mut self, message: Packet, direct: &mut Direct<'_>, cx: &mut Context<'_>) {
        match self.try_receive(message, cx) {
            Ok(Some(reply)) => reply.send_by(direct),
            Ok(None) => {}
            Err(DecodeError(detail)) => self.client.violation(detail),
        }
    }

    /// Whether everything that has been read has been handled.
    fn is_idle(&self) -> bool {
        self.stalled.is_none() && !matches!(&self.format, Format::Json(assembler) if assembler.is_waiting())
    }

    /// What has been read and not been handled: an event that may not start yet, or a packet whose attachments are missing.
    fn held(&self) -> HeldInput {
        if let Some(stalled) = &self.stalled {
            return HeldInput { bytes: stalled.event.size(), is_stalled: true, is_incomplete: false };
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
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(stalled) = self.stalled.take() {
            let reply = ready!(self.poll_start(*stalled, cx));
            reply.into_iter().for_each(Reply::deliver);
        }
        Poll::Ready(())
    }

    /// Starts an event, or keeps it until its socket may start another one.
    fn poll_start(&mut self, mut event: Stalled, cx: &mut Context<'_>) -> Poll<Option<Reply>> {
        let mut is_registered = false;
        let route = loop {
            match poll_may_start(&event.socket, &event.event, &mut event.share, cx) {
                Poll::Ready(route) => break route,
                // A handler may have ended, or the socket, before the waker was registered.
                Poll::Pending if !is_registered => self.client.reader.register(cx.waker()),
                Poll::Pending => {
                    self.stalled = Some(Box::new(event));
                    return Poll::Pending;
                }
            }
            is_registered = true;
        };
        let ack = namespace::start_event(&event.socket, route, event.event, &mut event.share, cx);
        Poll::Ready(ack.map(|(id, args)| Reply { socket: event.socket, id, args }))
    }

    fn try_receive(&mut self, message: Packet, cx: &mut Context<'_>) -> Result<Option<Reply>, DecodeError> {
        let limits = self.client.server.settings.packet_limits();
        if self.ignored_attachments > 0 {
            if !message.is_binary() {
                return Err(TEXT_WHERE_BINARY_IS_DUE);
            }
            self.ignored_attachments -= 1;
            return Ok(None);
        }
        let assembled = match &mut self.format {
            Format::Json(assembler) => match read_json(assembler, message, limits)? {
                Read::Packet(packet) => Some(packet),
                Read::Header(header) => match addressee(&self.client, &header)? {
                    // The attachments are not waited for on behalf of a socket that does not exist.
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
            Some(packet) => self.dispatch(packet, cx),
            None => Ok(None),
        }
    }

    fn dispatch(&mut self, packet: Assembled, cx: &mut Context<'_>) -> Result<Option<Reply>, DecodeError> {
        let Assembled { header, attachments } = packet;
        match header.kind {
            Kind::Event | Kind::BinaryEvent => return self.event(header, attachments, cx),
            Kind::Connect => match (self.client.connection.wire_format.protocol, header.namespace().split_once('?')) {
                (ProtocolVersion::V3, Some((name, query))) => {
                    namespace::admit(&self.client, name, query_to_auth(query), cx)?
                }
                (ProtocolVersion::V3 | ProtocolVersion::V4, _) => {
                    namespace::admit(&self.client, header.namespace(), header.payload.to_readable(), cx)?;
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
        Ok(None)
    }

    fn event(
        &mut self,
        header: Header,
        attachments: Vec<Bytes>,
        cx: &mut Context<'_>,
    ) -> Result<Option<Reply>, DecodeError> {
        let Some(socket) = addressee(&self.client, &header)? else {
            return Ok(None);
        };
        if header.payload.is_empty() {
            self.client.connection.span.in_scope(|| log!(debug, "an event without a name is ignored"));
            return Ok(None);
        }
        let payload = EventPayload::new(header.payload, attachments)?;
        let event = EventRequest::new(socket.clone(), payload, header.id);
        Ok(match self.poll_start(Stalled { socket, event, share: None }, cx) {
            Poll::Ready(reply) => reply,
            Poll::Pending => None,
        })
    }
}

const TEXT_WHERE_BINARY_IS_DUE: DecodeError = DecodeError("got plaintext data when reconstructing a packet");

/// Waits until an event may start: not too many are under way, a large one has its share of the server's budget, and the layers are
/// ready.
#[inline]
fn poll_may_start<'a>(
    socket: &'a Socket,
    event: &EventRequest,
    share: &mut Option<Box<Share>>,
    cx: &mut Context<'_>,
) -> Poll<EventStart<'a>> {
    if event.size() > LARGE {
        ready!(poll_share(socket, event, share, cx));
    }
    socket.poll_may_start(cx)
}

#[cold]
fn poll_share(socket: &Socket, event: &EventRequest, share: &mut Option<Box<Share>>, cx: &mut Context<'_>) -> Poll<()> {
    if !socket.is_connected() || socket.client.is_leaving() || !socket.is_below_limits() {
        return Poll::Ready(());
    }
    let budget = &socket.client.server.event_budget;
    share.get_or_insert_with(|| Box::new(budget.take(event.cost().bytes()))).poll(cx)
}

/// What a message is to a packet of JSON.
enum Read {
    /// It completes a packet.
    Packet(Assembled),
    /// It is a text that attachments follow.
    Header(Header),
    /// It is an attachment, and others are missing.
    Attachment,
}

fn read_json(assembler: &mut Assembler, message: Packet, limits: Limits) -> Result<Read, DecodeError> {
    if message.is_binary() {
        return Ok(assembler.binary(message.into_data())?.map_or(Read::Attachment, Read::Packet));
    }
    // Attachments are due: what the text says does not matter.
    if assembler.is_waiting() {
        return Err(TEXT_WHERE_BINARY_IS_DUE);
    }
    let header = decode(message, limits)?;
    match header.attachments {
        0 => Ok(Read::Packet(Assembled { header, attachments: Vec::new() })),
        _ => Ok(Read::Header(header)),
    }
}

/// The socket that a packet is for. `None` if the server has disconnected it: the packet was on its way.
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

/// Clients of Engine.IO 3 have no auth payload: they put a query behind the name of the namespace.
fn query_to_auth(query: &str) -> Bytes {
    let auth: serde_json::Map<_, _> =
        form_urlencoded::parse(query.as_bytes()).map(|(key, value)| (key.into(), value.into())).collect();
    serde_json::to_vec(&auth).expect("a map of strings is JSON").into()
}
