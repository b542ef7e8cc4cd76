use std::{
    cell::Cell,
    io::{self, Write},
};

use bytes::Bytes;
use serde::Serialize;

use crate::engine::{Outbox, Packet, PacketQueue};

use super::{
    arity::{Arity, arity},
    attachment_writer::{AttachmentWriter, disambiguate, is_ambiguous},
    forms::{Form, OtherForms},
};

/// An encoded packet. Encoded once for all recipients.
///
/// The primary form is JSON text with attachments, also if the server has custom parsers.
#[derive(Debug, Clone)]
pub(crate) struct Encoded {
    content: Content,
    others: OtherForms,
}

#[derive(Debug, Clone)]
enum Content {
    Text(Packet),
    /// The text and its attachments.
    Binary(Box<[Packet]>),
}

impl Encoded {
    /// Creates an event from its JSON array and attachments, which another node has encoded.
    pub(crate) fn from_event(target: Target<'_>, json: &[u8], attachments: &[Bytes]) -> Self {
        let header = HeaderWriter { kinds: EVENT, target, attachments: attachments.len() };
        Self::assemble(header.before(json).into(), attachments.iter().cloned().map(Packet::binary).collect())
    }

    /// Returns the JSON array and the attachments of an event that was encoded for a target. They are shared.
    pub(crate) fn event(&self, target: Target<'_>) -> (Bytes, Vec<Bytes>) {
        let (text, attachments) = self.packets().split_first().expect("a packet has a text");
        let header = HeaderWriter { kinds: EVENT, target, attachments: attachments.len() }.len();
        let text = text.text().expect("the first part of a packet is text");
        (text.slice(header..), attachments.iter().map(Packet::data_bytes).collect())
    }

    /// Forbids compression by transports.
    pub(crate) fn uncompressed(self) -> Self {
        self.map(|packet| packet.compress(false))
    }

    /// Lets the recipients share the compressed form, if the packet has at least this size.
    #[cfg(feature = "permessage-deflate")]
    pub(crate) fn shared(self, threshold: usize) -> Self {
        let size: usize = self.packets().iter().map(Packet::len).sum();
        if size < threshold { self } else { self.map(Packet::share) }
    }

    fn map(self, change: impl Fn(Packet) -> Packet) -> Self {
        Self::new(match self.content {
            Content::Text(text) => Content::Text(change(text)),
            Content::Binary(packets) => Content::Binary(packets.into_iter().map(change).collect()),
        })
    }

    fn new(content: Content) -> Self {
        Self { content, others: OtherForms::new() }
    }

    fn assemble(text: Bytes, attachments: Vec<Packet>) -> Self {
        let text = Packet::encoded(text);
        if attachments.is_empty() {
            return Self::new(Content::Text(text));
        }
        let mut packets = Vec::with_capacity(1 + attachments.len());
        packets.push(text);
        packets.extend(attachments);
        Self::new(Content::Binary(packets.into()))
    }

    /// Returns the packets with all text escaped to ASCII, for clients of Socket.IO 1.x that decode UTF-8 twice.
    pub(crate) fn ascii_packets(&self) -> &[Packet] {
        self.other_form(Form::JSON, || self.escaped())
    }

    /// Returns the packets in another form: that of a parser, or for [`Form::JSON`] the one in ASCII. The first call creates it.
    pub(crate) fn other_form(&self, form: Form, make: impl FnOnce() -> Option<Box<[Packet]>>) -> &[Packet] {
        self.others.get(form, make).unwrap_or(self.packets())
    }

    fn escaped(&self) -> Option<Box<[Packet]>> {
        let (text, attachments) = self.packets().split_first()?;
        let escaped = Packet::encoded(escape_json(std::str::from_utf8(text.text()?).ok()?)?);
        let text = escaped.compress_like(text);
        Some(std::iter::once(text).chain(attachments.iter().cloned()).collect())
    }

    /// Returns the cost of the packet in an outbox.
    pub(crate) fn cost(&self) -> usize {
        Outbox::cost(self.packets())
    }

