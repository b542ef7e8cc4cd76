//! Polling by script elements and forms, for browsers that can do no better, in either revision.

use bytes::Bytes;
use memchr::memmem;

/// An answer: a call of the client's function with the payload, which is UTF-8, as a string.
pub(super) fn encode(index: &str, payload: &[u8]) -> Bytes {
    let mut script = format!("___eio[{index}](").into_bytes();
    serde_json::to_writer(&mut script, &String::from_utf8_lossy(payload)).expect("a string is JSON");
    script.extend_from_slice(b");");
    if memmem::find(&script, b"\xe2\x80").is_some() {
        // JSON may hold line separators, scripts of old may not.
        let text = String::from_utf8_lossy(&script);
        script = text.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029").into_bytes();
    }
    script.into()
}

/// The payload in a form: its field `d`. `None` if there is no such field, or more than one.
pub(super) fn decode(form: &[u8]) -> Option<Bytes> {
    let mut fields = form_urlencoded::parse(form).filter(|(name, _)| name == "d");
    let (_, data) = fields.next()?;
    fields.next().is_none().then(|| unescape_newlines(&data).into())
}

/// Forms change newlines, so the client writes `\n` for one, and doubles the backslash of a `\n` that was there.
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
    fn an_answer_is_a_script() {
        let script = encode("7", "4\"a\"\n\u{2028}\u{2029}é".as_bytes());
        assert_eq!(&script[..], r#"___eio[7]("4\"a\"\n\u2028\u2029é");"#.as_bytes());
    }

    #[test]
    fn a_form_holds_the_payload() {
        assert_eq!(decode(b"d=4a+b%C3%A9").unwrap(), "4a bé");
        assert_eq!(decode(br"d=4a\nb\\nc\d\\\n").unwrap(), "4a\nb\\nc\\d\\\\n");
        assert_eq!(decode(b"x=1"), None);
        assert_eq!(decode(b"d=1&d=2"), None);
        assert_eq!(decode(b""), None);
    }
}
