use bytestring::ByteString;

/// Returns a packet's text as a slice of the payload, or as a copy if it is less than half of the payload: a handler may keep
/// a small event for long, and must not keep the whole payload with it. Base64 is decoded into a new buffer anyway.
pub(super) fn part_of(payload: &ByteString, part: &str) -> ByteString {
    match part.len() < payload.len() / 2 && !part.starts_with('b') {
        true => part.into(),
        false => payload.slice_ref(part),
    }
}
