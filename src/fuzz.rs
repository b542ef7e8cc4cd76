//! The functions that the fuzz targets run. Each accepts any bytes, and must not panic, hang or violate its assertions.
//!
//! Compiled with `cfg(fuzzing)`, and in tests, which replay the committed seeds.

#[cfg(feature = "permessage-deflate")]
mod deflate;
mod session;
mod websocket;
mod webtransport;

use bytes::Bytes;

use crate::{
    engine::{Packet, PayloadDecoder, ProtocolVersion, RequestQuery, WireFormat, encode_payload, relay_fuzz},
    packet::{Args, ArgsError, Assembler, EventPayload, Limits, Target, decode, encode_event, is_valid_json, mend},
};

#[cfg(feature = "permessage-deflate")]
pub use self::deflate::deflate;
pub use self::{session::session, websocket::websocket, webtransport::webtransport};

const LIMITS: Limits = Limits { attachments: 10, depth: 100 };

/// Decodes a Socket.IO packet: its text, and the rest of the input as attachments.
pub fn packet(data: &[u8]) {
    let mut parts = data.split(|byte| *byte == 0xff);
    let Ok(text) = std::str::from_utf8(parts.next().unwrap_or_default()) else {
        return;
    };
    let Ok(header) = decode(Packet::message(text), LIMITS) else {
        return;
    };
    let namespace = header.namespace().to_owned();
    let (id, announced) = (header.id, header.attachments);
    let attachments: Vec<Bytes> = parts.take(announced).map(Bytes::copy_from_slice).collect();
    if attachments.len() < announced {
        return;
    }
    mended(&header.payload);
    let Ok(event) = EventPayload::new(header.payload, attachments) else {
        return;
    };
    match event.args::<Args>() {
        // Decoding is reversible.
        Ok(args) => {
            assert!(is_valid_json(event.json()));
            let encoded = encode_event(Target { namespace: &namespace, id }, event.name(), &args);
            let encoded = encoded.expect("decoded JSON can be encoded");
            let [text, attachments @ ..] = encoded.packets() else { panic!("a packet has a text") };
            // A duplicate key may have dropped some.
            assert!(attachments.len() <= announced);
            let many = Limits { attachments: usize::MAX, depth: usize::MAX };
            let again = decode(text.clone(), many).expect("an encoded packet is valid");
            assert_eq!((again.namespace(), again.id), (&*namespace, id));
            let attachments = attachments.iter().map(|packet| packet.data_bytes()).collect();
            let again = EventPayload::new(again.payload, attachments).expect("an encoded event is valid");
            assert_eq!(again.name(), event.name());
            let read = again.args::<Args>().expect("encoded arguments can be decoded");
            assert_eq!(read, args);
        }
        Err(ArgsError::Mismatch(error)) => panic!("any JSON matches values: {error}"),
        Err(ArgsError::Malformed(_)) => assert!(!is_valid_json(event.json())),
    }
}

/// Checks that valid JSON can be deserialized once it is mended, and needs no further mending.
fn mended(json: &str) {
    if is_valid_json(json) {
        let mended = mend(json);
        let readable = mended.as_deref().unwrap_or(json);
        assert!(serde_json::from_str::<serde_json::Value>(readable).is_ok());
        assert_eq!(mend(readable), None);
    }
}

/// Decodes a message between two nodes about a forwarded request.
pub fn relay(data: &[u8]) {
    relay_fuzz::decode(data);
}

/// Decodes the body of a long-polling request. The first byte selects the format.
pub fn payload(data: &[u8]) {
    let Some((form, body)) = data.split_first() else {
        return;
    };
    let protocol = if form & 1 == 0 { ProtocolVersion::V4 } else { ProtocolVersion::V3 };
    let query =
        RequestQuery { base64: form & 2 != 0, jsonp: (form & 4 != 0).then_some("0".into()), ..RequestQuery::default() };
    let wire_format = WireFormat::from_query(&query, protocol);
    let octet_stream = form & 8 != 0;
    let Ok(packets) = PayloadDecoder::new(&wire_format, octet_stream, Bytes::copy_from_slice(body)) else {
        return;
    };
    let Ok(packets) = packets.collect::<Result<Vec<Packet>, _>>() else {
        return;
    };
    // Decoding is reversible.
    let wire_format = WireFormat::default_for(protocol);
    let payload = encode_payload(&wire_format, packets.clone());
    let octet_stream = payload.content_type == "application/octet-stream";
    if !packets.is_empty() && !packets.iter().any(|packet| packet.data().contains(&0x1e)) {
        let again =
            PayloadDecoder::new(&wire_format, octet_stream, payload.body).expect("our own payload is well formed");
        assert_eq!(again.collect::<Result<Vec<_>, _>>().as_deref(), Ok(&*packets));
    }
}

