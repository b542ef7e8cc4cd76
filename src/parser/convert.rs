//! Between a parser's packets and the form in which the server keeps them: the protocol's own, a header and JSON with
//! attachments. That form alone is known to namespaces, recovery and the cluster.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use bytes::Bytes;

use crate::{
    engine::{Packet, PacketType},
    packet::{
        Args, Assembled, DecodeError, Encoded, Header, Kind, Limits, Value, read_args, read_header, read_json,
        value::Binary,
    },
    util::log,
};

use super::{Decoder, Parser, ParserError, SocketPacket, SocketPacketKind};

// Outwards.

/// The messages of a packet, as a parser has them: made once. One that cannot be made is not sent. `count_panic` is called if the
/// parser panics.
pub(crate) fn translated<'a>(packet: &'a Encoded, parser: &dyn Parser, count_panic: impl FnOnce()) -> &'a [Packet] {
    packet.other_form(|| {
        let messages = encode(packet, parser, count_panic).inspect_err(|error| {
            log!(error, error = %error, "the parser cannot encode a packet, which is dropped");
        });
        Some(messages.unwrap_or_default())
    })
}

/// As [`translated`], ahead of the time, to find out whether it can be done.
pub(crate) fn prepare(packet: &Encoded, parser: &dyn Parser, count_panic: impl FnOnce()) -> Result<(), ParserError> {
    let messages = encode(packet, parser, count_panic)?;
    packet.other_form(|| Some(messages));
    Ok(())
}

const PANICKED: ParserError = ParserError::new("the parser panicked");

/// Runs a parser. A panic is an error of the packet.
fn contained<R>(run: impl FnOnce() -> Result<R, ParserError>, count_panic: impl FnOnce()) -> Result<R, ParserError> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
        count_panic();
        Err(PANICKED)
    })
}

fn encode(packet: &Encoded, parser: &dyn Parser, count_panic: impl FnOnce()) -> Result<Box<[Packet]>, ParserError> {
    let compress = packet.packets().first().is_some_and(Packet::may_be_compressed);
    let packet = to_parser(packet)?;
    let messages = contained(|| parser.encode(&packet), count_panic)?;
    if messages.iter().any(|message| message.packet_type() != PacketType::Message) {
        return Err(ParserError::new("the parser's packet is no message"));
    }
    Ok(messages.into_iter().map(|message| message.compress(compress)).collect())
}

fn to_parser(packet: &Encoded) -> Result<SocketPacket, ParserError> {
    const UNREADABLE: ParserError = ParserError::new("the JSON cannot be read again: it is nested too deeply");
    let (text, attachments) = packet.packets().split_first().expect("a packet has a text");
    let header = read_header(text.clone(), usize::MAX).map_err(|_| UNREADABLE)?;
    let attachments: Vec<Bytes> = attachments.iter().map(Packet::data_bytes).collect();
    let args = || match read_args::<Args>(&header.payload, &attachments, false) {
        Ok(Args(args)) => Ok(Some(Value::Array(args))),
        Err(_) => Err(UNREADABLE),
    };
    let value = || match header.payload.is_empty() {
        true => Ok(None),
        false => read_json(header.payload.as_bytes()).map(Some).map_err(|_| UNREADABLE),
    };
    let (kind, data) = match header.kind {
        Kind::Connect => (SocketPacketKind::Connect, value()?),
        Kind::Disconnect => (SocketPacketKind::Disconnect, None),
        Kind::Event | Kind::BinaryEvent => (SocketPacketKind::Event, args()?),
        Kind::Ack | Kind::BinaryAck => (SocketPacketKind::Ack, args()?),
        Kind::ConnectError => (SocketPacketKind::ConnectError, value()?),
    };
    Ok(SocketPacket { kind, namespace: header.namespace().to_owned(), id: header.id, data })
}

// Inwards.

/// What a connection's decoder has read so far.
pub(crate) struct Reading {
    parser: Arc<dyn Parser>,
    decoder: Option<Box<dyn Decoder>>,
}

impl Reading {
    pub(crate) fn new(parser: Arc<dyn Parser>) -> Self {
        Self { parser, decoder: None }
    }

    /// Takes a message; answers a packet if it completes one.
    pub(crate) fn receive(
        &mut self,
        message: &Packet,
        limits: Limits,
        count_panic: impl FnOnce(),
    ) -> Result<Option<Assembled>, DecodeError> {
        let decode = || self.decoder.get_or_insert_with(|| self.parser.decoder(limits)).decode(message);
        match contained(decode, count_panic).map_err(|ParserError(detail)| DecodeError(detail))? {
            Some(packet) => from_parser(packet, limits).map(Some),
            None => Ok(None),
        }
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").field("begun", &self.decoder.is_some()).finish()
    }
}

/// Checks a packet by the rules of [`SocketPacket`].
pub(super) fn from_parser(packet: SocketPacket, limits: Limits) -> Result<Assembled, DecodeError> {
    let SocketPacket { kind, namespace, id, data } = packet;
    // The form that everything else knows could not carry it.
    if !namespace.starts_with('/') || namespace.contains(',') {
        return Err(DecodeError("illegal namespace"));
    }
    // Arguments stand in an array.
    let levels = if kind == SocketPacketKind::Connect { limits.depth } else { limits.depth.saturating_add(1) };
    let mut binaries = 0;
    if data.as_ref().is_some_and(|data| !data.is_within(levels, &mut binaries)) {
        return Err(DecodeError("the data is nested deeper than max_json_depth"));
    }
    let (kind, binary) = match (kind, &data) {
        (SocketPacketKind::Connect, None | Some(Value::Object(_))) => (Kind::Connect, Binary::Numbers),
        (SocketPacketKind::Disconnect, None) => (Kind::Disconnect, Binary::Numbers),
        (SocketPacketKind::Event, Some(Value::Array(_))) => (Kind::Event, Binary::Attachments { any: binaries > 0 }),
        (SocketPacketKind::Ack, Some(Value::Array(_))) => (Kind::Ack, Binary::Attachments { any: binaries > 0 }),
        (SocketPacketKind::ConnectError, _) => return Err(DecodeError("a client must not send CONNECT_ERROR")),
        _ => return Err(DecodeError("invalid payload")),
    };
    let mut attachments = Vec::new();
    let header = Header::new(kind, &namespace, id, |text| {
        if let Some(data) = data {
            data.write_json(text, binary, &mut attachments);
        }
    });
    attachments.shrink_to_fit();
    Ok(Assembled { header, attachments })
}
