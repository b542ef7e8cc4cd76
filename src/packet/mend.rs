//! Replaces values of valid JSON that JavaScript accepts, but Rust does not: unpaired surrogates, and numbers beyond the range
//! of a double.

use super::json::string_length;

/// Replaces unpaired surrogates by U+FFFD, and numbers beyond the range of a double by the nearest finite one. Returns `None` if
/// there are none.
///
/// The JSON must be valid.
pub(crate) fn mend(json: &str) -> Option<String> {
    let mut mended = Mended { json, copied: 0, text: String::new() };
    let bytes = json.as_bytes();
    let mut at = 0;
    while let Some(found) = bytes.get(at..).and_then(|rest| rest.iter().position(|byte| is_start(*byte))) {
        let start = at + found;
        at = match bytes[start] {
            b'"' => {
                let end = start + 1 + string_length(&bytes[start + 1..]);
                mended.string(start, end);
                end
            }
            _ => {
                let length = bytes[start..].iter().take_while(|byte| is_of_number(**byte)).count();
                mended.number(start, start + length);
                start + length
            }
        };
    }
    mended.finish()
}

/// Returns `true` for the first byte of a string or a number.
fn is_start(byte: u8) -> bool {
    matches!(byte, b'"' | b'-' | b'0'..=b'9')
}

fn is_of_number(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')
}

struct Mended<'a> {
    json: &'a str,
    /// The length of the part of `json` that has been copied to `text`.
    copied: usize,
    text: String,
}

impl Mended<'_> {
    fn replace(&mut self, start: usize, end: usize, by: &str) {
        if self.text.is_empty() {
            self.text.reserve(self.json.len());
        }
        self.text.push_str(&self.json[self.copied..start]);
        self.text.push_str(by);
        self.copied = end;
    }

    fn string(&mut self, start: usize, end: usize) {
        let bytes = &self.json.as_bytes()[..end];
        let mut at = start;
        while let Some(found) = bytes.get(at..).and_then(|rest| memchr::memchr(b'\\', rest)) {
            let escape = at + found;
            at = match (surrogate(bytes, escape), surrogate(bytes, escape + 6)) {
                (Some(Half::High), Some(Half::Low)) => escape + 12,
                (Some(_), _) => {
                    self.replace(escape, escape + 6, r"\ufffd");
                    escape + 6
                }
                (None, _) => escape + 2,
            };
        }
    }

    fn number(&mut self, start: usize, end: usize) {
        /// The number of digits from which a number without an exponent may be out of range.
        const LONG: usize = 309;
        let number = &self.json[start..end];
        let suspicious = number.len() >= LONG || number.contains(['e', 'E']);
        if suspicious && number.parse().is_ok_and(f64::is_infinite) {
            let nearest = if number.starts_with('-') { "-1.7976931348623157e308" } else { "1.7976931348623157e308" };
            self.replace(start, end, nearest);
        }
    }

    fn finish(mut self) -> Option<String> {
        if self.copied == 0 {
            return None;
        }
        self.text.push_str(&self.json[self.copied..]);
        Some(self.text)
    }
}

enum Half {
    High,
    Low,
}

/// Returns which half of a surrogate pair the escape at an offset is.
fn surrogate(json: &[u8], at: usize) -> Option<Half> {
    let [b'\\', b'u', b'd' | b'D', digit, rest @ ..] = json.get(at..at + 6)? else { return None };
    match digit {
        _ if !rest.iter().all(u8::is_ascii_hexdigit) => None,
        b'8' | b'9' | b'a' | b'b' | b'A' | b'B' => Some(Half::High),
        b'c'..=b'f' | b'C'..=b'F' => Some(Half::Low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn unpaired_surrogates_are_replaced() {
        for (json, mended) in [
            (r#"["a\ud83d"]"#, r#"["a\ufffd"]"#),
            (r#"["\ude00b"]"#, r#"["\ufffdb"]"#),
            (r#"["\uD83D\uD83D\uDE00"]"#, r#"["\ufffd\uD83D\uDE00"]"#),
            (r#"["\ud83d\\ude00"]"#, r#"["\ufffd\\ude00"]"#),
            (r#"["\ude00\ud83d"]"#, r#"["\ufffd\ufffd"]"#),
            (r#"["\ud83dx\ude00"]"#, r#"["\ufffdx\ufffd"]"#),
            (r#"{"\udbff":"\udfff"}"#, r#"{"\ufffd":"\ufffd"}"#),
            (r#"["\ud800\n\udc00"]"#, r#"["\ufffd\n\ufffd"]"#),
        ] {
            assert_eq!(mend(json).as_deref(), Some(mended));
        }
        for json in
            [r#"["\ud83d\ude00"]"#, r#"["\\ud83d"]"#, r#"["\\\\ud83d"]"#, r#"["\ud7ff\ue000"]"#, r#"["😀"]"#, "[]", ""]
        {
            assert_eq!(mend(json), None, "{json}");
        }
    }

    #[test]
    fn numbers_out_of_range_become_the_nearest() {
        let digits = "9".repeat(400);
        for (number, nearest) in [
            ("1e400", f64::MAX),
            ("-1e400", f64::MIN),
            ("1E+999999999999999999999", f64::MAX),
            ("0.1e310", f64::MAX),
            (&digits, f64::MAX),
            (&format!("-{digits}.5"), f64::MIN),
        ] {
            let mended = mend(&format!(r#"["1e400",{number} ,{{"a":{number}}}]"#)).unwrap();
            let (text, one, object): (String, f64, std::collections::HashMap<String, f64>) =
                serde_json::from_str(&mended).unwrap();
            assert_eq!((&*text, one, object["a"]), ("1e400", nearest, nearest), "{number}");
        }
        for number in ["1e308", "1e-400", "0e999999", "-0", "1.7976931348623157e308"] {
            assert_eq!(mend(&format!("[{number}]")), None, "{number}");
        }
        // As many digits, but not out of range.
        assert_eq!(mend(&format!("[0.{}]", "0".repeat(400))), None);
    }

    proptest! {
        #[test]
        fn mended_json_can_be_deserialized(
            json in r#"\["(\\u[dD][89a-f][0-9]{2}|\\u00e9|\\\\|\\"|x|😀){0,8}",-?[1-9][0-9]{0,3}([eE][+-]?[0-9]{1,4})?\]"#
        ) {
            let readable = mend(&json);
            let readable = readable.as_deref().unwrap_or(&json);
            serde_json::from_str::<(String, f64)>(readable).unwrap();
            prop_assert_eq!(mend(readable), None);
        }

        #[test]
        fn nothing_panics(json in r#"["\\ud83D9e.,\[\]é-]{0,40}"#) {
            let _ = mend(&json);
        }
    }
}
