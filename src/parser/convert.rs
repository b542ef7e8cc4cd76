//! Converts between the packets of parsers and the server's own form: a header and JSON with attachments. Namespaces, recovery
//! and clusters know only the latter.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use bytes::Bytes;

use crate::{
    engine::{Packet, PacketType},
    packet::{
        Args, Assembled, DecodeError, Encoded, Form, Header, Kind, Limits, Value, read_args, read_header, read_json,
        value::writer::Binary,
    },
    util::log,
};

use super::{Decoder, Parser, ParserError, SocketIoPacket, SocketIoPacketType};

// Encoding.

/// Returns a packet in the form of a parser. It is encoded once. If that fails, the result is empty and the packet is not sent.
/// `count_panic` is called if the parser panics.
pub(crate) fn encoded_by<'a>(
    packet: &'a Encoded,
    form: Form,
    parser: &dyn Parser,
    count_panic: impl FnOnce(),
) -> &'a [Packet] {
    packet.other_form(form, || {
        let messages = encode(packet, parser, count_panic).inspect_err(|error| {
            log!(error, error = %error, "the parser cannot encode a packet, which is dropped");
        });
        Some(messages.unwrap_or_default())
    })
}

/// Encodes a packet in advance for [`encoded_by`], to return the error.
pub(crate) fn try_encode_by(
    packet: &Encoded,
    form: Form,
    parser: &dyn Parser,
    count_panic: impl FnOnce(),
) -> Result<(), ParserError> {
    let messages = encode(packet, parser, count_panic)?;
    packet.other_form(form, || Some(messages));
    Ok(())
}

const PANICKED: ParserError = ParserError::new("the parser panicked");

/// Runs a parser. Converts a panic to an error.
fn catch_panic<R>(run: impl FnOnce() -> Result<R, ParserError>, count_panic: impl FnOnce()) -> Result<R, ParserError> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
        count_panic();
        Err(PANICKED)
    })
}

fn encode(packet: &Encoded, parser: &dyn Parser, count_panic: impl FnOnce()) -> Result<Box<[Packet]>, ParserError> {
    let converted = to_parser(packet)?;
    let messages = catch_panic(|| parser.encode(&converted), count_panic)?;
    if messages.iter().any(|message| message.packet_type() != PacketType::Message) {
        return Err(ParserError::new("the parser returned a packet that is not a message"));
    }
    let text = packet.packets().first().expect("a packet has a text");
    Ok(messages.into_iter().map(|message| message.compress_like(text)).collect())
}

fn to_parser(packet: &Encoded) -> Result<SocketIoPacket, ParserError> {
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
    let (packet_type, data) = match header.kind {
        Kind::Connect => (SocketIoPacketType::Connect, value()?),
        Kind::Disconnect => (SocketIoPacketType::Disconnect, None),
        Kind::Event | Kind::BinaryEvent => (SocketIoPacketType::Event, args()?),
        Kind::Ack | Kind::BinaryAck => (SocketIoPacketType::Ack, args()?),
        Kind::ConnectError => (SocketIoPacketType::ConnectError, value()?),
    };
    Ok(SocketIoPacket { packet_type, namespace: header.namespace().to_owned(), id: header.id, data })
}

// Decoding.

/// The decoder of one connection.
pub(crate) struct DecoderState {
    parser: Arc<dyn Parser>,
    decoder: Option<Box<dyn Decoder>>,
}

impl DecoderState {
    pub(crate) fn new(parser: Arc<dyn Parser>) -> Self {
        Self { parser, decoder: None }
    }

    /// Decodes a message. Returns a packet if the message completes one.
    pub(crate) fn receive(
        &mut self,
        message: &Packet,
        limits: Limits,
        count_panic: impl FnOnce(),
    ) -> Result<Option<Assembled>, DecodeError> {
        let decode = || self.decoder.get_or_insert_with(|| self.parser.decoder(limits)).decode(message);
        match catch_panic(decode, count_panic).map_err(|ParserError(detail)| DecodeError(detail))? {
            Some(packet) => from_parser(packet, limits).map(Some),
            None => Ok(None),
        }
    }
}

impl fmt::Debug for DecoderState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecoderState").field("begun", &self.decoder.is_some()).finish()
    }
}

/// Checks the rules of [`SocketIoPacket`] and converts it.
pub(super) fn from_parser(packet: SocketIoPacket, limits: Limits) -> Result<Assembled, DecodeError> {
    let SocketIoPacket { packet_type, namespace, id, data } = packet;
    // Not representable in the text form.
    if !namespace.starts_with('/') || namespace.contains(',') {
        return Err(DecodeError("illegal namespace"));
    }
    // The array of the arguments does not count.
    let levels = if packet_type == SocketIoPacketType::Connect { limits.depth } else { limits.depth.saturating_add(1) };
    let mut binaries = 0;
    if data.as_ref().is_some_and(|data| !data.is_within(levels, &mut binaries)) {
        return Err(DecodeError("the data is nested deeper than max_json_depth"));
    }
    let (kind, binary) = match (packet_type, &data) {
        (SocketIoPacketType::Connect, None | Some(Value::Object(_))) => (Kind::Connect, Binary::Numbers),
        (SocketIoPacketType::Disconnect, None) => (Kind::Disconnect, Binary::Numbers),
        (SocketIoPacketType::Event, Some(Value::Array(_))) => (Kind::Event, Binary::Attachments { any: binaries > 0 }),
        (SocketIoPacketType::Ack, Some(Value::Array(_))) => (Kind::Ack, Binary::Attachments { any: binaries > 0 }),
        (SocketIoPacketType::ConnectError, _) => return Err(DecodeError("a client must not send CONNECT_ERROR")),
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
