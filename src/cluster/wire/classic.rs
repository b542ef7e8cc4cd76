//! The classic Redis adapter: broadcasts, requests and responses, on three kinds of channels.

use std::sync::Arc;

use bytes::Bytes;

use crate::room::Room;

use super::{
    super::{
        message::{BroadcastOptions, ClusterCommand, ClusterMessage, RequestId},
        payload::Payload,
    },
    Form, INCOMPLETE, NOT_A_LIST, NOT_ON_THIS_WIRE, OTHER_NAMESPACE, Result, WireError,
    input::{Input, Message},
    output::Output,
};

/// The types of requests, and of the responses that have one.
mod kind {
    pub(super) const LIST_SOCKETS: u64 = 0;
    pub(super) const LIST_ROOMS: u64 = 1;
    pub(super) const JOIN: u64 = 2;
    pub(super) const LEAVE: u64 = 3;
    pub(super) const DISCONNECT: u64 = 4;
    pub(super) const FETCH_SOCKETS: u64 = 5;
    pub(super) const SERVER_SIDE_EMIT: u64 = 6;
    pub(super) const SERVER_SIDE_ACK: u64 = SERVER_SIDE_EMIT;
    pub(super) const EMIT: u64 = 7;
    pub(super) const RECIPIENTS: u64 = 8;
    pub(super) const ACK: u64 = 9;
}

/// The names of a namespace's channels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Channels<'a> {
    prefix: &'a str,
    namespace: &'a str,
}

impl<'a> Channels<'a> {
    pub(crate) fn new(prefix: &'a str, namespace: &'a str) -> Self {
        Self { prefix, namespace }
    }

    /// The channel of broadcasts to all rooms, or to several.
    fn broadcast(self) -> String {
        [self.prefix, "#", self.namespace, "#"].concat()
    }

    /// The pattern of all channels of broadcasts. Wildcards in it are escaped. Node.js does not escape them, so its nodes receive
    /// nothing in a namespace whose name has some.
    pub(crate) fn pattern(self) -> String {
        let mut pattern = String::new();
        for character in self.broadcast().chars() {
            if matches!(character, '*' | '?' | '[' | '\\') {
                pattern.push('\\');
            }
            pattern.push(character);
        }
        pattern.push('*');
        pattern
    }

    /// The channel of requests, to which each node of the namespace subscribes, and by which they are counted.
    pub(crate) fn request(self) -> String {
        [self.prefix, "-request#", self.namespace, "#"].concat()
    }

    /// The channel of responses to all nodes.
    pub(crate) fn response(self) -> String {
        [self.prefix, "-response#", self.namespace, "#"].concat()
    }

    /// The channel of responses to one node.
    pub(crate) fn response_to(self, node: &str) -> String {
        [self.prefix, "-response#", self.namespace, "#", node, "#"].concat()
    }

    /// Returns the channel to which a message is published. With `specific`, responses go to the recipient's channel, except those to
    /// server-side events.
    pub(crate) fn of(self, message: &ClusterMessage, specific: bool) -> String {
        match &message.command {
            ClusterCommand::Emit { options, request: None, .. } => match options.rooms.as_slice() {
                [room] => [self.prefix, "#", self.namespace, "#", room, "#"].concat(),
                _ => self.broadcast(),
            },
            command if command.is_answer() => match &message.recipient {
                Some(node) if specific && !matches!(command, ClusterCommand::ServerSideAck { .. }) => {
                    self.response_to(node)
                }
                _ => self.response(),
            },
            _ => self.request(),
        }
    }

    /// Returns the room of a channel of broadcasts, empty if the channel is that of all rooms. Returns `None` if the channel is not one
    /// of this namespace, which the pattern may match as well.
    pub(crate) fn room(self, channel: &[u8]) -> Option<&[u8]> {
        let rest = channel.strip_prefix(self.prefix.as_bytes())?.strip_prefix(b"#")?;
        let rest = rest.strip_prefix(self.namespace.as_bytes())?.strip_prefix(b"#")?;
        Some(rest.split_last().map_or(rest, |(_, room)| room))
    }
}