    /// Returns the cost of the packet in a history, including the other forms that exist.
    pub(crate) fn kept_cost(&self) -> usize {
        kept_cost(self.packets()) + self.others.cost(kept_cost)
    }

    /// Returns the event with one more string argument, which must not need escapes.
    pub(crate) fn with_offset(&self, offset: &str) -> Self {
        let (text, attachments) = self.packets().split_first().expect("a packet has a text");
        let event = text.text().expect("the first part of a packet is text");
        let open = event.strip_suffix(b"]").expect("an event is a JSON array with a name");
        let stamped = Packet::encoded([open, b",\"", offset.as_bytes(), b"\"]"].concat());
        let text = stamped.compress_like(text);
        Self::new(match attachments {
            [] => Content::Text(text),
            attachments => Content::Binary(std::iter::once(text).chain(attachments.iter().cloned()).collect()),
        })
    }

    /// Moves the packets to the queue of the only recipient. Cloning them would allocate, because their bytes are not shared yet.
    pub(crate) fn move_into(self, queue: &mut PacketQueue) {
        match self.content {
            Content::Text(packet) => queue.push(packet),
            Content::Binary(packets) => queue.extend(packets.into_vec()),
        }
    }

    pub(crate) fn packets(&self) -> &[Packet] {
        match &self.content {
            Content::Text(packet) => std::slice::from_ref(packet),
            Content::Binary(packets) => packets,
        }
    }
}

/// Includes the compressed form, which is smaller than the packet, if there may be one.
fn kept_cost(packets: &[Packet]) -> usize {
    #[cfg(feature = "permessage-deflate")]
    let compressed = packets.iter().filter(|packet| packet.deflated().is_some()).map(Packet::len).sum::<usize>();
    #[cfg(not(feature = "permessage-deflate"))]
    let compressed = 0;
    Outbox::cost(packets) + compressed
}

/// The namespace and the ack id of a packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) namespace: &'a str,
    /// The id of the ack. The packet requests it, or is that ack.
    pub(crate) id: Option<u64>,
}

/// Encodes an event. The number of arguments is the [`arity`] of `T`.
pub(crate) fn encode_event<T: Serialize + ?Sized>(
    target: Target<'_>,
    event: &str,
    args: &T,
) -> serde_json::Result<Encoded> {
    with_scratch(|json| {
        let mut attachments = Vec::new();
        json.push(b'[');
        serde_json::to_writer(&mut *json, event)?;
        write_args(json, &mut attachments, args)?;
        json.push(b']');
        let header = HeaderWriter { kinds: EVENT, target, attachments: attachments.len() };
        Ok(Encoded::assemble(header.before(json).into(), attachments))
    })
}

/// The encoded arguments of an ack, before its namespace and id are known.
///
/// They are stored in a buffer of the thread, which is returned when they are sent.
#[derive(Debug, Clone)]
pub(crate) struct EncodedArgs {
    /// [`HEADROOM`] bytes, then the JSON.
    text: Vec<u8>,
    attachments: Vec<Packet>,
}

/// Room for the header before the JSON, enough for most packets, so that the JSON need not be moved.
const HEADROOM: usize = 32;

impl EncodedArgs {
    /// Returns the number of bytes of the JSON and the attachments.
    pub(crate) fn len(&self) -> usize {
        self.text.len() - HEADROOM + self.attachments.iter().map(|attachment| attachment.data().len()).sum::<usize>()
    }

    /// Returns a deep copy. Its attachments share no memory.
    pub(crate) fn detached(&self) -> Self {
        let copy = |attachment: &Packet| Packet::binary(Bytes::copy_from_slice(attachment.data()));
        Self { text: self.text.clone(), attachments: self.attachments.iter().map(copy).collect() }
    }

    /// Returns the JSON and the attachments.
    pub(crate) fn into_parts(self) -> (Bytes, Vec<Bytes>) {
        let json = Bytes::copy_from_slice(&self.text[HEADROOM..]);
        recycle_scratch(self.text);
        (json, self.attachments.iter().map(Packet::data_bytes).collect())
    }