/// Decodes the frames of one connection. A frame that begins with `t` is text, one with `b` binary.
pub fn frames(data: &[u8]) {
    let mut assembler = Assembler::new(100);
    for frame in data.split(|byte| *byte == 0xff) {
        let assembled = match frame.split_first() {
            Some((b't', text)) => {
                let Ok(packet) = Packet::from_text(Bytes::copy_from_slice(text)) else {
                    return;
                };
                let Ok(header) = decode(packet, LIMITS) else {
                    return;
                };
                assembler.text(header)
            }
            Some((b'b', data)) => assembler.binary(Bytes::copy_from_slice(data)),
            _ => return,
        };
        match assembled {
            Ok(Some(packet)) => assert_eq!(packet.attachments.len(), packet.header.attachments),
            Ok(None) => assert!(assembler.is_waiting()),
            Err(_) => return,
        }
    }
}

/// Applies operations to a registry of rooms, and compares it with a model.
pub fn registry(data: &[u8]) {
    crate::room::check_registry(data);
}

/// Applies events, disconnections and recoveries to a history, and compares it with a model.
pub fn history(data: &[u8]) {
    crate::recovery::check_history(data);
}

/// Decodes a msgpack message.
#[cfg(feature = "msgpack")]
pub fn msgpack(data: &[u8]) {
    use std::sync::Arc;

    use crate::{
        packet::{encode_ack, encode_args, read_args},
        parser::{DecoderState, MsgpackParser, Parser, Parsers, SocketIoPacketType},
    };

    let mut parsers = Parsers::default();
    parsers.set_default(MsgpackParser);

    let message = Packet::binary(Bytes::copy_from_slice(data));
    let Ok(Some(packet)) = MsgpackParser.decoder(LIMITS).decode(&message) else {
        return;
    };
    // Decoding is reversible.
    let again = MsgpackParser.encode(&packet).expect("what came as msgpack is msgpack");
    let many = Limits { attachments: usize::MAX, depth: usize::MAX };
    let [again] = &*again else { panic!("a packet is one message") };
    assert_eq!(MsgpackParser.decoder(many).decode(again).as_ref(), Ok(&Some(packet.clone())));
    let Ok(Some(assembled)) = DecoderState::new(Arc::new(MsgpackParser)).receive(&message, LIMITS, || {}) else {
        return;
    };
    // Conversion to the server's own form preserves everything, including the order of keys.
    if packet.packet_type != SocketIoPacketType::Ack {
        return;
    }
    let header = assembled.header;
    let args = read_args::<Args>(&header.payload, &assembled.attachments, false).expect("our own JSON is read");
    let target = Target { namespace: header.namespace(), id: header.id };
    let encoded = encode_ack(target, encode_args(&args).expect("values are JSON"));
    let [sent] = parsers.encoded(&encoded, parsers.default_form(), || {}) else { panic!("a packet is one message") };
    assert_eq!(sent.data(), again.data());
}

/// A message of a cluster: the first byte says which decoder reads it.
#[cfg(any(feature = "nats", feature = "postgres", feature = "redis"))]
pub fn cluster(data: &[u8]) {
    crate::cluster::wire::fuzz::decode_any(data);
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    #[test]
    fn the_seeds_do_not_fail() {
        let targets: [(&str, fn(&[u8])); 9] = [
            ("packet", super::packet),
            ("payload", super::payload),
            ("frames", super::frames),
            ("session", super::session),
            ("websocket", super::websocket),
            ("webtransport", super::webtransport),
            ("registry", super::registry),
            ("history", super::history),
            ("relay", super::relay),
        ];
        #[cfg(feature = "msgpack")]
        let targets = targets.into_iter().chain([("msgpack", super::msgpack as fn(&[u8]))]);
        #[cfg(feature = "permessage-deflate")]
        let targets = targets.into_iter().chain([("deflate", super::deflate as fn(&[u8]))]);
        #[cfg(any(feature = "nats", feature = "postgres", feature = "redis"))]
        let targets = targets.into_iter().chain([("cluster", super::cluster as fn(&[u8]))]);
        for (name, target) in targets {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
            let seeds: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
            assert!(seeds.len() > 3, "{name} has seeds");
            for seed in seeds {
                target(&fs::read(seed).unwrap());
            }
        }
    }
}
