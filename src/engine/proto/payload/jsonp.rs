//! JSONP polling, by script elements and forms: for old browsers, in either revision.

use bytes::Bytes;
use memchr::memmem;

/// Encodes a response: a call of the client's function with the payload as a string.
pub(super) fn encode(index: &str, payload: &[u8]) -> Bytes {
    let mut script = format!("___eio[{index}](").into_bytes();
    serde_json::to_writer(&mut script, &String::from_utf8_lossy(payload)).expect("a string is JSON");
    script.extend_from_slice(b");");
    if memmem::find(&script, b"\xe2\x80").is_some() {
        // Valid in JSON, but not in a string of JavaScript before ES2019.
        let text = String::from_utf8_lossy(&script);
        script = text.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029").into_bytes();
    }
    script.into()
}

/// Returns the payload of a form, its field `d`. Returns `None` if the form does not have exactly one.
pub(super) fn decode(form: &[u8]) -> Option<Bytes> {
    let mut fields = form_urlencoded::parse(form).filter(|(name, _)| name == "d");
    let (_, data) = fields.next()?;
    fields.next().is_none().then(|| unescape_newlines(&data).into())
}

/// Reverts the client's escaping of newlines, which forms would change: a newline is sent as `\n`, and `\n` as `\\n`.
fn unescape_newlines(data: &str) -> Vec<u8> {
    let mut rest = data.as_bytes();
    let mut payload = Vec::with_capacity(rest.len());
    while let Some(at) = memchr::memchr(b'\\', rest) {
        payload.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let (replacement, length): (&[u8], _) = match rest {
            [b'\\', b'\\', b'n', ..] => (b"\\n", 3),
            [b'\\', b'n', ..] => (b"\n", 2),
            _ => (b"\\", 1),
        };
        payload.extend_from_slice(replacement);
        rest = &rest[length..];
    }
    payload.extend_from_slice(rest);
    payload
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_a_script() {
        let script = encode("7", "4\"a\"\n\u{2028}\u{2029}é".as_bytes());
        assert_eq!(&script[..], r#"___eio[7]("4\"a\"\n\u2028\u2029é");"#.as_bytes());
    }

    #[test]
    fn the_payload_is_read_from_a_form() {
        assert_eq!(decode(b"d=4a+b%C3%A9").unwrap(), "4a bé");
        assert_eq!(decode(br"d=4a\nb\\nc\d\\\n").unwrap(), "4a\nb\\nc\\d\\\\n");
        assert_eq!(decode(b"x=1"), None);
        assert_eq!(decode(b"d=1&d=2"), None);
        assert_eq!(decode(b""), None);
    }
}
