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
    /// The client is one of the 1.0 to 1.3 generation: its requests have a stamp of theirs, `<time>-<count>`. Later
    /// generations have yeast's, in which no hyphen stands between digits alone.
    pub(crate) stamp_of_1_0: bool,
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
            "t" => self.stamp_of_1_0 = is_stamp_of_1_0(&value),
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

/// Whether a stamp is the time in milliseconds, a hyphen, and the count of requests.
fn is_stamp_of_1_0(stamp: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    stamp.split_once('-').is_some_and(|(time, count)| is_number(time) && is_number(count))
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

    #[test]
    fn old_clients_are_known_by_their_stamp() {
        let is_old = |query| HandshakeQuery::parse(query).stamp_of_1_0;
        assert!(is_old("EIO=3&transport=polling&t=1428941345332-0"));
        for query in ["t=1428941345332", "t=PxZ1-_a.0", "t=-1", "t=1-", "t=1-2-3", "t=1.2-3", "t=", "", "x=1-0"] {
            assert!(!is_old(query), "{query}");
        }
    }
}