    /// Writes the header before the JSON, and calls `show` with the text and the attachments. Returns `None` if the headroom is too
    /// small.
    pub(crate) fn with_ack<R>(&mut self, target: Target<'_>, show: impl FnOnce(&[u8], &[Packet]) -> R) -> Option<R> {
        let header = HeaderWriter { kinds: ACK, target, attachments: self.attachments.len() };
        let start = HEADROOM.checked_sub(header.len())?;
        header.write(&mut &mut self.text[start..HEADROOM]);
        Some(show(&self.text[start..], &self.attachments))
    }

    /// Returns the buffer to the thread.
    pub(crate) fn recycle(self) {
        recycle_scratch(self.text);
    }
}

const EVENT: [u8; 2] = [b'2', b'5'];
const ACK: [u8; 2] = [b'3', b'6'];

pub(crate) fn encode_args<T: Serialize + ?Sized>(args: &T) -> serde_json::Result<EncodedArgs> {
    let mut text = SCRATCH.take();
    let mut attachments = Vec::new();
    text.clear();
    text.extend_from_slice(&[0; HEADROOM]);
    text.push(b'[');
    write_args(&mut text, &mut attachments, args)?;
    text.push(b']');
    Ok(EncodedArgs { text, attachments })
}

pub(crate) fn encode_ack(target: Target<'_>, mut args: EncodedArgs) -> Encoded {
    let text = args.with_ack(target, |text, _| Bytes::copy_from_slice(text)).unwrap_or_else(|| {
        let header = HeaderWriter { kinds: ACK, target, attachments: args.attachments.len() };
        header.before(&args.text[HEADROOM..]).into()
    });
    recycle_scratch(args.text);
    Encoded::assemble(text, args.attachments)
}

/// Encodes a packet whose type has no binary form. The payload is JSON or empty.
pub(crate) fn encode_simple(kind: u8, namespace: &str, payload: &str) -> Encoded {
    let header = HeaderWriter { kinds: [kind, kind], target: Target { namespace, id: None }, attachments: 0 };
    Encoded::assemble(header.before(payload.as_bytes()).into(), Vec::new())
}

/// Appends arguments to an open JSON array.
fn write_args<T: Serialize + ?Sized>(
    json: &mut Vec<u8>,
    attachments: &mut Vec<Packet>,
    args: &T,
) -> serde_json::Result<()> {
    let start = json.len();
    let first = json.ends_with(b"[");
    let arity = arity::<T>();
    if arity == Arity::None {
        return Ok(());
    }
    if arity == Arity::One && !first {
        json.push(b',');
    }
    let begin = json.len();
    let mut marking = false;
    // A loop, so that `serialize` is inlined once. Hardly any arguments are written a second time.
    loop {
        let writer = AttachmentWriter::new(attachments, marking);
        args.serialize(&mut serde_json::Serializer::with_formatter(&mut *json, writer))?;
        if attachments.is_empty() {
            break;
        }
        if marking {
            disambiguate(json, begin);
            break;
        }
        if !is_ambiguous(&json[begin..], attachments.len()) {
            break;
        }
        json.truncate(begin);
        attachments.clear();
        marking = true;
    }
    if arity == Arity::Several {
        splice(json, start, first);
    }
    Ok(())
}

/// Merges an array that was written at `start` into the outer array.
fn splice(json: &mut Vec<u8>, start: usize, first: bool) {
    json.pop();
    if json.len() == start + 1 {
        json.pop();
    } else if first {
        json.remove(start);
    } else {
        json[start] = b',';
    }
}

/// Writes the part of a packet before the JSON.
#[derive(Debug, Clone, Copy)]
struct HeaderWriter<'a> {
    /// The type digits without and with attachments.
    kinds: [u8; 2],
    target: Target<'a>,
    attachments: usize,
}

