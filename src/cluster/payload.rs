//! Values on their way between nodes: JSON, and the binary in it.

use std::borrow::Cow;

use bytes::Bytes;
use bytestring::ByteString;
use serde::{
    Serialize,
    de::{DeserializeOwned, Error as _},
};

use crate::packet::{
    Args, ArgsError, Encoded, MAX_JSON_DEPTH, Placeholders, Target, encode_args, is_reserved, is_valid_json,
    is_within_depth, mend, read_args, string_length,
};

/// The levels of an argument, and the array of the arguments.
const MAX_LEVELS: usize = MAX_JSON_DEPTH + 1;

/// What msgpack can express.
const MAX_LENGTH: usize = u32::MAX as usize;

/// Data that is not a valid [`Payload`] or [`EventBody`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidPayload(pub(crate) &'static str);

/// A JSON value, with the binary in it as attachments.
///
/// Binary has the form that it has in a packet: `{"_placeholder":true,"num":N}` stands for the attachment with the index `N`. Each
/// attachment is named exactly once. A payload without attachments has no placeholders: an object that looks like one is an
/// object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    json: ByteString,
    attachments: Vec<Bytes>,
}

impl Payload {
    /// Checks a JSON value and its attachments.
    ///
    /// # Errors
    ///
    /// Returns an error if the text is not JSON, if it is nested deeper than 1025 levels, or if its placeholders do not name each
    /// attachment once.
    pub fn new(json: impl Into<Bytes>, attachments: Vec<Bytes>) -> Result<Self, InvalidPayload> {
        let json = ByteString::try_from(json.into()).map_err(|_| InvalidPayload("the JSON is not UTF-8"))?;
        if !is_valid_json(&json) {
            return Err(InvalidPayload("invalid JSON"));
        }
        Placeholders::find(&json, attachments.len()).map_err(|error| InvalidPayload(error.0))?;
        let trimmed = json.trim_matches([' ', '\t', '\n', '\r']);
        Self::trusted(json.slice_ref(trimmed), attachments)
    }

    /// A JSON value that is known to be valid, as are its placeholders.
    pub(crate) fn trusted(json: ByteString, attachments: Vec<Bytes>) -> Result<Self, InvalidPayload> {
        if !is_within_depth(json.as_bytes(), MAX_LEVELS) {
            return Err(InvalidPayload("the JSON is nested too deeply"));
        }
        if [json.len()].into_iter().chain(attachments.iter().map(Bytes::len)).any(|length| length > MAX_LENGTH) {
            return Err(InvalidPayload("the JSON or an attachment is too large"));
        }
        Ok(Self { json, attachments })
    }

    /// Returns JSON of this server, which is known to be valid.
    pub(crate) fn of_json(json: Bytes) -> Option<Self> {
        Self::trusted(ByteString::try_from(json).ok()?, Vec::new()).ok()
    }

    /// Returns `{}`.
    pub(crate) fn empty() -> Self {
        Self::literal("{}")
    }

    /// Returns `true` for the data of a socket for which nothing has been stored. Node.js has an empty object then.
    pub(crate) fn is_unset(&self) -> bool {
        matches!(self.json(), "{}" | "null")
    }

    /// A JSON value without binary.
    pub(crate) const fn literal(json: &'static str) -> Self {
        Self { json: ByteString::from_static(json), attachments: Vec::new() }
    }

    /// The JSON, without white space around it.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.json
    }

    /// The attachments, in the order of their numbers.
    #[must_use]
    pub fn attachments(&self) -> &[Bytes] {
        &self.attachments
    }

    /// The JSON and the attachments.
    #[must_use]
    pub fn into_parts(self) -> (Bytes, Vec<Bytes>) {
        (self.json.into_bytes(), self.attachments)
    }
}

impl Payload {
    /// Encodes a value, which is one argument even if it is a tuple.
    pub(crate) fn encode<T: Serialize>(value: &T) -> serde_json::Result<Self> {
        let (json, attachments) = encode_args(&Args(vec![value]))?.into_parts();
        let json = ByteString::try_from(json).expect("JSON is UTF-8");
        // Without the brackets of the array.
        let json = json.slice_ref(&json[1..json.len() - 1]);
        Ok(Self { json, attachments })
    }

    /// Deserializes the value.
    pub(crate) fn read<T: DeserializeOwned + Send + 'static>(&self) -> serde_json::Result<T> {
        let args = ["[", self.json(), "]"].concat();
        let value: Args<T> = read_args(&args, &self.attachments, false).map_err(ArgsError::into_error)?;
        value.into_iter().next().ok_or_else(|| serde_json::Error::custom("no value"))
    }

    /// Deserializes the arguments of an ack that consists of this value.
    pub(crate) fn read_as_args<T: DeserializeOwned + Send + 'static>(&self) -> serde_json::Result<T> {
        let args = ["[", self.json(), "]"].concat();
        read_args(&args, &self.attachments, false).map_err(ArgsError::into_error)
    }

    /// Deserializes the arguments of an ack without any.
    pub(crate) fn read_no_args<T: DeserializeOwned + Send + 'static>() -> serde_json::Result<T> {
        read_args("[]", &[], false).map_err(ArgsError::into_error)
    }
}

impl Default for Payload {
    /// `null`.
    fn default() -> Self {
        Self::literal("null")
    }
}

/// An event: a [`Payload`] that is an array, of which the first element is the event's name.
///
/// The name is a string, or a number, as in JavaScript.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventBody(Payload);

