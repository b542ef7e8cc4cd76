//! The Postgres adapter: notifications, and attachments for what does not fit into one.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    super::message::ClusterMessage,
    Form, INCOMPLETE, Result, WireError,
    family::{self, ACK, EMIT, Expected, SERVER_SIDE_ACK, SERVER_SIDE_EMIT},
    input::{Input, Message},
    output::Output,
};

/// A message with this many bytes of JSON becomes an attachment. The limit of Postgres for a notification is one byte less.
pub(crate) const PAYLOAD_THRESHOLD: usize = 8000;

/// The longest identifier. Postgres truncates longer ones in `LISTEN` and refuses them in `pg_notify`.
const MAX_IDENTIFIER: usize = 63;

/// Returns the channel of a namespace.
pub(crate) fn channel(prefix: &str, namespace: &str) -> Result<String> {
    let channel = format!("{prefix}#{namespace}");
    match channel.len() {
        ..=MAX_IDENTIFIER if !channel.contains('\0') => Ok(channel),
        _ => Err(WireError::Message("the name of the channel is longer than 63 bytes, or no identifier")),
    }
}

/// Returns the channel of the shared sessions of a node. No namespace has it, because their names begin with a slash.
pub(crate) fn relay_channel(prefix: &str, node: &str) -> Result<String> {
    channel(prefix, &format!("relay#{node}"))
}

/// Quotes the name of a table, with or without a schema.
///
/// Node.js writes it into statements as it is, so the database takes parts without quotes as lower case.
pub(crate) fn table(name: &str) -> String {
    let mut is_quoted = false;
    let is_separator = |letter: char| {
        is_quoted ^= letter == '"';
        letter == '.' && !is_quoted
    };
    let part = |part: &str| match part.strip_prefix('"').and_then(|part| part.strip_suffix('"')) {
        Some(part) => quote(&part.replace("\"\"", "\"")),
        None => quote(&part.to_ascii_lowercase()),
    };
    name.split(is_separator).map(part).collect::<Vec<_>>().join(".")
}

/// Quotes an identifier for `LISTEN` and the like.
pub(crate) fn quote(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// An encoded message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outgoing {
    /// The text of a notification.
    Notification(String),
    /// The row for the table of attachments. [`header`] returns the text of its notification.
    Attachment(Vec<u8>),
}

/// Encodes a message. It becomes an attachment if it has binary, or `threshold` bytes of JSON or more.
pub(crate) fn encode(message: &ClusterMessage, threshold: usize) -> Result<Outgoing> {
    let kind = family::kind(&message.command)?;
    let mut out = Vec::new();
    let is_binary = matches!(kind, EMIT | SERVER_SIDE_EMIT | SERVER_SIDE_ACK | ACK) && message.command.has_binary();
    if !is_binary {
        family::encode(message, &mut Output::new(Form::Json, &mut out))?;
        if out.len() < threshold.min(PAYLOAD_THRESHOLD) {
            return Ok(Outgoing::Notification(String::from_utf8(out).expect("JSON is UTF-8")));
        }
        out.clear();
    }
    family::encode(message, &mut Output::new(Form::Msgpack, &mut out))?;
    Ok(Outgoing::Attachment(out))
}

/// Encodes the notification of an attachment. Returns what comes before and after the id of its row.
pub(crate) fn header(message: &ClusterMessage) -> Result<[String; 2]> {
    let kind = family::kind(&message.command)?;
    let sender = message.sender.as_deref().ok_or(INCOMPLETE)?;
    let mut out = Vec::new();
    Output::new(Form::Json, &mut out).map(3, |out| {
        out.key("uid").text(sender);
        out.key("type").natural(kind);
        out.key("attachmentId").text("");
    });
    let after = out.split_off(out.len() - "\"}".len());
    Ok([out, after].map(|part| String::from_utf8(part).expect("JSON is UTF-8")))
}

/// A decoded notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Incoming {
    Message(ClusterMessage),
    /// The message is in the table of attachments.
    Attachment {
        sender: Arc<str>,
        /// The id of its row.
        id: i64,
    },
}

/// Decodes a notification from the channel of a namespace.
pub(crate) fn decode(namespace: &str, notification: Bytes) -> Result<Incoming> {
    let message = Message::json(notification)?;
    let keys = ["type", "data", "uid", "nsp", "attachmentId"];
    let [kind, data, sender, sent_to, attachment] = message.root().fields(keys)?;
    match attachment.map(Input::text).transpose()? {
        Some(id) => {
            let id = id.parse().map_err(|_| INCOMPLETE)?;
            Ok(Incoming::Attachment { sender: sender.ok_or(INCOMPLETE)?.shared()?, id })
        }
        None => {
            let fields = [kind, data, sender, sent_to];
            family::decode_fields(fields, Expected::OrNone(namespace)).map(Incoming::Message)
        }
    }
}

/// Decodes the attachment of a notification from the channel of a namespace.
pub(crate) fn decode_attachment(namespace: &str, attachment: Bytes) -> Result<ClusterMessage> {
    family::decode(&Message::msgpack(attachment)?, Expected::OrNone(namespace))
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn tables_are_named_as_in_a_statement() {
        for (name, quoted) in [
            ("socket_io_attachments", r#""socket_io_attachments""#),
            ("Schema.MyTable", r#""schema"."mytable""#),
            (r#""Schema"."My.Table""#, r#""Schema"."My.Table""#),
            (r#"public."a""b""#, r#""public"."a""b""#),
            (r#"a"; DROP TABLE x; --"#, r#""a""; drop table x; --""#),
            ("", r#""""#),
        ] {
            assert_eq!(table(name), quoted);
        }
    }
}
