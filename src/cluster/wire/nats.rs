//! The NATS adapter, which Node.js does not have: the messages of `family` in msgpack, on subjects of our own.
//!
//! | subject | what | subscribed by |
//! |---|---|---|
//! | `P.ns.N` | messages to all nodes of a namespace | nodes that have it |
//! | `P.node.I.N` | messages to one node | that node, as `P.node.I.*` |
//! | `P.relay.I` | bytes for the shared sessions of one node | that node |
//! | `P.sync.L` | nothing: its return confirms what was published before | the connection that publishes it |
//! | `P.journal.W` | batches of messages, for the stream of events | all nodes, as entries of the stream |
//! | `P.saved.S` | sessions, for the stream of sessions | - |
//!
//! `P` is the prefix, `N` the escaped name of a namespace, `I` the escaped id of a node, `L` that of a connection, `W` that of an
//! adapter and `S` the escaped private id of a session. A message names the subject of its sender (without `N`) as the one to reply to,
//! so that a node recognizes its own messages.
//!
//! A batch is a random number of four bytes, and then messages, each after its length in four bytes. The number distinguishes batches
//! with the same position in a stream that has lost its data.

use std::sync::Arc;

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::{
    super::message::ClusterMessage,
    Result, WireError,
    family::{self, Expected},
    input::Message,
    streams,
};

/// What may not occur in a token of a subject, and `%`. An empty token is not allowed either.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_');

/// The longest token: a server refuses lines of more than 4096 bytes, and a line has two subjects.
const MAX_TOKEN: usize = 1024;

/// The messages of a batch are numbered in 16 bits.
const MAX_MESSAGES: usize = 1 << 16;

const TRUNCATED: WireError = WireError::Message("a batch of messages is truncated");

/// The subjects of a cluster.
#[derive(Debug, Clone)]
pub(crate) struct Subjects {
    prefix: String,
}

/// What a message on a subject is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Destination {
    /// All nodes of a namespace.
    Namespace(Arc<str>),
    /// This node, in a namespace.
    Node(Arc<str>),
    /// The shared sessions of this node.
    Relay,
}

impl Subjects {
    /// Checks the prefix: tokens without wildcards, separated by dots.
    pub(crate) fn new(prefix: &str) -> Result<Self> {
        let is_token = |token: &str| {
            !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'*' | b'>'))
        };
        match prefix.split('.').all(is_token) && prefix.len() <= MAX_TOKEN {
            true => Ok(Self { prefix: prefix.to_owned() }),
            false => Err(WireError::Message("the prefix is not a subject")),
        }
    }

    pub(crate) fn namespace(&self, namespace: &str) -> Result<String> {
        Ok(format!("{}.ns.{}", self.prefix, token(namespace)?))
    }

    /// The subject of a node, without a namespace. That is what its messages name.
    pub(crate) fn node(&self, node: &str) -> Result<String> {
        Ok(format!("{}.node.{}", self.prefix, token(node)?))
    }

    /// What a node subscribes to.
    pub(crate) fn node_in_all_namespaces(&self, node: &str) -> Result<String> {
        Ok(format!("{}.*", self.node(node)?))
    }

    /// The subject of bytes for the shared sessions of a node.
    pub(crate) fn relay(&self, node: &str) -> Result<String> {
        Ok(format!("{}.relay.{}", self.prefix, token(node)?))
    }

    /// The subject of the batches of an adapter. `*` stands for all adapters.
    pub(crate) fn journal(&self, writer: &str) -> String {
        format!("{}.journal.{writer}", self.prefix)
    }

    /// The subject of a session.
    pub(crate) fn saved(&self, private_id: &str) -> Result<String> {
        Ok(format!("{}.saved.{}", self.prefix, token(private_id)?))
    }

    /// The subject of all sessions.
    pub(crate) fn all_saved(&self) -> String {
        format!("{}.saved.*", self.prefix)
    }

    /// The name of the stream of events, and the beginning of the name of the stream of sessions: the prefix without characters that
    /// names of streams do not have.
    pub(crate) fn stream(&self) -> String {
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
        self.prefix.chars().map(|letter| if is_plain(letter) { letter } else { '-' }).collect()
    }

    pub(crate) fn sync(&self, link: &str) -> Result<String> {
        Ok(format!("{}.sync.{}", self.prefix, token(link)?))
    }

    /// The subject of a message.
    pub(crate) fn of(&self, message: &ClusterMessage) -> Result<String> {
        match &message.recipient {
            Some(node) => Ok(format!("{}.{}", self.node(node)?, token(&message.namespace)?)),
            None => self.namespace(&message.namespace),
        }
    }

    /// What a subject means that this node subscribed to.
    pub(crate) fn parse(&self, subject: &str) -> Option<Destination> {
        let rest = subject.strip_prefix(&self.prefix)?.strip_prefix('.')?;
        match *rest.split('.').collect::<Vec<_>>() {
            ["ns", namespace] => Some(Destination::Namespace(untoken(namespace)?)),
            ["node", _, namespace] => Some(Destination::Node(untoken(namespace)?)),
            ["relay", _] => Some(Destination::Relay),
            _ => None,
        }
    }
}

