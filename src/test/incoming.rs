//! Decodes messages of the server.

use std::collections::VecDeque;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::{
    engine::{Packet, PacketType},
    packet::read_args,
};

/// A Socket.IO message with its attachments. Socket.IO protocol 5, section "Packet encoding".
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) kind: IncomingKind,
    pub(super) namespace: String,
    pub(super) id: Option<u64>,
    /// May be empty.
    pub(super) json: Bytes,
    pub(super) attachments: Vec<Bytes>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IncomingKind {
    Connect,
    Disconnect,
    Event,
    Ack,
    ConnectError,
}

impl Incoming {
    /// Deserializes the arguments, without the name of an event.
    pub(super) fn args<T: DeserializeOwned + Send + 'static>(&self) -> Result<T, String> {
        let json = if self.json.is_empty() { "[]".to_owned() } else { self.text() };
        let args = read_args(&json, &self.attachments, self.kind == IncomingKind::Event);
        args.map_err(|error| error.into_error().to_string())
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.json).into_owned()
    }
}

/// Removes the first message that is `wanted` from the queue. Returns `None` if it has not arrived, or is incomplete.
pub(super) fn take(queue: &mut VecDeque<Packet>, wanted: impl Fn(&Incoming) -> bool) -> Option<Incoming> {
    let mut at = 0;
    while at < queue.len() {
        let Some((mut message, attachments)) = read_text(&queue[at]) else {
            at += 1;
            continue;
        };
        let end = at + 1 + attachments;
        if end > queue.len() {
            return None;
        }
        if wanted(&message) {
            message.attachments = queue.drain(at..end).skip(1).map(|packet| packet.data_bytes()).collect();
            return Some(message);
        }
        at = end;
    }
    None
}

/// Returns `true` if such a message has arrived.
pub(super) fn contains(queue: &VecDeque<Packet>, wanted: impl Fn(&Incoming) -> bool) -> bool {
    queue.iter().filter_map(read_text).any(|(message, _)| wanted(&message))
}

/// Decodes the text of a message. Also returns the number of attachments that follow. Returns `None` if the packet is not one.
fn read_text(packet: &Packet) -> Option<(Incoming, usize)> {
    if packet.packet_type() != PacketType::Message || packet.is_binary() {
        return None;
    }
    let data = packet.data_bytes();
    let text = std::str::from_utf8(&data).ok()?;
    let (kind, binary) = match text.chars().next()? {
        '0' => (IncomingKind::Connect, false),
        '1' => (IncomingKind::Disconnect, false),
        '2' => (IncomingKind::Event, false),
        '3' => (IncomingKind::Ack, false),
        '4' => (IncomingKind::ConnectError, false),
        '5' => (IncomingKind::Event, true),
        '6' => (IncomingKind::Ack, true),
        _ => return None,
    };
    let mut rest = &text[1..];
    let mut attachments = 0;
    if binary {
        let (count, behind) = rest.split_once('-')?;
        (attachments, rest) = (count.parse().ok()?, behind);
    }
    let mut namespace = "/";
    if rest.starts_with('/') {
        (namespace, rest) = rest.split_once(',').unwrap_or((rest, ""));
    }
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let id = rest[..digits].parse().ok();
    let json = data.slice(data.len() - (rest.len() - digits)..);
    let message = Incoming { kind, namespace: namespace.to_owned(), id, json, attachments: Vec::new() };
    Some((message, attachments))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(packets: &[Packet]) -> VecDeque<Packet> {
        packets.iter().cloned().collect()
    }

    #[test]
    fn every_part_of_a_message_is_decoded() {
        let text = Packet::message(r#"51-/admin,7["m",{"_placeholder":true,"num":0}]"#);
        let mut packets = queue(&[Packet::ping(), text.clone(), Packet::binary("x"), text]);
        let message = take(&mut packets, |_| true).unwrap();
        assert_eq!((message.kind, &*message.namespace, message.id), (IncomingKind::Event, "/admin", Some(7)));
        assert_eq!(message.args::<Bytes>().unwrap(), "x");
        // The attachment of the second one is missing.
        assert!(take(&mut packets, |_| true).is_none());
        assert_eq!(packets.len(), 2);
    }

    #[test]
    fn other_messages_stay_in_the_queue() {
        let mut packets = queue(&[Packet::message(r#"2["a"]"#), Packet::message("31[1]"), Packet::message("x")]);
        let ack = take(&mut packets, |message| message.kind == IncomingKind::Ack).unwrap();
        assert_eq!((ack.id, ack.args::<u8>().unwrap()), (Some(1), 1));
        assert!(take(&mut packets, |message| message.kind == IncomingKind::Ack).is_none());
        assert_eq!(packets.len(), 2);
        let bare = take(&mut queue(&[Packet::message("1/a")]), |_| true).unwrap();
        assert_eq!((bare.kind, &*bare.namespace, bare.text()), (IncomingKind::Disconnect, "/a", String::new()));
    }
}
