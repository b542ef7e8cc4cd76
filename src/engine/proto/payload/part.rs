use bytestring::ByteString;

/// A packet's text as a part of its payload, or as a copy if it is less than half of that: an event may be kept for as long
/// as its handler runs, and must not keep all that came with it. Base64 is decoded into separate memory anyway.
pub(super) fn part_of(payload: &ByteString, part: &str) -> ByteString {
    match part.len() < payload.len() / 2 && !part.starts_with('b') {
        true => part.into(),
        false => payload.slice_ref(part),
    }
}