impl HeaderWriter<'_> {
    fn len(self) -> usize {
        let Target { namespace, id } = self.target;
        let namespace = if namespace == "/" { 0 } else { namespace.len() + 1 };
        let count = if self.attachments == 0 { 0 } else { 1 + digits(self.attachments as u64) };
        2 + count + namespace + id.map_or(0, digits)
    }

    /// Writes the header to `out`, which must have room for it.
    fn write(self, out: &mut impl Write) {
        let Target { namespace, id } = self.target;
        let mut digits = itoa::Buffer::new();
        let mut write = || -> io::Result<()> {
            out.write_all(&[b'4', self.kinds[usize::from(self.attachments > 0)]])?;
            if self.attachments > 0 {
                out.write_all(digits.format(self.attachments).as_bytes())?;
                out.write_all(b"-")?;
            }
            if namespace != "/" {
                out.write_all(namespace.as_bytes())?;
                out.write_all(b",")?;
            }
            id.map_or(Ok(()), |id| out.write_all(digits.format(id).as_bytes()))
        };
        write().expect("there is room for the header");
    }

    /// Returns the text of a packet, in an allocation of exact size.
    fn before(self, json: &[u8]) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.len() + json.len());
        self.write(&mut text);
        text.extend_from_slice(json);
        text
    }
}