/// Encodes a message into an empty buffer.
pub(crate) fn encode(message: &ClusterMessage, out: &mut Vec<u8>) -> Result<()> {
    match &message.command {
        ClusterCommand::Emit { options, event, request: None } => {
            let sender = message.sender.as_deref().ok_or(INCOMPLETE)?;
            Output::new(Form::Msgpack, out).list(3, |out| {
                out.text(sender);
                out.packet(event, Some(&message.namespace));
                out.options(options);
            });
            Ok(())
        }
        command if command.is_answer() => encode_response(command, out),
        command => encode_request(message.sender.as_deref().ok_or(INCOMPLETE)?, &message.namespace, command, out),
    }
}

fn encode_request(sender: &str, namespace: &str, command: &ClusterCommand, out: &mut Vec<u8>) -> Result<()> {
    let mut write = |form, kind, request: Option<&RequestId>, entries: usize, rest: &dyn Fn(&mut Output<'_>)| {
        Output::new(form, out).map(2 + usize::from(request.is_some()) + entries, |out| {
            out.key("uid").text(sender);
            if let Some(request) = request {
                out.key("requestId").text(request.as_str());
            }
            out.key("type").natural(kind);
            rest(out);
        });
    };
    let selection = |out: &mut Output<'_>, options| out.key("opts").map(2, |out| out.selection(options));
    match command {
        ClusterCommand::Emit { options, event, request } => {
            write(Form::Msgpack, kind::EMIT, request.as_ref(), 2, &|out| {
                out.key("packet").packet(event, Some(namespace));
                out.key("opts").options(options);
            });
        }
        ClusterCommand::Join { options, rooms } | ClusterCommand::Leave { options, rooms } => {
            let is_join = matches!(command, ClusterCommand::Join { .. });
            write(Form::Json, if is_join { kind::JOIN } else { kind::LEAVE }, None, 2, &|out| {
                selection(out, options);
                out.key("rooms").texts(rooms);
            });
        }
        ClusterCommand::Disconnect { options, close } => write(Form::Json, kind::DISCONNECT, None, 2, &|out| {
            selection(out, options);
            out.key("close").bool(*close);
        }),
        ClusterCommand::FetchSockets { options, request } => {
            write(Form::Json, kind::FETCH_SOCKETS, Some(request), 1, &|out| selection(out, options));
        }
        ClusterCommand::ServerSideEmit { event, request } => {
            write(Form::Json, kind::SERVER_SIDE_EMIT, request.as_ref(), 1, &|out| {
                out.key("data").payload(event.payload())
            });
        }
        ClusterCommand::ListSockets { rooms, request } => {
            write(Form::Json, kind::LIST_SOCKETS, Some(request), 1, &|out| out.key("rooms").texts(rooms));
        }
        ClusterCommand::ListRooms { request } => write(Form::Json, kind::LIST_ROOMS, Some(request), 0, &|_| ()),
        _ => return Err(NOT_ON_THIS_WIRE),
    }
    Ok(())
}

fn encode_response(command: &ClusterCommand, out: &mut Vec<u8>) -> Result<()> {
    let form = if matches!(command, ClusterCommand::Ack { .. }) { Form::Msgpack } else { Form::Json };
    let mut out = Output::new(form, out);
    let id = |out: &mut Output<'_>, request: &RequestId| out.key("requestId").text(request.as_str());
    match command {
        ClusterCommand::SocketsFetched { request, sockets } => out.map(2, |out| {
            id(out, request);
            out.key("sockets").sockets(sockets);
        }),
        ClusterCommand::SocketsListed { request, ids } => out.map(2, |out| {
            id(out, request);
            out.key("sockets").texts(ids);
        }),
        ClusterCommand::RoomsListed { request, rooms } => out.map(2, |out| {
            id(out, request);
            out.key("rooms").texts(rooms);
        }),
        ClusterCommand::ServerSideAck { request, answer } => {
            typed_response(&mut out, kind::SERVER_SIDE_ACK, request, "data", answer.as_ref());
        }
        ClusterCommand::Ack { request, answer } => {
            typed_response(&mut out, kind::ACK, request, "packet", answer.as_ref());
        }
        ClusterCommand::Recipients { request, count } => out.map(3, |out| {
            out.key("type").natural(kind::RECIPIENTS);
            id(out, request);
            out.key("clientCount").natural(*count);
        }),
        _ => return Err(NOT_ON_THIS_WIRE),
    }
    Ok(())
}

