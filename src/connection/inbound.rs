use std::{
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use parking_lot::MutexGuard;

use crate::{
    config::Settings,
    engine::{Packet, Protocol},
    macros::log,
    namespace::{self, EventRequest, Reply},
    packet::{Assembled, Assembler, DecodeError, EventPayload, Header, Kind, Limits, decode},
    parser::Reading,
    socket::{DisconnectReason, Socket},
};

use super::{Connection, now};

/// What has been read of a connection but not yet been handled. There is one, and only its holder may read: that keeps
/// events in order across the POSTs of long-polling and the WebSocket that follows them.
#[derive(Debug)]
pub(crate) struct Inbound {
    format: Format,
    /// An event that waits until its socket may start another one.
    stalled: Option<Box<Stalled>>,
}

/// How messages become packets.
#[derive(Debug)]
enum Format {
    Json(Assembler),
    Parser(Box<Reading>),
}

#[derive(Debug)]
struct Stalled {
    socket: Arc<Socket>,
    event: EventRequest,
}

/// Where the [`Inbound`] lies while nobody reads.
#[derive(Debug)]
pub(super) struct InboundSlot {
    inbound: Option<Inbound>,
    waiting: Option<Waker>,
    /// The connection has ended: what was read is not kept.
    closed: bool,
}

impl InboundSlot {
    pub(super) fn new(settings: &Settings) -> Self {
        let format = match &settings.parser {
            None => Format::Json(Assembler::new(settings.max_attachment_bytes)),
            Some(parser) => Format::Parser(Box::new(Reading::new(parser.clone()))),
        };
        Self { inbound: Some(Inbound { format, stalled: None }), waiting: None, closed: false }
    }
}

impl Connection {
    fn inbound(&self) -> MutexGuard<'_, InboundSlot> {
        self.inbound.lock()
    }

    /// Becomes the reader, once the one before has finished. `None` if the connection has ended.
    pub(crate) fn poll_take_inbound(&self, cx: &mut Context<'_>) -> Poll<Option<Inbound>> {
        let mut slot = self.inbound();
        match slot.inbound.take() {
            Some(inbound) => Poll::Ready(Some(inbound)),
            None if slot.closed => Poll::Ready(None),
            None => {
                slot.waiting = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    pub(crate) fn put_inbound(&self, inbound: Inbound) {
        let mut slot = self.inbound();
        let waiting = slot.waiting.take();
        if !slot.closed {
            slot.inbound = Some(inbound);
        }
        drop(slot);
        if let Some(waker) = waiting {
            waker.wake();
        }
    }

    /// Forgets what has been read: a socket that is kept shall not keep it.
    pub(super) fn drop_inbound(&self) {
        let mut slot = self.inbound();
        slot.closed = true;
        let inbound = slot.inbound.take();
        let waiting = slot.waiting.take();
        drop(slot);
        drop(inbound);
        if let Some(waker) = waiting {
            waker.wake();
        }
    }
}

impl Inbound {
    /// Waits until another packet may be handled.
    pub(crate) fn poll_ready(&mut self, connection: &Connection, cx: &mut Context<'_>) -> Poll<()> {
        match self.stalled.take() {
            None => Poll::Ready(()),
            Some(stalled) => {
                let reply = ready!(self.poll_start(connection, *stalled, cx));
                connection.stalled.store(false, Ordering::Relaxed);
                connection.update(|session| session.reads_again(now()));
                reply.into_iter().for_each(Reply::deliver);
                Poll::Ready(())
            }
        }
    }

    /// Starts an event, or keeps it until its socket may start another one.
    fn poll_start(&mut self, connection: &Connection, event: Stalled, cx: &mut Context<'_>) -> Poll<Option<Reply>> {
        let mut ready = event.socket.poll_may_start(cx);
        if ready.is_pending() {
            connection.reader.register(cx.waker());
            // A handler may have ended, or the socket, before the waker was registered.
            ready = event.socket.poll_may_start(cx);
        }
        let Poll::Ready(route) = ready else {
            self.stalled = Some(Box::new(event));
            connection.stalled.store(true, Ordering::Relaxed);
            return Poll::Pending;
        };
        let ack = namespace::start_event(&event.socket, route, event.event, cx);
        Poll::Ready(ack.map(|(id, args)| Reply { socket: event.socket, id, args }))
    }

    /// Handles a message, after [`poll_ready`](Self::poll_ready). Answers with what is to be sent to the client at once.
    pub(crate) fn receive(
        &mut self,
        connection: &Arc<Connection>,
        message: Packet,
        cx: &mut Context<'_>,
    ) -> Option<Reply> {
        self.try_receive(connection, message, cx).unwrap_or_else(|DecodeError(detail)| {
            connection.violation(detail);
            None
        })
    }

    fn try_receive(
        &mut self,
        connection: &Arc<Connection>,
        message: Packet,
        cx: &mut Context<'_>,
    ) -> Result<Option<Reply>, DecodeError> {
        let limits = connection.server.settings.packet_limits();
        let assembled = match &mut self.format {
            Format::Json(assembler) => read_json(assembler, message, limits)?,
            Format::Parser(reading) => reading.receive(&message, limits)?,
        };
        match assembled {
            Some(packet) => self.dispatch(connection, packet, cx),
            None => Ok(None),
        }
    }

    fn dispatch(
        &mut self,
        connection: &Arc<Connection>,
        packet: Assembled,
        cx: &mut Context<'_>,
    ) -> Result<Option<Reply>, DecodeError> {
        let Assembled { header, attachments } = packet;
        match header.kind {
            Kind::Event | Kind::BinaryEvent => return self.event(connection, header, attachments, cx),
            Kind::Connect => match (connection.dialect.protocol, header.namespace().split_once('?')) {
                (Protocol::V3, Some((name, query))) => namespace::admit(connection, name, query_to_auth(query), cx)?,
                (Protocol::V3 | Protocol::V4, _) => namespace::admit(
                    connection,
                    header.namespace(),
                    Bytes::copy_from_slice(header.payload.as_bytes()),
                    cx,
                )?,
            },
            Kind::Disconnect => {
                joined(connection, &header)?.close(DisconnectReason::ClientNamespaceDisconnect);
            }
            Kind::Ack | Kind::BinaryAck => {
                let socket = joined(connection, &header)?;
                if let Some(id) = header.id {
                    socket.acks.resolve(id, header.payload, attachments);
                }
            }
            Kind::ConnectError => return Err(DecodeError("a client must not send CONNECT_ERROR")),
        }
        Ok(None)
    }

    fn event(
        &mut self,
        connection: &Arc<Connection>,
        header: Header,
        attachments: Vec<Bytes>,
        cx: &mut Context<'_>,
    ) -> Result<Option<Reply>, DecodeError> {
        let socket = joined(connection, &header)?;
        if header.payload.is_empty() {
            connection.span.in_scope(|| log!(debug, "an event without a name is ignored"));
            return Ok(None);
        }
        let payload = EventPayload::new(header.payload, attachments)?;
        let event = EventRequest::new(socket.clone(), payload, header.id);
        Ok(match self.poll_start(connection, Stalled { socket, event }, cx) {
            Poll::Ready(reply) => reply,
            Poll::Pending => None,
        })
    }
}

fn read_json(assembler: &mut Assembler, message: Packet, limits: Limits) -> Result<Option<Assembled>, DecodeError> {
    if message.is_binary() {
        return assembler.binary(message.into_data());
    }
    // Attachments are due: what the text says does not matter.
    if assembler.is_waiting() {
        return Err(DecodeError("got plaintext data when reconstructing a packet"));
    }
    assembler.text(decode(message, limits)?)
}

/// The socket that a packet is for.
fn joined(connection: &Connection, header: &Header) -> Result<Arc<Socket>, DecodeError> {
    let name = match connection.dialect.protocol {
        Protocol::V3 => header.namespace().split('?').next().unwrap_or_default(),
        Protocol::V4 => header.namespace(),
    };
    let socket = connection.socket(name).filter(|socket| socket.is_connected());
    socket.ok_or(DecodeError("a packet for a namespace that is not joined"))
}

/// Clients of Engine.IO 3 have no auth payload: they put a query behind the name of the namespace.
fn query_to_auth(query: &str) -> Bytes {
    let auth: serde_json::Map<_, _> =
        form_urlencoded::parse(query.as_bytes()).map(|(key, value)| (key.into(), value.into())).collect();
    serde_json::to_vec(&auth).expect("a map of strings is JSON").into()
}
