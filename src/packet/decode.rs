use std::ops::Range;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::engine::Packet;

use super::{
    ArgsError, Json, Kind, is_reserved, is_valid_json, is_within_depth, json::string_length, mend,
    placeholders::Placeholders, read_args, read_only_arg,
};

/// The limits of a decoder. Passed to [`Decoder::decode`](crate::parser::Decoder::decode).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The maximum number of attachments of one packet: [`max_attachments`](crate::SocketIoConfig::max_attachments).
    pub attachments: usize,
    /// The maximum depth of an argument or the auth payload: [`max_json_depth`](crate::SocketIoConfig::max_json_depth). The array
    /// of the arguments does not count.
    pub depth: usize,
}

/// The decoded text of a packet.
///
/// Socket.IO protocol 5, section "Packet encoding":
/// `<type>[<attachments>-][<namespace>,][<ack id>][<JSON>]`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    /// The number of binary messages that follow.
    pub(crate) attachments: usize,
    /// The range of the namespace in the payload's text. Empty for the default namespace.
    namespace: Range<usize>,
    pub(crate) id: Option<u64>,
    /// May be empty. Its depth has been checked; for its syntax see [`decode`].
    pub(crate) payload: Json,
}

impl Header {
    /// Creates the header of a packet that was not decoded from text. `write_json` appends the payload. No attachments follow.
    pub(crate) fn new(kind: Kind, namespace: &str, id: Option<u64>, write_json: impl FnOnce(&mut Vec<u8>)) -> Self {
        let namespace = if namespace == "/" { "" } else { namespace };
        let mut text = namespace.as_bytes().to_vec();
        write_json(&mut text);
        let text = text.into_boxed_slice();
        let payload = Json::from_offset(Bytes::from(text).try_into().expect("JSON is UTF-8"), namespace.len());
        Self { kind, attachments: 0, namespace: 0..namespace.len(), id, payload }
    }

    pub(crate) fn namespace(&self) -> &str {
        match &self.payload.text()[self.namespace.clone()] {
            "" => "/",
            name => name,
        }
    }
}

/// A message is not a valid Socket.IO packet. The connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DecodeError(pub(crate) &'static str);

/// Decodes the text of a packet from an Engine.IO message.
///
/// The payload of CONNECT, DISCONNECT and ACK is validated. Of an event's payload, only the depth, the placeholders and the start
/// are: the rest is validated when the handler's arguments are deserialized, so that it is read once.
pub(crate) fn decode(message: Packet, limits: Limits) -> Result<Header, DecodeError> {
    let header = read_header(message, limits.attachments)?;
    check_payload(&header, limits)?;
    Ok(header)
}

/// Like [`decode`], without validating the payload.
pub(crate) fn read_header(message: Packet, max_attachments: usize) -> Result<Header, DecodeError> {
    let text = message.into_text().ok_or(DecodeError("a packet begins with binary"))?;
    // After the type of the Engine.IO message.
    let mut cursor = Cursor { text: &text, at: 1 };
    let kind = cursor.next().and_then(Kind::from_digit).ok_or(DecodeError("unknown packet type"))?;
    let attachments = if kind.is_binary() { cursor.attachments(max_attachments)? } else { 0 };
    let namespace = cursor.namespace();
    let id = cursor.number().map_err(|Overflow| DecodeError("the ack id exceeds 64 bits"))?;
    let start = cursor.at;
    Ok(Header { kind, attachments, namespace, id, payload: Json::from_offset(text, start) })
}