/// Encodes a response with a type. `undefined` has no key, in msgpack as well.
fn typed_response(out: &mut Output<'_>, kind: u64, request: &RequestId, key: &'static str, answer: Option<&Payload>) {
    out.map(2 + usize::from(answer.is_some()), |out| {
        out.key("type").natural(kind);
        out.key("requestId").text(request.as_str());
        if let Some(answer) = answer {
            out.key(key).payload(answer);
        }
    });
}

/// Encodes the response to a [`Request`] in a legacy form.
pub(crate) fn encode_done(request: &RequestId, out: &mut Vec<u8>) {
    Output::new(Form::Json, out).map(1, |out| out.key("requestId").text(request.as_str()));
}

/// Decodes a message from a channel of broadcasts.
pub(crate) fn decode_broadcast(namespace: &str, message: Bytes) -> Result<ClusterMessage> {
    let message = Message::msgpack(message)?;
    let mut parts = [None; 3];
    let mut place = 0;
    message.root().each(|part| {
        if let Some(known) = parts.get_mut(place) {
            *known = Some(part);
        }
        place += 1;
        Ok(())
    })?;
    let [Some(sender), Some(packet), Some(options)] = parts else { return Err(INCOMPLETE) };
    let (event, named) = packet.packet()?;
    if named.as_deref().unwrap_or("/") != namespace {
        return Err(OTHER_NAMESPACE);
    }
    let command = ClusterCommand::Emit { options: options.options()?, event, request: None };
    Ok(ClusterMessage::new(sender.shared()?, namespace, command))
}

/// A message from the channel of requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) message: ClusterMessage,
    /// Set in the legacy forms of joining, leaving and disconnecting, which are for one socket. The node that has the socket
    /// answers with [`encode_done`].
    pub(crate) legacy: Option<RequestId>,
}

/// Decodes a message from the channel of requests.
pub(crate) fn decode_request(namespace: &str, message: Bytes) -> Result<Request> {
    let message = Message::either(message)?;
    let [sender, kind, request, options, rooms, close, data, packet, socket, room] = message.root().fields([
        "uid",
        "type",
        "requestId",
        "opts",
        "rooms",
        "close",
        "data",
        "packet",
        "sid",
        "room",
    ])?;
    let kind = kind.ok_or(INCOMPLETE)?.natural()?;
    let request = request.map(Input::shared).transpose()?.map(RequestId::from);
    let needed = || request.clone().ok_or(INCOMPLETE);
    let rooms = || rooms.map(Input::texts).transpose();
    let mut legacy = None;
    // Whose sockets join, leave or are disconnected, and which rooms are meant.
    let mut target = || match (options, socket) {
        (Some(options), _) => Ok((options.options()?, rooms()?)),
        (None, Some(socket)) => {
            legacy = Some(needed()?);
            let room = room.map(Input::text).transpose()?;
            Ok((
                BroadcastOptions::new(vec![Room::from(&*socket.text()?)], Vec::new()),
                room.map(|room| vec![Room::from(&*room)]),
            ))
        }
        (None, None) => Err(INCOMPLETE),
    };
    let command = match kind {
        kind::LIST_SOCKETS => ClusterCommand::ListSockets { rooms: rooms()?.unwrap_or_default(), request: needed()? },
        kind::LIST_ROOMS => ClusterCommand::ListRooms { request: needed()? },
        kind::JOIN | kind::LEAVE => {
            let (options, rooms) = target()?;
            let rooms = rooms.ok_or(INCOMPLETE)?;
            match kind {
                kind::JOIN => ClusterCommand::Join { options, rooms },
                _ => ClusterCommand::Leave { options, rooms },
            }
        }
        kind::DISCONNECT => {
            let (options, _) = target()?;
            ClusterCommand::Disconnect { options, close: close.and_then(Input::bool).unwrap_or_default() }
        }
        kind::FETCH_SOCKETS => {
            ClusterCommand::FetchSockets { options: options.ok_or(INCOMPLETE)?.options()?, request: needed()? }
        }
        kind::SERVER_SIDE_EMIT => ClusterCommand::ServerSideEmit { event: data.ok_or(INCOMPLETE)?.event()?, request },
        kind::EMIT => {
            let (event, named) = packet.ok_or(INCOMPLETE)?.packet()?;
            if named.as_deref().is_some_and(|named| named != namespace) {
                return Err(OTHER_NAMESPACE);
            }
            let options = options.ok_or(INCOMPLETE)?.options()?;
            ClusterCommand::Emit { options, event, request: Some(needed()?) }
        }
        _ => return Err(WireError::Message("an unknown type of request")),
    };
    let sender = sender.map(Input::shared).transpose()?;
    Ok(Request { message: ClusterMessage { sender, recipient: None, namespace: namespace.into(), command }, legacy })
}