/// Escapes a name as a token. Different names have different tokens.
fn token(name: &str) -> Result<String> {
    let token = match name {
        // Not the encoding of any other name.
        "" => "%".to_owned(),
        _ => utf8_percent_encode(name, ESCAPED).to_string(),
    };
    match token.len() {
        ..=MAX_TOKEN => Ok(token),
        _ => Err(WireError::Message("the name is too long for a subject")),
    }
}

fn untoken(token: &str) -> Option<Arc<str>> {
    match token {
        "%" => Some("".into()),
        _ => Some((*percent_decode_str(token).decode_utf8().ok()?).into()),
    }
}

/// Encodes a message.
pub(crate) fn encode(message: &ClusterMessage) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    streams::encode(message, &mut out)?;
    Ok(out)
}

/// Decodes a message from a subject of the namespace.
pub(crate) fn decode(namespace: &str, message: Bytes) -> Result<ClusterMessage> {
    streams::decode(namespace, message)
}

/// Messages that become one entry of the stream of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    messages: usize,
}

impl Batch {
    pub(crate) fn new(number: u32) -> Self {
        Self { bytes: number.to_be_bytes().to_vec(), messages: 0 }
    }

    /// Adds an encoded message. Returns `false` if the batch has as many as it can.
    pub(crate) fn push(&mut self, message: &[u8]) -> bool {
        let Ok(length) = u32::try_from(message.len()) else { return false };
        if self.messages == MAX_MESSAGES {
            return false;
        }
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(message);
        self.messages += 1;
        true
    }

    /// Returns its size in bytes.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the size of its messages.
    pub(crate) fn message_bytes(&self) -> usize {
        self.bytes.len() - 4 * (1 + self.messages)
    }

    /// Returns the number of its messages.
    pub(crate) fn len(&self) -> usize {
        self.messages
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        self.bytes.into()
    }
}

/// Splits a batch into its number and its messages.
pub(crate) fn split_batch(batch: &Bytes) -> Result<(u32, Vec<Bytes>)> {
    let (number, mut rest) = batch.split_first_chunk().ok_or(TRUNCATED)?;
    let mut messages = Vec::new();
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk().ok_or(TRUNCATED)?;
        let length = u32::from_be_bytes(*length) as usize;
        let (message, after) = after.split_at_checked(length).ok_or(TRUNCATED)?;
        if messages.len() == MAX_MESSAGES {
            return Err(WireError::Message("a batch has too many messages"));
        }
        messages.push(batch.slice_ref(message));
        rest = after;
    }
    Ok((u32::from_be_bytes(*number), messages))
}