impl EventBody {
    /// Checks the array of an event's name and arguments, and its attachments.
    ///
    /// # Errors
    ///
    /// As [`Payload::new`], and if the JSON is not an array that begins with a name.
    pub fn new(json: impl Into<Bytes>, attachments: Vec<Bytes>) -> Result<Self, InvalidPayload> {
        Self::from_payload(Payload::new(json, attachments)?)
    }

    pub(crate) fn from_payload(payload: Payload) -> Result<Self, InvalidPayload> {
        let first = payload.json().strip_prefix('[').map(first_byte);
        match first {
            Some(Some(b'"' | b'-' | b'0'..=b'9')) => Ok(Self(payload)),
            _ => Err(InvalidPayload("an event is not an array that begins with a name")),
        }
    }

    /// The JSON: an array.
    #[must_use]
    pub fn json(&self) -> &str {
        self.0.json()
    }

    /// The attachments, in the order of their numbers.
    #[must_use]
    pub fn attachments(&self) -> &[Bytes] {
        self.0.attachments()
    }

    /// The JSON and the attachments.
    #[must_use]
    pub fn into_parts(self) -> (Bytes, Vec<Bytes>) {
        self.0.into_parts()
    }

    /// The name of the event.
    #[must_use]
    pub fn name(&self) -> Cow<'_, str> {
        let rest = self.json()[1..].trim_start();
        if rest.starts_with('"') {
            return unescape(&rest[..1 + string_length(&rest.as_bytes()[1..])]);
        }
        rest.split([',', ']', ' ', '\t', '\n', '\r']).next().unwrap_or_default().into()
    }

    /// Whether Socket.IO uses the name itself. A client that receives such an event disconnects.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        is_reserved(self.name().as_bytes())
    }

    #[cfg(any(feature = "nats", feature = "postgres", feature = "redis"))]
    pub(crate) fn payload(&self) -> &Payload {
        &self.0
    }

    /// Returns the event of a packet, which was encoded for a target.
    pub(crate) fn from_packet(packet: &Encoded, target: Target<'_>) -> Self {
        let (json, attachments) = packet.event(target);
        let json = ByteString::try_from(json).expect("a packet is UTF-8");
        Self(Payload { json, attachments })
    }

    /// Returns a packet for clients. `None` if they would reject it, because its name is reserved.
    pub(crate) fn to_packet(&self, target: Target<'_>) -> Option<Encoded> {
        (!self.is_reserved()).then(|| Encoded::from_event(target, self.json().as_bytes(), self.attachments()))
    }

    /// Deserializes the arguments.
    pub(crate) fn args<T: DeserializeOwned + Send + 'static>(&self) -> serde_json::Result<T> {
        read_args(self.json(), self.attachments(), true).map_err(ArgsError::into_error)
    }
}

fn first_byte(json: &str) -> Option<u8> {
    json.bytes().find(|byte| !byte.is_ascii_whitespace())
}

/// The content of a valid string literal. Half of a surrogate pair becomes U+FFFD.
pub(crate) fn unescape(literal: &str) -> Cow<'_, str> {
    let content = literal.get(1..literal.len().saturating_sub(1)).unwrap_or_default();
    if !content.contains('\\') {
        return content.into();
    }
    let readable = mend(literal);
    serde_json::from_str::<String>(readable.as_deref().unwrap_or(literal)).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(json: &'static str) -> Result<EventBody, InvalidPayload> {
        EventBody::new(json, Vec::new())
    }

    #[test]
    fn an_event_is_an_array_that_begins_with_a_name() {
        for (json, name) in [
            (r#"["a"]"#, "a"),
            (r#" [ "a\"\u00e9" , 1 ] "#, "a\"é"),
            (r#"["\ud83d"]"#, "\u{fffd}"),
            ("[-1.5]", "-1.5"),
            ("[42 ,1]", "42"),
            (r#"[""]"#, ""),
        ] {
            assert_eq!(event(json).unwrap().name(), name);
        }
        for json in ["[]", "[ ]", "[null]", "[true]", "[[]]", "{}", r#""a""#, "1", "null", ""] {
            assert!(event(json).is_err(), "{json}");
        }
        assert_eq!(event(" [\"a\"]\n").unwrap().json(), r#"["a"]"#);
    }

    #[test]
    fn names_that_clients_refuse_are_known() {
        assert!(event(r#"["disc\u006fnnect"]"#).unwrap().is_reserved());
        assert!(!event(r#"["message"]"#).unwrap().is_reserved());
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for json in [&b"[1"[..], b"", b"\"\xff\"", b"1 2", b"{\"a\"}", b"[01]"] {
            assert!(Payload::new(json, Vec::new()).is_err(), "{json:?}");
        }
        let deep = |levels| Payload::new("[".repeat(levels) + &"]".repeat(levels), Vec::new());
        assert!(deep(1025).is_ok());
        assert!(deep(1026).is_err());
    }

    #[test]
    fn each_attachment_is_named_once() {
        let payload = |json: &'static str, count| Payload::new(json, vec![Bytes::new(); count]);
        assert!(payload(r#"{"_placeholder":true,"num":0}"#, 1).is_ok());
        assert!(payload(r#"{"_placeholder":true,"num":0}"#, 0).is_ok());
        assert!(payload(r#"{"_placeholder":true,"num":1}"#, 1).is_err());
        assert!(payload(r#"[{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]"#, 1).is_err());
        assert!(payload("[]", 1).is_err());
    }
}
