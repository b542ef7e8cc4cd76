//! The messages that most adapters share: a map of `type`, `data`, `uid` and `nsp`.

use super::{
    super::message::{ClusterCommand, ClusterMessage, RequestId},
    INCOMPLETE, NOT_ON_THIS_WIRE, OTHER_NAMESPACE, Result, WireError,
    input::{Input, Message},
    output::Output,
};

pub(super) const EMIT: u64 = 3;
pub(super) const SOCKETS_FETCHED: u64 = 8;
pub(super) const SERVER_SIDE_EMIT: u64 = 9;
pub(super) const SERVER_SIDE_ACK: u64 = 10;
pub(super) const ACK: u64 = 12;

/// The type of a command.
pub(super) fn kind(command: &ClusterCommand) -> Result<u64> {
    Ok(match command {
        ClusterCommand::Hello => 1,
        ClusterCommand::Heartbeat => 2,
        ClusterCommand::Emit { .. } => EMIT,
        ClusterCommand::Join { .. } => 4,
        ClusterCommand::Leave { .. } => 5,
        ClusterCommand::Disconnect { .. } => 6,
        ClusterCommand::FetchSockets { .. } => 7,
        ClusterCommand::SocketsFetched { .. } => SOCKETS_FETCHED,
        ClusterCommand::ServerSideEmit { .. } => SERVER_SIDE_EMIT,
        ClusterCommand::ServerSideAck { .. } => SERVER_SIDE_ACK,
        ClusterCommand::Recipients { .. } => 11,
        ClusterCommand::Ack { .. } => ACK,
        ClusterCommand::Goodbye => 13,
        ClusterCommand::ListSockets { .. }
        | ClusterCommand::SocketsListed { .. }
        | ClusterCommand::ListRooms { .. }
        | ClusterCommand::RoomsListed { .. } => return Err(NOT_ON_THIS_WIRE),
    })
}

/// Encodes a message.
pub(super) fn encode(message: &ClusterMessage, out: &mut Output<'_>) -> Result<()> {
    let kind = kind(&message.command)?;
    let has_data =
        !matches!(message.command, ClusterCommand::Hello | ClusterCommand::Heartbeat | ClusterCommand::Goodbye);
    let sender = message.sender.as_deref().ok_or(INCOMPLETE)?;
    out.map(3 + usize::from(has_data), |out| {
        out.key("type").natural(kind);
        if has_data {
            encode_data(&message.command, out.key("data"));
        }
        out.key("uid").text(sender);
        out.key("nsp").text(&message.namespace);
    });
    Ok(())
}

/// Encodes the `data` of a command.
pub(super) fn encode_data(command: &ClusterCommand, out: &mut Output<'_>) {
    let id = |out: &mut Output<'_>, request: &RequestId| out.key("requestId").text(request.as_str());
    match command {
        ClusterCommand::Emit { options, event, request } => out.map(2 + usize::from(request.is_some()), |out| {
            out.key("packet").packet(event, None);
            if let Some(request) = request {
                id(out, request);
            }
            out.key("opts").options(options);
        }),
        ClusterCommand::Join { options, rooms } | ClusterCommand::Leave { options, rooms } => out.map(2, |out| {
            out.key("opts").options(options);
            out.key("rooms").texts(rooms);
        }),
        ClusterCommand::Disconnect { options, close } => out.map(2, |out| {
            out.key("opts").options(options);
            out.key("close").bool(*close);
        }),
        ClusterCommand::FetchSockets { options, request } => out.map(2, |out| {
            out.key("opts").options(options);
            id(out, request);
        }),
        ClusterCommand::SocketsFetched { request, sockets } => out.map(2, |out| {
            id(out, request);
            out.key("sockets").sockets(sockets);
        }),
        ClusterCommand::ServerSideEmit { event, request } => out.map(1 + usize::from(request.is_some()), |out| {
            if let Some(request) = request {
                id(out, request);
            }
            out.key("packet").payload(event.payload());
        }),
        ClusterCommand::ServerSideAck { request, answer } | ClusterCommand::Ack { request, answer } => {
            // `undefined` is nil in msgpack, and has no key in JSON.
            let has_answer = answer.is_some() || !out.is_json();
            out.map(1 + usize::from(has_answer), |out| {
                id(out, request);
                match answer {
                    Some(answer) => out.key("packet").payload(answer),
                    None if has_answer => out.key("packet").null(),
                    None => {}
                }
            });
        }
        ClusterCommand::Recipients { request, count } => out.map(2, |out| {
            id(out, request);
            out.key("clientCount").natural(*count);
        }),
        _ => out.map(0, |_| ()),
    }
}

