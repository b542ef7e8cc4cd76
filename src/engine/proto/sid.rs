use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// Returns a new random id: 15 bytes as 20 characters of URL-safe base64, the length that other Socket.IO software expects.
///
/// The bytes come from the operating system's generator, because the engine's id is the only secret of a polling session.
pub(crate) fn generate_id() -> Arc<str> {
    let mut random = [0u8; 15];
    getrandom::fill(&mut random).expect("the operating system provides randomness");
    let mut text = [0u8; 20];
    URL_SAFE_NO_PAD.encode_slice(random, &mut text).expect("15 bytes are 20 characters");
    std::str::from_utf8(&text).expect("base64 is ASCII").into()
}

#[cfg(test)]
mod tests {
    #[test]
    fn ids_have_twenty_characters_and_are_unique() {
        let (a, b) = (super::generate_id(), super::generate_id());
        assert_eq!(a.len(), 20);
        assert_ne!(a, b);
    }
}