fn digits(number: u64) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// Escapes non-ASCII characters of the JSON, but not those of the namespace before it. Returns `None` if there are none.
fn escape_json(text: &str) -> Option<String> {
    let start = text.find(['[', '{', '"']).filter(|start| !text[*start..].is_ascii())?;
    let mut escaped = String::with_capacity(text.len() * 2);
    escaped.push_str(&text[..start]);
    for character in text[start..].chars() {
        if character.is_ascii() {
            escaped.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    Some(escaped)
}

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The maximum size of a buffer that a thread keeps.
const KEPT_SCRATCH: usize = 64 * 1024;

/// Lends the thread's buffer, so that a packet is allocated once, with exact size.
///
/// A nested call, by a `Serialize` that emits, gets a new buffer.
fn with_scratch<R>(write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let mut scratch = SCRATCH.take();
    scratch.clear();
    let result = write(&mut scratch);
    recycle_scratch(scratch);
    result
}

fn recycle_scratch(scratch: Vec<u8>) {
    if scratch.capacity() <= KEPT_SCRATCH {
        SCRATCH.set(scratch);
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Args, EventPayload, Limits, Value, decode, read_args},
        *,
    };
    use proptest::prelude::*;
    use serde::Deserialize;

    fn event<T: Serialize + ?Sized>(target: Target<'_>, args: &T) -> Vec<String> {
        let encoded = encode_event(target, "m", args).unwrap();
        encoded
            .packets()
            .iter()
            .map(|p| String::from_utf8_lossy(p.text().map_or(p.data(), |text| text)).into_owned())
            .collect()
    }

    const ROOT: Target<'static> = Target { namespace: "/", id: None };

    #[test]
    fn the_alternate_form_for_revision_3_is_ascii() {
        let shown = |packets: &[Packet]| packets.iter().map(|p| p.text().unwrap().clone()).collect::<Vec<_>>();
        let packet = encode_event(Target { namespace: "/é", id: None }, "é", "😀a").unwrap();
        assert_eq!(shown(packet.ascii_packets()), [r#"42/é,["\u00e9","\ud83d\ude00a"]"#]);
        assert_eq!(shown(packet.packets()), [r#"42/é,["é","😀a"]"#]);
        let refusal = encode_simple(b'4', "/", "\"é\"");
        assert_eq!(shown(refusal.ascii_packets()), [r#"44"\u00e9""#]);
        let ascii = encode_event(ROOT, "m", "a").unwrap();
        assert_eq!(ascii.ascii_packets()[0].text().unwrap().as_ptr(), ascii.packets()[0].text().unwrap().as_ptr());
    }

    #[test]
    fn the_arity_determines_the_arguments() {
        assert_eq!(event(ROOT, "a"), [r#"42["m","a"]"#]);
        assert_eq!(event(ROOT, &()), [r#"42["m"]"#]);
        assert_eq!(event(ROOT, &(1, "b")), [r#"42["m",1,"b"]"#]);
        assert_eq!(event(ROOT, &[1, 2]), [r#"42["m",[1,2]]"#]);
        assert_eq!(event(ROOT, &vec![(1, 2)]), [r#"42["m",[[1,2]]]"#]);
        assert_eq!(event(ROOT, &Args(vec![1, 2])), [r#"42["m",1,2]"#]);
        assert_eq!(event(ROOT, &Args::<u8>(vec![])), [r#"42["m"]"#]);
        assert_eq!(event(ROOT, &None::<u8>), [r#"42["m",null]"#]);
    }

    #[test]
    fn the_header_contains_namespace_and_id() {
        assert_eq!(event(Target { namespace: "/admin", id: Some(12) }, &()), [r#"42/admin,12["m"]"#]);
        assert_eq!(event(Target { namespace: "/", id: Some(0) }, &()), [r#"420["m"]"#]);
        assert_eq!(encode_simple(b'1', "/admin", "").packets()[0].text().unwrap(), &b"41/admin,"[..]);
        assert_eq!(encode_simple(b'0', "/", r#"{"sid":"x"}"#).packets()[0].text().unwrap(), &br#"40{"sid":"x"}"#[..]);
    }

    #[test]
    fn acks_have_arguments_without_a_name() {
        let ack = |args| encode_ack(Target { namespace: "/", id: Some(12) }, args).packets()[0].text().unwrap().clone();
        assert_eq!(ack(encode_args("ok").unwrap()), &br#"4312["ok"]"#[..]);
        assert_eq!(ack(encode_args(&()).unwrap()), &b"4312[]"[..]);
        assert_eq!(ack(encode_args(&(1, 2)).unwrap()), &b"4312[1,2]"[..]);
        assert_eq!(ack(encode_args(&[1, 2]).unwrap()), &b"4312[[1,2]]"[..]);
    }

    #[test]
    fn the_header_of_an_ack_may_be_longer_than_the_headroom() {
        for length in 0..HEADROOM {
            let namespace = format!("/{}", "n".repeat(length));
            let target = Target { namespace: &namespace, id: Some(u64::MAX) };
            let namespace = if length == 0 { String::new() } else { namespace.clone() + "," };
            let ack = encode_ack(target, encode_args("ok").unwrap());
            let expected = format!(r#"43{namespace}{}["ok"]"#, u64::MAX);
            assert_eq!(ack.packets()[0].text().unwrap(), expected.as_bytes());
        }
    }

    #[test]
    fn bytes_become_attachments_in_order() {
        #[derive(Serialize)]
        struct Nested {
            a: Bytes,
            b: Vec<Bytes>,
        }
        let nested = Nested { a: Bytes::from_static(b"x"), b: vec![Bytes::from_static(b"y")] };
        let packets = event(ROOT, &(nested, 1));
        assert_eq!(
            packets,
            [r#"452-["m",{"a":{"_placeholder":true,"num":0},"b":[{"_placeholder":true,"num":1}]},1]"#, "x", "y"]
        );
    }

    #[test]
    fn the_text_is_allocated_with_exact_size() {
        for target in [ROOT, Target { namespace: "/a", id: Some(100) }] {
            for attachments in [0, 1, 10] {
                let text = HeaderWriter { kinds: [b'2', b'5'], target, attachments }.before(b"[]");
                assert_eq!(text.len(), text.capacity());
            }
        }
    }

    #[test]
    fn encoding_errors_are_returned() {
        let map = std::collections::HashMap::from([((1, 2), 3)]);
        assert!(encode_event(ROOT, "m", &map).is_err());
    }

    /// Decodes a packet as if a client had sent it.
    fn decoded<T: serde::de::DeserializeOwned + Send + 'static>(encoded: &Encoded) -> T {
        let [text, attachments @ ..] = encoded.packets() else { panic!("no text") };
        let header = decode(text.clone(), Limits { attachments: 10, depth: 64 }).unwrap();
        assert_eq!(header.attachments, attachments.len());
        let attachments = attachments.iter().map(|packet| packet.data_bytes()).collect();
        EventPayload::new(header.payload, attachments).unwrap().args().unwrap()
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Text { data: String },
        Binary { data: Bytes },
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Flattened {
        #[serde(flatten)]
        inner: Untagged,
        option: Option<Bytes>,
        #[serde(with = "serde_bytes")]
        raw: Vec<u8>,
    }

    #[test]
    fn bytes_are_found_in_untagged_enums_and_flattened_structs() {
        let value = Flattened {
            inner: Untagged::Binary { data: Bytes::from_static(b"\xff\xfe") },
            option: Some(Bytes::from_static(b"")),
            raw: vec![1, 2],
        };
        assert_eq!(decoded::<Flattened>(&encode_event(ROOT, "m", &value).unwrap()), value);
        let value = Flattened { inner: Untagged::Text { data: "abc".into() }, option: None, raw: vec![] };
        assert_eq!(decoded::<Flattened>(&encode_event(ROOT, "m", &value).unwrap()), value);
    }

    #[test]
    fn placeholders_are_resolved_by_their_number() {
        let json = r#"["m",{"_placeholder":true,"num":1},{"num":0,"_placeholder":true},{"_placeholder":1}]"#;
        let attachments = [Bytes::from_static(b"zero"), Bytes::from_static(b"one")];
        let args = read_args::<Args>(json, &attachments, true).unwrap();
        assert_eq!(args.0[0], Bytes::from_static(b"one"));
        assert_eq!(args.0[1], Bytes::from_static(b"zero"));
        assert!(matches!(&args.0[2], Value::Object(map) if map.len() == 1));
        assert_eq!(read_args::<Bytes>(json, &attachments, true).unwrap(), "one");
    }

    #[test]
    fn a_single_attachment_is_decoded_like_several() {
        let json = r#"["m",{"_placeholder":true,"num":0}]"#;
        let event = |data: &'static [u8]| {
            let json = bytestring::ByteString::from_static(json);
            EventPayload::new(json.into(), vec![Bytes::from_static(data)]).unwrap()
        };
        assert_eq!(event(b"abc").args::<Bytes>().unwrap(), "abc");
        assert_eq!(event(b"abc").args::<Option<Bytes>>().unwrap().unwrap(), "abc");
        assert_eq!(event(b"abc").args::<Value>().unwrap(), Bytes::from_static(b"abc"));
        assert_eq!(event(b"abc").args::<Vec<u8>>().unwrap(), b"abc");
        assert_eq!(event(b"abc").args::<Args>().unwrap().0.len(), 1);
        // Bytes are not text, even if they are UTF-8.
        assert!(event(b"abc").args::<String>().is_err());
        assert!(event(b"abc").args::<std::path::PathBuf>().is_err());
        assert!(event(b"abc").args::<std::collections::BTreeMap<String, u8>>().is_err());
    }

    #[test]
    fn a_placeholder_without_an_attachment_is_malformed() {
        let attachments = [Bytes::new()];
        let error = read_args::<Args>(r#"["m",{"_placeholder":true,"num":1}]"#, &attachments, true).unwrap_err();
        let super::super::ArgsError::Malformed(detail) = error else { panic!("{error:?}") };
        assert_eq!(detail, "illegal attachments: a placeholder has no valid number");
    }

    fn key() -> impl Strategy<Value = String> {
        prop_oneof![Just("_placeholder".to_owned()), Just("num".to_owned()), ".*"]
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
            prop::collection::vec(any::<u8>(), 0..20).prop_map(|data| Bytes::from(data).into()),
        ];
        leaf.prop_recursive(3, 10, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
                prop::collection::vec((key(), inner), 0..3).prop_map(Value::from_iter),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(args in prop::collection::vec(value(), 0..3), id in any::<Option<u64>>()) {
            let args = Args(args);
            let encoded = encode_event(Target { namespace: "/n", id }, "m", &args).unwrap();
            prop_assume!(encoded.packets().len() <= 11);
            prop_assert_eq!(decoded::<Args>(&encoded), args);
        }
    }
}