/// The namespace that a message must name.
#[derive(Debug, Clone, Copy)]
pub(super) enum Expected<'a> {
    /// That of the channel.
    Only(&'a str),
    /// That of the channel, or none, as emitters for Postgres do.
    OrNone(&'a str),
    /// Any, because there is one channel for all of them.
    Any,
}

/// Decodes a message from a channel.
pub(super) fn decode(message: &Message, expected: Expected<'_>) -> Result<ClusterMessage> {
    decode_fields(message.root().fields(["type", "data", "uid", "nsp"])?, expected)
}

/// Decodes a message from the values of `type`, `data`, `uid` and `nsp`.
pub(super) fn decode_fields(fields: [Option<Input<'_>>; 4], expected: Expected<'_>) -> Result<ClusterMessage> {
    let [kind, data, sender, namespace] = fields;
    let namespace = namespace.map(Input::text).transpose()?;
    let namespace = match (expected, &namespace) {
        (Expected::Only(expected) | Expected::OrNone(expected), Some(namespace)) if namespace != expected => {
            return Err(OTHER_NAMESPACE);
        }
        (Expected::Only(_) | Expected::Any, None) => return Err(INCOMPLETE),
        (Expected::Only(expected) | Expected::OrNone(expected), _) => expected,
        (Expected::Any, Some(namespace)) => &**namespace,
    };
    let command = command(kind.ok_or(INCOMPLETE)?.natural()?, data)?;
    Ok(ClusterMessage::new(sender.ok_or(INCOMPLETE)?.shared()?, namespace, command))
}

/// Decodes a command from its type and `data`.
pub(super) fn command(kind: u64, data: Option<Input<'_>>) -> Result<ClusterCommand> {
    match kind {
        1 => return Ok(ClusterCommand::Hello),
        2 => return Ok(ClusterCommand::Heartbeat),
        13 => return Ok(ClusterCommand::Goodbye),
        _ => {}
    }
    let data = data.ok_or(INCOMPLETE)?;
    let [packet, options, rooms, close, request, sockets, count] =
        data.fields(["packet", "opts", "rooms", "close", "requestId", "sockets", "clientCount"])?;
    let options = || options.ok_or(INCOMPLETE)?.options();
    let some_request = || Ok::<_, WireError>(request.map(Input::shared).transpose()?.map(RequestId::from));
    let request = || some_request()?.ok_or(INCOMPLETE);
    let answer = || {
        let [answer] = data.nullable_fields(["packet"])?;
        answer.map(Input::payload).transpose()
    };
    Ok(match kind {
        EMIT => {
            let (event, _) = packet.ok_or(INCOMPLETE)?.packet()?;
            ClusterCommand::Emit { options: options()?, event, request: some_request()? }
        }
        4 => ClusterCommand::Join { options: options()?, rooms: rooms.ok_or(INCOMPLETE)?.texts()? },
        5 => ClusterCommand::Leave { options: options()?, rooms: rooms.ok_or(INCOMPLETE)?.texts()? },
        6 => ClusterCommand::Disconnect { options: options()?, close: close.and_then(Input::bool).unwrap_or_default() },
        7 => ClusterCommand::FetchSockets { options: options()?, request: request()? },
        SOCKETS_FETCHED => {
            let sockets = sockets.ok_or(INCOMPLETE)?.collect(Input::socket)?;
            ClusterCommand::SocketsFetched { request: request()?, sockets }
        }
        SERVER_SIDE_EMIT => {
            ClusterCommand::ServerSideEmit { event: packet.ok_or(INCOMPLETE)?.event()?, request: some_request()? }
        }
        SERVER_SIDE_ACK => ClusterCommand::ServerSideAck { request: request()?, answer: answer()? },
        11 => ClusterCommand::Recipients { request: request()?, count: count.ok_or(INCOMPLETE)?.natural()? },
        ACK => ClusterCommand::Ack { request: request()?, answer: answer()? },
        _ => return Err(WireError::Message("an unknown type of message")),
    })
}