fn check_payload(header: &Header, limits: Limits) -> Result<(), DecodeError> {
    let payload = &*header.payload;
    // The array of the arguments does not count.
    let levels = if header.kind == Kind::Connect { limits.depth } else { limits.depth.saturating_add(1) };
    if !is_within_depth(payload.as_bytes(), levels) {
        return Err(DecodeError("the JSON is nested deeper than max_json_depth"));
    }
    let first = payload.bytes().find(|byte| !byte.is_ascii_whitespace());
    let valid = match header.kind {
        Kind::Connect => payload.is_empty() || first == Some(b'{') && is_valid_json(payload),
        Kind::Disconnect => payload.is_empty(),
        Kind::Event => payload.is_empty() || first == Some(b'['),
        Kind::BinaryEvent => first == Some(b'['),
        Kind::Ack => payload.is_empty() || first == Some(b'[') && is_valid_json(payload),
        Kind::BinaryAck => first == Some(b'[') && is_valid_json(payload),
        Kind::ConnectError => return Err(DecodeError("a client must not send CONNECT_ERROR")),
    };
    if !valid {
        return Err(DecodeError("invalid payload"));
    }
    match header.attachments {
        0 => Ok(()),
        attachments => Placeholders::find(payload, attachments).map(drop),
    }
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

struct Overflow;

impl Cursor<'_> {
    fn next(&mut self) -> Option<u8> {
        let byte = *self.text.as_bytes().get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    /// Parses decimal digits, if there are any.
    fn number(&mut self) -> Result<Option<u64>, Overflow> {
        let mut value = None;
        while let Some(byte) = self.text.as_bytes().get(self.at)
            && byte.is_ascii_digit()
        {
            let digit = u64::from(byte - b'0');
            value = Some(value.unwrap_or(0u64).checked_mul(10).and_then(|v| v.checked_add(digit)).ok_or(Overflow)?);
            self.at += 1;
        }
        Ok(value)
    }

    fn attachments(&mut self, limit: usize) -> Result<usize, DecodeError> {
        let count = self.number().unwrap_or(Some(u64::MAX));
        match (count, self.next()) {
            (Some(1..), Some(b'-')) => {}
            _ => return Err(DecodeError("illegal attachments")),
        }
        count
            .and_then(|count| usize::try_from(count).ok())
            .filter(|count| *count <= limit)
            .ok_or(DecodeError("more attachments than max_attachments"))
    }

    /// Returns the range of the namespace, which is empty for the default namespace.
    fn namespace(&mut self) -> Range<usize> {
        let start = self.at;
        let rest = &self.text.as_bytes()[start..];
        if rest.first() != Some(&b'/') {
            return 0..0;
        }
        let length = memchr::memchr(b',', rest).unwrap_or(rest.len());
        self.at = (start + length + 1).min(self.text.len());
        if length == 1 { 0..0 } else { start..start + length }
    }
}

/// The payload of an event: a JSON array that begins with the event's name, and the attachments.
#[derive(Debug, Clone)]
pub(crate) struct EventPayload {
    json: Json,
    name: Name,
    attachments: Vec<Bytes>,
}

#[derive(Debug, Clone)]
enum Name {
    /// A slice of the JSON.
    InPlace(Range<usize>),
    /// The JSON has escapes.
    Unescaped(Box<str>),
}

impl EventPayload {
    /// Finds the event's name, without reading the arguments.
    pub(crate) fn new(json: Json, attachments: Vec<Bytes>) -> Result<Self, DecodeError> {
        let name = find_name(&json).ok_or(DecodeError("invalid payload"))?;
        let is_reserved = match &name {
            Name::InPlace(range) => is_reserved(&json.as_bytes()[range.clone()]),
            Name::Unescaped(name) => is_reserved(name.as_bytes()),
        };
        match is_reserved {
            true => Err(DecodeError("the event name is reserved")),
            false => Ok(Self { json, name, attachments }),
        }
    }

    pub(crate) fn name(&self) -> &str {
        match &self.name {
            Name::InPlace(range) => &self.json[range.clone()],
            Name::Unescaped(name) => name,
        }
    }

    /// Returns the whole array, name included.
    pub(crate) fn json(&self) -> &str {
        &self.json
    }

    /// Like [`json`](Self::json), with shared ownership.
    pub(crate) fn text(&self) -> &Json {
        &self.json
    }

    /// Returns the number of bytes of the array and the attachments.
    #[inline]
    pub(crate) fn size(&self) -> usize {
        self.json.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }

    /// Deserializes the arguments.
    pub(crate) fn args<T: DeserializeOwned + Send + 'static>(&self) -> Result<T, ArgsError> {
        let simple = match &self.name {
            Name::InPlace(range) => self.json[range.end..].strip_prefix('"'),
            Name::Unescaped(_) => None,
        };
        match simple.and_then(|rest| read_only_arg(rest, &self.attachments)) {
            Some(args) => Ok(args),
            None => read_args(&self.json, &self.attachments, true),
        }
    }
}

fn skip_space(json: &[u8], from: usize) -> usize {
    let rest = json.get(from..).unwrap_or_default();
    from + rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count()
}

/// Finds the first element of an array: a string, or a number, which JavaScript accepts as a name.
fn find_name(text: &str) -> Option<Name> {
    let json = text.as_bytes();
    // Fast path: the form that `JSON.stringify` writes.
    if json.starts_with(b"[\"") {
        return find_string(text, 1);
    }
    let open = skip_space(json, 0);
    if json.get(open) != Some(&b'[') {
        return None;
    }
    let start = skip_space(json, open + 1);
    match json.get(start)? {
        b'"' => find_string(text, start),
        b'-' | b'0'..=b'9' => {
            let length = json[start..].iter().take_while(|byte| !matches!(byte, b',' | b']' | b' ')).count();
            let number = start..start + length;
            is_valid_json(text.get(number.clone())?).then_some(Name::InPlace(number))
        }
        _ => None,
    }
}

fn find_string(json: &str, start: usize) -> Option<Name> {
    let text = start + 1;
    let length = json.as_bytes()[text..].iter().position(|byte| matches!(byte, b'"' | b'\\' | ..0x20))?;
    match json.as_bytes()[text + length] {
        b'"' => Some(Name::InPlace(text..text + length)),
        b'\\' => unescape(json, start).map(Name::Unescaped),
        _ => None,
    }
}

/// Decodes the string literal at `start`.
#[cold]
fn unescape(json: &str, start: usize) -> Option<Box<str>> {
    let end = start + 1 + string_length(&json.as_bytes()[start + 1..]);
    let literal = json.get(start..end).filter(|literal| is_valid_json(literal))?;
    let readable = mend(literal);
    serde_json::from_str(readable.as_deref().unwrap_or(literal)).ok()
}