/// Decodes a message of a batch.
pub(crate) fn decode_in_batch(message: Bytes) -> Result<ClusterMessage> {
    family::decode(&Message::msgpack(message)?, Expected::Any)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cluster::message::ClusterCommand;

    fn subjects() -> Subjects {
        Subjects::new("socket.io").unwrap()
    }

    fn message(namespace: &str) -> ClusterMessage {
        ClusterMessage::new("0123456789abcdef", namespace, ClusterCommand::Heartbeat)
    }

    #[test]
    fn subjects_are_readable() {
        let subjects = subjects();
        assert_eq!(subjects.of(&message("/")).unwrap(), "socket.io.ns./");
        assert_eq!(subjects.of(&message("/a.b *>é%")).unwrap(), "socket.io.ns./a%2Eb%20%2A%3E%C3%A9%25");
        assert_eq!(subjects.of(&message("/chat").to("n1")).unwrap(), "socket.io.node.n1./chat");
        assert_eq!(subjects.node_in_all_namespaces("n1").unwrap(), "socket.io.node.n1.*");
        assert_eq!(subjects.sync("l1").unwrap(), "socket.io.sync.l1");
        assert_eq!(subjects.relay("n1").unwrap(), "socket.io.relay.n1");
        assert_eq!((subjects.journal("w1"), subjects.stream()), ("socket.io.journal.w1".into(), "socket-io".into()));
        assert_eq!(subjects.saved("a.*").unwrap(), "socket.io.saved.a%2E%2A");
        assert_eq!(subjects.parse("socket.io.ns./chat"), Some(Destination::Namespace("/chat".into())));
        assert_eq!(subjects.parse("socket.io.node.n1./chat"), Some(Destination::Node("/chat".into())));
        assert_eq!(subjects.parse("socket.io.relay.n1"), Some(Destination::Relay));
        for other in ["socket.io.ns", "socket.io.ns./.x", "socket.ioo.ns./", "socket.io.ns.%FF", "other.ns./", ""] {
            assert_eq!(subjects.parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_prefix_is_a_subject_without_wildcards() {
        assert!(Subjects::new("$a.b-c").is_ok());
        for prefix in ["", ".", "a.", "a..b", "a b", "a.*", "a>", "é", "a\r\nPUB x"] {
            assert!(Subjects::new(prefix).is_err(), "{prefix:?}");
        }
        assert!(subjects().namespace(&"x".repeat(MAX_TOKEN + 1)).is_err());
        assert!(subjects().namespace(&"é".repeat(MAX_TOKEN / 6 + 1)).is_err());
    }

    #[test]
    fn a_batch_is_split_into_its_messages() {
        let mut batch = Batch::new(7);
        let sent = [message("/"), message("/chat")];
        for message in &sent {
            assert!(batch.push(&encode(message).unwrap()));
        }
        let bytes = batch.into_bytes();
        let (number, messages) = split_batch(&bytes).unwrap();
        assert_eq!(number, 7);
        assert_eq!(messages.into_iter().map(|message| decode_in_batch(message).unwrap()).collect::<Vec<_>>(), sent);
        for end in 1..bytes.len() {
            let is_whole = end == 4 || end == 8 + encode(&sent[0]).unwrap().len();
            assert_eq!(split_batch(&bytes.slice(..end)).is_ok(), is_whole, "{end}");
        }
        let mut full = Batch::new(0);
        (0..MAX_MESSAGES).for_each(|_| assert!(full.push(&[])));
        assert!(!full.push(&[]));
        assert!(split_batch(&full.clone().into_bytes()).is_ok());
        full.bytes.extend_from_slice(&[0; 4]);
        assert!(split_batch(&full.into_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn no_batch_panics(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok((_, messages)) = split_batch(&bytes.into()) {
                messages.into_iter().for_each(|message| drop(decode_in_batch(message)));
            }
        }

        #[test]
        fn each_name_has_its_own_token(name in ".{0,40}", other in ".{0,40}") {
            let escaped = token(&name).unwrap();
            prop_assert!(!escaped.is_empty());
            prop_assert!(escaped.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_%".contains(&byte)));
            prop_assert_eq!(untoken(&escaped), Some(name.as_str().into()));
            prop_assert_eq!(name == other, escaped == token(&other).unwrap());
        }

        #[test]
        fn a_message_survives_with_its_namespace(namespace in "/.{0,40}", node in "[0-9a-f]{16}") {
            let subjects = subjects();
            let sent = message(&namespace);
            let parsed = subjects.parse(&subjects.of(&sent).unwrap());
            prop_assert_eq!(parsed, Some(Destination::Namespace(sent.namespace.clone())));
            prop_assert_eq!(decode(&namespace, encode(&sent).unwrap().into()).unwrap(), sent.clone());
            let answer = subjects.of(&sent.to(node.as_str())).unwrap();
            prop_assert!(answer.starts_with(&subjects.node(&node).unwrap()));
            prop_assert_eq!(subjects.parse(&answer), Some(Destination::Node(namespace.as_str().into())));
        }

        #[test]
        fn no_subject_panics(subject in ".{0,60}") {
            let _ = subjects().parse(&subject);
            let _ = subjects().parse(&format!("socket.io.{subject}"));
        }
    }
}
