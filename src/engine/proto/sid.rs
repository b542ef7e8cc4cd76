use std::{cell::RefCell, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// The random bytes of an id: 20 characters of URL-safe base64, the length that other Socket.IO software expects.
const BYTES: usize = 15;

/// How many ids are made of one system call. A connection has two.
const POOL: usize = 16;

thread_local! {
    static UNUSED: RefCell<([u8; POOL * BYTES], usize)> = const { RefCell::new(([0; POOL * BYTES], 0)) };
}

/// Returns a new random id.
///
/// The bytes come from the operating system's generator, because the engine's id is the only secret of a polling session.
pub(crate) fn generate_id() -> Arc<str> {
    let mut text = [0; BYTES.div_ceil(3) * 4];
    URL_SAFE_NO_PAD.encode_slice(random(), &mut text).expect("15 bytes are 20 characters");
    std::str::from_utf8(&text).expect("base64 is ASCII").into()
}

/// Returns bytes that are used once.
fn random() -> [u8; BYTES] {
    UNUSED.with_borrow_mut(|(pool, unused)| {
        if *unused == 0 {
            getrandom::fill(pool).expect("the operating system provides randomness");
            *unused = POOL;
        }
        *unused -= 1;
        std::mem::take(&mut pool.as_chunks_mut::<BYTES>().0[*unused])
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{BYTES, POOL, generate_id, random};

    #[test]
    fn ids_have_twenty_characters_and_are_unique() {
        let ids: HashSet<_> = (0..3 * POOL).map(|_| generate_id()).collect();
        assert_eq!(ids.len(), 3 * POOL);
        assert!(ids.iter().all(|id| id.len() == 20));
    }

    #[test]
    fn random_bytes_are_forgotten_once_they_are_used() {
        let used = random();
        super::UNUSED.with_borrow(|(pool, unused)| assert!(pool[unused * BYTES..].iter().all(|byte| *byte == 0)));
        assert_ne!(used, [0; BYTES]);
    }
}
