use std::borrow::Cow;

use memchr::{memchr, memchr2};

/// The revision of the Engine.IO protocol that a session speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// Revision 3: Socket.IO clients 1.x and 2.x.
    V3,
    /// Revision 4: Socket.IO clients 3.x and 4.x.
    V4,
}

/// The parameters of a request's query that the engine reads.
///
/// Parsed as a form, as WHATWG `URLSearchParams` does; of duplicate keys the last one wins.
#[derive(Debug, Default)]
pub(crate) struct HandshakeQuery<'a> {
    pub(crate) eio: Option<Cow<'a, str>>,
    pub(crate) transport: Option<Cow<'a, str>>,
    pub(crate) sid: Option<Cow<'a, str>>,
    /// The client wants binary as base64, whatever the transport.
    pub(crate) base64: bool,
    /// The client polls by script elements.
    pub(crate) jsonp: Option<Cow<'a, str>>,
}

impl<'a> HandshakeQuery<'a> {
    pub(crate) fn parse(query: &'a str) -> Self {
        let mut parsed = Self::default();
        // Nearly all queries stand there as they are.
        if memchr2(b'%', b'+', query.as_bytes()).is_none() {
            let mut rest = query;
            while !rest.is_empty() {
                let (pair, after) = cut(rest, b'&');
                let (key, value) = cut(pair, b'=');
                parsed.set(key, Cow::Borrowed(value));
                rest = after;
            }
        } else {
            form_urlencoded::parse(query.as_bytes()).for_each(|(key, value)| parsed.set(&key, value));
        }
        parsed
    }

    fn set(&mut self, key: &str, value: Cow<'a, str>) {
        match key {
            "EIO" => self.eio = Some(value),
            "transport" => self.transport = Some(value),
            "sid" => self.sid = Some(value).filter(|sid| !sid.is_empty()),
            "j" => self.jsonp = Some(value),
            "b64" => self.base64 = !value.is_empty(),
            _ => {}
        }
    }

    /// The revision that the query names.
    ///
    /// Where revision 3 is allowed, Node takes everything but `4` for it, nothing at all included.
    pub(crate) fn protocol(&self) -> Option<Protocol> {
        match self.eio.as_deref() {
            // The browsers' build of 1.0 says 2, and means 3.
            Some("2" | "3") => Some(Protocol::V3),
            Some("4") => Some(Protocol::V4),
            _ => None,
        }
    }
}

/// What is before and behind an ASCII character, which `str` would look for in a slower way.
fn cut(text: &str, at: u8) -> (&str, &str) {
    match memchr(at, text.as_bytes()) {
        Some(position) => (&text[..position], &text[position + 1..]),
        None => (text, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_duplicate_keys_wins_and_an_empty_sid_is_none() {
        let query = HandshakeQuery::parse("EIO=3&EIO=4&transport=polling&sid=a&sid=");
        assert_eq!(query.protocol(), Some(Protocol::V4));
        assert_eq!(query.sid, None);
    }

    #[test]
    fn values_are_percent_decoded() {
        let query = HandshakeQuery::parse("transport=web%73ocket&EIO=4x&b64=1");
        assert_eq!(query.transport.as_deref(), Some("websocket"));
        assert_eq!(query.protocol(), None);
        assert!(query.base64);
    }
}