/// Returns the request that a list of sockets or rooms answers. `None` for other responses.
pub(crate) fn request_of_list(response: &[u8]) -> Option<RequestId> {
    let id = response.strip_prefix(br#"{"requestId":""#)?;
    let id = id.get(..id.iter().position(|byte| matches!(byte, b'"' | b'\\'))?)?;
    Some(str::from_utf8(id).ok()?.into())
}

/// Decodes a message from a channel of responses, which does not name its sender.
pub(crate) fn decode_response(namespace: &str, message: Bytes) -> Result<ClusterMessage> {
    let message = Message::either(message)?;
    let root = message.root();
    let [kind, request, sockets, rooms, count] =
        root.fields(["type", "requestId", "sockets", "rooms", "clientCount"])?;
    let request: RequestId = request.ok_or(INCOMPLETE)?.shared()?.into();
    let answer = |key| {
        let [answer] = root.nullable_fields([key])?;
        answer.map(Input::payload).transpose()
    };
    let command = match kind.map(Input::natural).transpose()? {
        Some(kind::SERVER_SIDE_ACK) => ClusterCommand::ServerSideAck { request, answer: answer("data")? },
        Some(kind::RECIPIENTS) => ClusterCommand::Recipients { request, count: count.ok_or(INCOMPLETE)?.natural()? },
        Some(kind::ACK) => ClusterCommand::Ack { request, answer: answer("packet")? },
        _ => match (sockets.filter(|list| list.is_list()), rooms.filter(|list| list.is_list())) {
            (Some(sockets), _) => listed_sockets(request, sockets)?,
            (None, Some(rooms)) => ClusterCommand::RoomsListed { request, rooms: rooms.texts()? },
            // It still counts as the response of one node.
            (None, None) => ClusterCommand::SocketsFetched { request, sockets: Vec::new() },
        },
    };
    Ok(ClusterMessage { sender: None, recipient: None, namespace: namespace.into(), command })
}

/// The sockets of a response: described, or only named.
fn listed_sockets(request: RequestId, list: Input<'_>) -> Result<ClusterCommand> {
    let (mut sockets, mut ids): (Vec<_>, Vec<Arc<str>>) = (Vec::new(), Vec::new());
    list.each(|socket| {
        match socket.is_map() {
            true => sockets.push(socket.socket()?),
            false => ids.push(socket.shared()?),
        }
        Ok(())
    })?;
    match (sockets.is_empty(), ids.is_empty()) {
        (_, true) => Ok(ClusterCommand::SocketsFetched { request, sockets }),
        (true, false) => Ok(ClusterCommand::SocketsListed { request, ids }),
        (false, false) => Err(NOT_A_LIST),
    }
}
