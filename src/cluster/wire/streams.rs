//! The Redis Streams adapter: entries of streams, messages on channels, and sessions.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;

use crate::room::Room;

use super::{
    super::{
        journal::{Offset, SessionRecord},
        message::{ClusterCommand, ClusterMessage},
        payload::Payload,
    },
    Form, INCOMPLETE, NOT_ON_THIS_WIRE, Result, WireError,
    family::{self, Expected},
    input::{Input, Message},
    output::Output,
};

const NOT_BASE64: WireError = WireError::Message("not base64");

/// Returns whether a message is added to a stream. Requests and answers are published to channels instead.
pub(crate) fn goes_to_stream(message: &ClusterMessage) -> bool {
    match &message.command {
        ClusterCommand::Emit { request, .. } => request.is_none(),
        ClusterCommand::Join { .. } | ClusterCommand::Leave { .. } | ClusterCommand::Disconnect { .. } => true,
        // A program that is not a node uses the stream for it.
        ClusterCommand::ServerSideEmit { request: None, .. } => message.sender.as_deref() == Some(super::EMITTER),
        _ => false,
    }
}

/// The streams of a cluster.
#[derive(Debug, Clone)]
pub(crate) struct StreamNames {
    name: String,
    count: i32,
}

impl StreamNames {
    pub(crate) fn new(name: &str, count: u16) -> Self {
        Self { name: name.to_owned(), count: i32::from(count.max(1)) }
    }

    /// Returns the stream to which Node.js adds the messages of a namespace.
    ///
    /// The index is a remainder of JavaScript and may be negative. Node.js itself does not read such a stream.
    pub(crate) fn of(&self, namespace: &str) -> String {
        if self.count == 1 {
            return self.name.clone();
        }
        format!("{}-{}", self.name, hash(namespace) % self.count)
    }

    /// All streams to which messages are added, those that Node.js does not read among them.
    pub(crate) fn all(&self) -> Vec<String> {
        if self.count == 1 {
            return vec![self.name.clone()];
        }
        (1 - self.count..self.count).map(|index| format!("{}-{index}", self.name)).collect()
    }
}

fn hash(namespace: &str) -> i32 {
    namespace.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(unit.into()))
}

/// An entry of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) sender: Arc<str>,
    pub(crate) namespace: Arc<str>,
    pub(crate) kind: u64,
    pub(crate) data: Vec<u8>,
}

impl Entry {
    /// The fields, in Node.js's order.
    pub(crate) fn fields(&self) -> [(&'static str, Vec<u8>); 4] {
        [
            ("uid", self.sender.as_bytes().to_vec()),
            ("nsp", self.namespace.as_bytes().to_vec()),
            ("type", self.kind.to_string().into_bytes()),
            ("data", self.data.clone()),
        ]
    }
}

/// Encodes a message as an entry. With `only_plaintext`, binary is encoded as JSON.
pub(crate) fn encode_entry(message: &ClusterMessage, only_plaintext: bool) -> Result<Entry> {
    if !goes_to_stream(message) {
        return Err(NOT_ON_THIS_WIRE);
    }
    let kind = family::kind(&message.command)?;
    let form = if message.command.has_binary() && !only_plaintext { Form::Msgpack } else { Form::Json };
    let mut data = Vec::new();
    family::encode_data(&message.command, &mut Output::new(form, &mut data));
    if form == Form::Msgpack {
        data = STANDARD.encode(data).into_bytes();
    }
    let sender = message.sender.clone().ok_or(INCOMPLETE)?;
    Ok(Entry { sender, namespace: message.namespace.clone(), kind, data })
}

/// Decodes the fields of an entry.
pub(crate) fn decode_entry<'a>(fields: impl IntoIterator<Item = (&'a [u8], &'a Bytes)>) -> Result<ClusterMessage> {
    let (mut sender, mut namespace, mut kind, mut data) = (None, None, None, None);
    for (name, value) in fields {
        match name {
            b"uid" => sender = Some(value),
            b"nsp" => namespace = Some(value),
            b"type" => kind = Some(value),
            b"data" => data = Some(value),
            _ => {}
        }
    }
    let text = |value: Option<&'a Bytes>| str::from_utf8(value.ok_or(INCOMPLETE)?).map_err(|_| INCOMPLETE);
    let (sender, namespace) = (text(sender)?, text(namespace)?);
    let kind = text(kind)?.parse().map_err(|_| INCOMPLETE)?;
    let data = match data {
        Some(data) if data.starts_with(b"{") => Some(Message::json(data.clone())?),
        Some(data) => Some(Message::msgpack(STANDARD.decode(data).map_err(|_| NOT_BASE64)?.into())?),
        None => None,
    };
    let command = family::command(kind, data.as_ref().map(Message::root))?;
    Ok(ClusterMessage::new(sender, namespace, command))
}

/// Encodes a message for a channel into an empty buffer.
pub(crate) fn encode(message: &ClusterMessage, out: &mut Vec<u8>) -> Result<()> {
    family::encode(message, &mut Output::new(Form::Msgpack, out))
}

/// Decodes a message from a channel of the namespace.
pub(crate) fn decode(namespace: &str, message: Bytes) -> Result<ClusterMessage> {
    family::decode(&Message::msgpack(message)?, Expected::Only(namespace))
}

/// Returns the key under which a session is stored.
pub(crate) fn session_key(prefix: &str, private_id: &str) -> String {
    format!("{prefix}{private_id}")
}

/// Encodes a session as the value of its key.
pub(crate) fn encode_session(session: &SessionRecord) -> String {
    let mut out = Vec::new();
    let joined: Vec<_> = session.joined.iter().collect();
    Output::new(Form::Msgpack, &mut out).map(4 + usize::from(!joined.is_empty()), |out| {
        out.key("sid").text(&session.id);
        out.key("pid").text(&session.private_id);
        out.key("rooms").texts(&session.rooms);
        out.key("data").payload(&session.data);
        // Node.js ignores it.
        if !joined.is_empty() {
            out.key("joined").list(2 * joined.len(), |out| {
                for (room, offset) in &joined {
                    out.text(room);
                    out.text(&offset.to_string());
                }
            });
        }
    });
    STANDARD.encode(out)
}

/// Decodes the value of a session's key.
pub(crate) fn decode_session(value: &[u8]) -> Result<SessionRecord> {
    let message = Message::msgpack(STANDARD.decode(value).map_err(|_| NOT_BASE64)?.into())?;
    let [id, private_id, rooms, data, joined] = message.root().fields(["sid", "pid", "rooms", "data", "joined"])?;
    // Node.js lets a socket join `undefined`.
    let room = |room: Input<'_>| Ok(room.text().ok().map(|room| Room::from(&*room)));
    let rooms: Vec<Option<Room>> = rooms.ok_or(INCOMPLETE)?.collect(room)?;
    let joined: Vec<Room> = joined.map(Input::texts).transpose()?.unwrap_or_default();
    let joined = joined.chunks_exact(2).map(|pair| Some((pair[0].clone(), Offset::parse(&pair[1])?)));
    Ok(SessionRecord {
        joined: joined.collect::<Option<_>>().ok_or(INCOMPLETE)?,
        id: id.ok_or(INCOMPLETE)?.shared()?,
        private_id: private_id.ok_or(INCOMPLETE)?.shared()?,
        rooms: rooms.into_iter().flatten().collect(),
        data: data.map_or_else(|| Ok(Payload::default()), Input::payload)?,
    })
}