#[cfg(test)]
mod tests {
    use bytestring::ByteString;

    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits { attachments: 10, depth: 64 };

    fn read(packet: &str) -> Result<Header, DecodeError> {
        decode(Packet::message(packet), LIMITS)
    }

    fn event(json: &'static str) -> Result<String, DecodeError> {
        EventPayload::new(ByteString::from_static(json).into(), Vec::new()).map(|event| event.name().to_owned())
    }

    #[test]
    fn every_part_of_a_packet_is_decoded() {
        let header = read(r#"51-/admin,456["m",{"_placeholder":true,"num":0}]"#).unwrap();
        assert_eq!(header.kind, Kind::BinaryEvent);
        assert_eq!(header.attachments, 1);
        assert_eq!(header.namespace(), "/admin");
        assert_eq!(header.id, Some(456));
        assert_eq!(&*header.payload, r#"["m",{"_placeholder":true,"num":0}]"#);
    }

    #[test]
    fn the_default_namespace_is_optional() {
        assert_eq!(read("0").unwrap().namespace(), "/");
        assert_eq!(read("0/,").unwrap().namespace(), "/");
        assert_eq!(read("0/").unwrap().namespace(), "/");
        assert_eq!(read("0/a").unwrap().namespace(), "/a");
        assert_eq!(read(r#"0/a,{"t":1}"#).unwrap().namespace(), "/a");
    }

    #[test]
    fn invalid_attachment_counts_are_rejected() {
        for packet in ["5", "51", "5a-", "51.23-", "5-1-", "50-[\"a\"]", "5-[\"a\"]", "599999999999999999999-[\"a\"]"] {
            assert_eq!(read(packet), Err(DecodeError("illegal attachments")), "{packet}");
        }
        assert_eq!(read(r#"511-["a"]"#), Err(DecodeError("more attachments than max_attachments")));
    }

    #[test]
    fn a_binary_event_without_payload_is_rejected() {
        assert_eq!(read("51-"), Err(DecodeError("invalid payload")));
    }

    #[test]
    fn payloads_that_do_not_match_the_type_are_rejected() {
        for packet in ["0[]", "0\"x\"", "0null", "0garbage", "0{", "1/admin,{}", "2{}", "2abc", "3{}", "35{}", "35[1"] {
            assert_eq!(read(packet), Err(DecodeError("invalid payload")), "{packet}");
        }
        assert!(read("4{\"message\":\"x\"}").is_err());
        assert!(read("7").is_err());
        assert!(read("").is_err());
        assert!(read(" ").is_err());
    }

    #[test]
    fn an_ack_id_over_64_bits_is_rejected() {
        assert_eq!(read("218446744073709551615[\"a\"]").unwrap().id, Some(u64::MAX));
        assert!(read("218446744073709551616[\"a\"]").is_err());
    }

    #[test]
    fn event_names_are_found_with_or_without_escapes() {
        assert_eq!(event(r#"["hello",1]"#).unwrap(), "hello");
        assert_eq!(event(r#" [ "hello" , 1]"#).unwrap(), "hello");
        assert_eq!(event(r#"["a\"b\u00e9"]"#).unwrap(), "a\"bé");
        assert_eq!(event(r#"["a\ud83d"]"#).unwrap(), "a\u{fffd}");
        assert_eq!(event("[12.5,1]").unwrap(), "12.5");
        assert_eq!(event("[1]").unwrap(), "1");
        assert_eq!(event("[-1e400,1]").unwrap(), "-1e400");
        assert_eq!(event(r#"["__proto__"]"#).unwrap(), "__proto__");
    }

    #[test]
    fn invalid_event_names_are_rejected() {
        for json in ["[]", "[true]", "[null]", "[{}]", "[\"a", "[\"a\\", "[-]", "[1x]", "[01]", "[1é]", "", "["] {
            assert_eq!(event(json), Err(DecodeError("invalid payload")), "{json}");
        }
        assert_eq!(event(r#"["connect"]"#), Err(DecodeError("the event name is reserved")));
        assert_eq!(event(r#"["disc\u006fnnect"]"#), Err(DecodeError("the event name is reserved")));
    }

    proptest! {
        #[test]
        fn decoding_never_panics(packet in ".{0,120}") {
            if let Ok(header) = decode(Packet::message(&packet), LIMITS) {
                let _ = header.namespace();
                let _ = EventPayload::new(header.payload, Vec::new()).map(|event| event.name().len());
            }
        }

        #[test]
        fn decoding_likely_packets_never_panics(packet in r#"[0-7]([0-9]{0,3}-)?(/[a-z]{0,3},?)?[0-9]{0,21}(\[|\{)?["a-z\\,\[\]{}0-9]{0,20}"#) {
            if let Ok(header) = decode(Packet::message(&packet), LIMITS) {
                let _ = EventPayload::new(header.payload, Vec::new()).map(|event| event.name().len());
            }
        }
    }
}
