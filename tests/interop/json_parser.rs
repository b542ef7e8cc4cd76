//! The parser of docs/parsers.md. `docs::the_parser_of_the_page_is_tested_with_a_client` compares the two.

use serde::{Deserialize, Serialize};
use tower_socketio::{
    Value,
    engine::Packet,
    parser::{Decoder, Limits, Parser, ParserError, SocketIoPacket, SocketIoPacketType},
};

/// A packet as one JSON object. Clients reject fields that are null, so absent ones are omitted.
#[derive(Serialize, Deserialize)]
struct JsonPacket {
    r#type: u8,
    nsp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
}

pub struct JsonParser;

impl Parser for JsonParser {
    fn encode(&self, packet: &SocketIoPacket) -> Result<Vec<Packet>, ParserError> {
        let json = JsonPacket {
            r#type: packet.packet_type as u8,
            nsp: packet.namespace.clone(),
            id: packet.id,
            data: packet.data.clone(),
        };
        let text = serde_json::to_string(&json).map_err(|_| ParserError::new("not JSON"))?;
        Ok(vec![Packet::message(&text)])
    }

    fn decoder(&self, _: Limits) -> Box<dyn Decoder> {
        Box::new(JsonDecoder)
    }
}

struct JsonDecoder;

impl Decoder for JsonDecoder {
    fn decode(&mut self, message: &Packet) -> Result<Option<SocketIoPacket>, ParserError> {
        // serde_json limits its recursion.
        let json: JsonPacket = serde_json::from_slice(message.data()).map_err(|_| ParserError::new("not a packet"))?;
        let packet_type = SocketIoPacketType::from_number(json.r#type.into());
        let packet_type = packet_type.ok_or(ParserError::new("invalid packet type"))?;
        let mut packet = SocketIoPacket::new(packet_type, json.nsp);
        (packet.id, packet.data) = (json.id, json.data);
        Ok(Some(packet))
    }
}
