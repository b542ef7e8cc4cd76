use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde_json::Value;

use crate::engine::Packet;

/// The messages of a session in both directions, as text. Written by a [`Recorder`](super::Recorder), and played by
/// `test::play`.
///
/// Each line is a Socket.IO packet: `>` from the client, `<` from the server. Binary attachments are base64, after a `b`. Empty lines and
/// those that begin with `#` are ignored.
///
/// ```
/// use tower_socketio::observer::Script;
///
/// let script: Script = "
///     ## The client joins, and is echoed.
///     > 0
///     < 0{}
///     > 2[\"echo\",1]
///     < 2[\"echo\",1]
/// ".parse()?;
/// assert!(!script.is_redacted());
/// # Ok::<(), tower_socketio::observer::ScriptError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Script {
    pub(crate) lines: Vec<Line>,
    pub(super) is_redacted: bool,
}

/// A packet of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) is_from_client: bool,
    pub(crate) packet: Packet,
    /// The number of the line in the text that was parsed, or 0.
    #[cfg_attr(not(feature = "test-util"), allow(dead_code))]
    pub(crate) number: usize,
}

/// The line of a script whose values have been replaced.
const IS_REDACTED: &str = "# redacted";

/// The error of parsing a [`Script`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the script is malformed")]
pub struct ScriptError {
    line: usize,
}

impl Script {
    /// Returns `true` if strings, numbers and binary data have been replaced.
    #[must_use]
    pub fn is_redacted(&self) -> bool {
        self.is_redacted
    }
}

impl FromStr for Script {
    type Err = ScriptError;

    fn from_str(text: &str) -> Result<Self, ScriptError> {
        let mut script = Self::default();
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            script.is_redacted |= line == IS_REDACTED;
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let error = ScriptError { line: number };
            let (is_from_client, packet) = match line.split_at_checked(1) {
                Some((">", packet)) => (true, packet),
                Some(("<", packet)) => (false, packet),
                _ => return Err(error),
            };
            let packet = match packet.trim_start().strip_prefix('b') {
                Some(data) => Packet::binary(BASE64.decode(data).map_err(|_| error)?),
                None => Packet::message(packet.trim_start()),
            };
            script.lines.push(Line { is_from_client, packet, number });
        }
        Ok(script)
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_redacted {
            writeln!(f, "{IS_REDACTED}")?;
        }
        for line in &self.lines {
            let direction = if line.is_from_client { '>' } else { '<' };
            let data = line.packet.data();
            if line.packet.is_binary() {
                writeln!(f, "{direction} b{}", BASE64.encode(data))?;
            } else {
                // Outside of strings, JSON may contain line breaks.
                let text = String::from_utf8_lossy(data).replace(['\r', '\n'], " ");
                writeln!(f, "{direction} {text}")?;
            }
        }
        Ok(())
    }
}

/// Replaces strings by others of the same length, numbers by 0, and binary data by zeros. The name of an event, the keys of objects, and
/// the structure stay.
pub(crate) fn redact(packet: &Packet) -> Packet {
    if packet.is_binary() {
        return Packet::binary(vec![0; packet.data().len()]);
    }
    let text = String::from_utf8_lossy(packet.data());
    let (header, payload) = split(&text);
    if payload.is_empty() {
        return packet.clone();
    }
    let is_event = matches!(text.as_bytes().first(), Some(b'2' | b'5'));
    let payload = match serde_json::from_str(payload) {
        Ok(Value::Array(mut args)) => {
            args.iter_mut().skip(usize::from(is_event)).for_each(redact_value);
            Value::Array(args).to_string()
        }
        Ok(mut value) => {
            redact_value(&mut value);
            value.to_string()
        }
        Err(_) => r#"["[redacted]"]"#.to_owned(),
    };
    Packet::message(&format!("{header}{payload}"))
}

/// Splits a packet before its JSON.
fn split(text: &str) -> (&str, &str) {
    let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(text.len());
    let mut end = digits(text);
    if text[end..].starts_with('/') {
        end += text[end..].find(',').map_or(text.len() - end, |comma| comma + 1);
        end += digits(&text[end..]);
    }
    text.split_at(end)
}

fn redact_value(value: &mut Value) {
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::Number(number) => *number = 0.into(),
        Value::String(text) => *text = "x".repeat(text.chars().count()),
        Value::Array(values) => values.iter_mut().for_each(redact_value),
        // The placeholder of an attachment.
        Value::Object(entries) if entries.contains_key("_placeholder") => {}
        Value::Object(entries) => entries.values_mut().for_each(redact_value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(text: &str) -> String {
        String::from_utf8(redact(&Packet::message(text)).data().to_vec()).unwrap()
    }

    #[test]
    fn values_are_redacted_and_the_structure_stays() {
        for (text, expected) in [
            ("0", "0"),
            (r#"0/admin,{"token":"secret"}"#, r#"0/admin,{"token":"xxxxxx"}"#),
            (r#"2["say","hé",17,[true,null,{"a":"b"}]]"#, r#"2["say","xx",0,[true,null,{"a":"x"}]]"#),
            (r#"2/chat,12["say",1.5]"#, r#"2/chat,12["say",0]"#),
            (r#"312["say"]"#, r#"312["xxx"]"#),
            (r#"51-["file",{"_placeholder":true,"num":0}]"#, r#"51-["file",{"_placeholder":true,"num":0}]"#),
            ("1/chat,", "1/chat,"),
            ("2[garbage", r#"2["[redacted]"]"#),
            ("2/no-comma", "2/no-comma"),
        ] {
            assert_eq!(redacted(text), expected, "{text}");
        }
        assert_eq!(redact(&Packet::binary(&b"abc"[..])).data(), [0; 3]);
    }

    #[test]
    fn a_script_is_parsed_from_its_text() {
        let text = "# redacted\n> 0{\"a\": 1}\n< 51-[{\"_placeholder\":true,\"num\":0}]\n< bAQI=\n";
        let script: Script = text.parse().unwrap();
        assert!(script.is_redacted());
        assert_eq!(script.to_string(), text);
        assert_eq!(script.lines[2].packet.data(), [1, 2]);
        for malformed in ["> 0\nx", "> b!", "é"] {
            assert!(malformed.parse::<Script>().is_err(), "{malformed}");
        }
        assert_eq!("\n> 0\n?".parse::<Script>().unwrap_err().to_string(), "line 3 of the script is malformed");
    }
}
