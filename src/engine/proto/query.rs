use std::{borrow::Cow, fmt};

use memchr::{memchr, memchr2};

/// A revision of the Engine.IO protocol.
///
/// Displays as its number, and converts to it.
///
/// ```
/// use tower_socketio::engine::ProtocolVersion;
///
/// assert_eq!(ProtocolVersion::V4.to_string(), "4");
/// assert!(ProtocolVersion::V3 < ProtocolVersion::V4);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ProtocolVersion {
    /// Revision 3, which Socket.IO clients 1.x and 2.x speak.
    V3,
    /// Revision 4, which Socket.IO clients 3.x and 4.x speak.
    V4,
}

impl ProtocolVersion {
    /// Returns the number of the revision, which is the `EIO` parameter of requests.
    #[must_use]
    pub fn as_u8(self) -> u8 {
        match self {
            Self::V3 => 3,
            Self::V4 => 4,
        }
    }
}

impl From<ProtocolVersion> for u8 {
    fn from(version: ProtocolVersion) -> Self {
        version.as_u8()
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_u8().fmt(f)
    }
}

/// The query parameters that the engine reads.
///
/// The query is parsed as a form, like WHATWG `URLSearchParams`. Of duplicate keys the last one wins.
#[derive(Debug, Default)]
pub(crate) struct RequestQuery<'a> {
    pub(crate) eio: Option<Cow<'a, str>>,
    pub(crate) transport: Option<Cow<'a, str>>,
    pub(crate) sid: Option<Cow<'a, str>>,
    /// `b64`: the client accepts binary as base64 only, on every transport.
    pub(crate) base64: bool,
    /// `j`: the index of the client's JSONP function.
    pub(crate) jsonp: Option<Cow<'a, str>>,
    /// `t` has the form `<time>-<count>`, which identifies clients of 1.0 to 1.3. Later clients send a yeast stamp, which never
    /// has a hyphen between digits only.
    pub(crate) stamp_of_1_0: bool,
}

impl<'a> RequestQuery<'a> {
    pub(crate) fn parse(query: &'a str) -> Self {
        let mut parsed = Self::default();
        // Fast path: nearly all queries need no decoding.
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

    /// Returns the revision that the query asks for.
    ///
    /// Node treats every value but `4`, and a missing one, as 3 if that is allowed. Here it is an error.
    pub(crate) fn protocol(&self) -> Option<ProtocolVersion> {
        match self.eio.as_deref() {
            // The browser build of 1.0 sends 2, but speaks 3.
            Some("2" | "3") => Some(ProtocolVersion::V3),
            Some("4") => Some(ProtocolVersion::V4),
            _ => None,
        }
    }
}

/// Returns `true` if a stamp is the time in milliseconds, a hyphen, and the number of the request.
fn is_stamp_of_1_0(stamp: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    stamp.split_once('-').is_some_and(|(time, count)| is_number(time) && is_number(count))
}

/// Like `str::split_once` for an ASCII delimiter, but with `memchr`. Returns all of `text` if there is no delimiter.
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
    fn a_revision_is_its_number() {
        for (version, number) in [(ProtocolVersion::V3, 3), (ProtocolVersion::V4, 4)] {
            assert_eq!((version.as_u8(), u8::from(version)), (number, number));
            assert_eq!(version.to_string(), number.to_string());
        }
    }

    #[test]
    fn the_last_of_duplicate_keys_wins_and_an_empty_sid_is_none() {
        let query = RequestQuery::parse("EIO=3&EIO=4&transport=polling&sid=a&sid=");
        assert_eq!(query.protocol(), Some(ProtocolVersion::V4));
        assert_eq!(query.sid, None);
    }

    #[test]
    fn values_are_percent_decoded() {
        let query = RequestQuery::parse("transport=web%73ocket&EIO=4x&b64=1");
        assert_eq!(query.transport.as_deref(), Some("websocket"));
        assert_eq!(query.protocol(), None);
        assert!(query.base64);
    }

    #[test]
    fn old_clients_are_identified_by_their_stamp() {
        let is_old = |query| RequestQuery::parse(query).stamp_of_1_0;
        assert!(is_old("EIO=3&transport=polling&t=1428941345332-0"));
        for query in ["t=1428941345332", "t=PxZ1-_a.0", "t=-1", "t=1-", "t=1-2-3", "t=1.2-3", "t=", "", "x=1-0"] {
            assert!(!is_old(query), "{query}");
        }
    }
}
