use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, request::Parts, uri::PathAndQuery};

/// Why the head of a request cannot be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeadError {
    /// The target and the headers are too large.
    TooLarge,
    /// The target does not survive a round trip through text.
    UnreadableTarget,
}

/// The method, the target and the headers of a request, as text in one allocation of exact size.
///
/// The original types take a kilobyte of tables, and refer to the read buffer of the HTTP server.
pub(super) struct CompactHead {
    /// Lines separated by `\n`. The first one is the method, a space and the target. Each further line is a header: [`SENSITIVE`] or
    /// [`PLAIN`]; the name and a colon, or one byte for a [common name](COMMON); the value.
    text: Box<[u8]>,
}

/// Marks a header as [sensitive](HeaderValue::is_sensitive).
const SENSITIVE: u8 = b'!';
const PLAIN: u8 = b' ';

/// The separators of a header in HTTP/1.1.
const SEPARATORS: usize = ": \r\n".len();

/// The maximum length of a URI in `http`.
const MAX_URI_LENGTH: usize = u16::MAX as usize - 1;

/// Common names of headers, ordered by length. Each is stored as one byte, from [`FIRST_COMMON`] on.
const COMMON: [&str; 35] = [
    "dnt",
    "via",
    "host",
    "accept",
    "cookie",
    "origin",
    "pragma",
    "referer",
    "upgrade",
    "sec-ch-ua",
    "x-real-ip",
    "forwarded",
    "connection",
    "user-agent",
    "content-type",
    "authorization",
    "cache-control",
    "content-length",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "sec-fetch-user",
    "accept-encoding",
    "accept-language",
    "x-forwarded-for",
    "sec-ch-ua-mobile",
    "x-forwarded-host",
    "x-forwarded-port",
    "sec-websocket-key",
    "x-forwarded-proto",
    "sec-ch-ua-platform",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
    "upgrade-insecure-requests",
];

const FIRST_COMMON: u8 = 0x80;

/// For each length, the index of the first common name that is at least that long.
const BY_LENGTH: [usize; 32] = {
    let mut begins = [COMMON.len(); 32];
    let mut place = COMMON.len();
    let mut length = 31;
    loop {
        while place > 0 && COMMON[place - 1].len() >= length {
            place -= 1;
        }
        begins[length] = place;
        if length == 0 {
            break begins;
        }
        length -= 1;
    }
};

impl CompactHead {
    /// # Errors
    ///
    /// Returns an error if the target and the headers are larger than `max_bytes`, or if the target does not survive a round trip:
    /// for instance, if scheme and host precede a path of maximum length.
    pub(super) fn new(request: &Parts, max_bytes: usize) -> Result<Self, HeadError> {
        let method = request.method.as_str();
        let target = target(&request.uri)?;
        let size = target.len() + size(&request.headers);
        if size > max_bytes {
            return Err(HeadError::TooLarge);
        }
        let mut text = Vec::with_capacity(method.len() + 1 + size);
        text.extend_from_slice(method.as_bytes());
        text.push(b' ');
        text.extend_from_slice(target.as_bytes());
        for (name, value) in &request.headers {
            text.extend_from_slice(&[b'\n', if value.is_sensitive() { SENSITIVE } else { PLAIN }]);
            match common(name.as_str()) {
                Some(byte) => text.push(byte),
                None => {
                    text.extend_from_slice(name.as_str().as_bytes());
                    text.push(b':');
                }
            }
            text.extend_from_slice(value.as_bytes());
        }
        Ok(Self { text: text.into() })
    }

    /// Returns the offset of the target.
    fn target_begins(&self) -> usize {
        self.text.iter().position(|byte| *byte == b' ').expect("a space follows the method") + 1
    }

    pub(super) fn method(&self) -> Method {
        Method::from_bytes(&self.text[..self.target_begins() - 1]).expect("it is the method of a request")
    }

    fn target(&self) -> &[u8] {
        let rest = &self.text[self.target_begins()..];
        &rest[..memchr::memchr(b'\n', rest).unwrap_or(rest.len())]
    }

    /// Returns `true` if the target is a path, with or without a query.
    pub(super) fn is_origin_form(&self) -> bool {
        self.text[self.target_begins()..].starts_with(b"/")
    }

    pub(super) fn query(&self) -> Option<&str> {
        let target = self.target();
        let query = &target[memchr::memchr(b'?', target)? + 1..];
        Some(std::str::from_utf8(query).expect("a URI is UTF-8"))
    }

    pub(super) fn uri(&self) -> Uri {
        Uri::try_from(self.target()).expect("the target was checked when it arrived")
    }

    pub(super) fn headers(&self) -> HeaderMap {
        let lines = self.text.split(|byte| *byte == b'\n').skip(1);
        // The capacity of a map is limited, but the number of values with one name is not.
        let mut headers = HeaderMap::try_with_capacity(lines.clone().count()).unwrap_or_default();
        for line in lines {
            let (name, value) = read_name(&line[1..]);
            let mut value = HeaderValue::from_bytes(value).expect("it is the value of a header");
            value.set_sensitive(line[0] == SENSITIVE);
            headers.append(name, value);
        }
        headers
    }
}

/// Returns the size of headers in HTTP/1.1.
pub(crate) fn size(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + SEPARATORS).sum()
}

/// Returns the text of a target. Checks that the text parses to the same target, unless it is a plain path.
fn target(uri: &Uri) -> Result<Cow<'_, str>, HeadError> {
    if uri.scheme().is_none()
        && uri.authority().is_none()
        && let Some(path) = uri.path_and_query().map(PathAndQuery::as_str)
        && path.starts_with('/')
        && path.len() <= MAX_URI_LENGTH
    {
        return Ok(path.into());
    }
    let target = uri.to_string();
    match target.parse::<Uri>() {
        Ok(again) if again == *uri => Ok(target.into()),
        _ => Err(HeadError::UnreadableTarget),
    }
}

/// Returns the byte for a common name.
fn common(name: &str) -> Option<u8> {
    let (begin, end) = (*BY_LENGTH.get(name.len())?, *BY_LENGTH.get(name.len() + 1)?);
    let place = begin + COMMON[begin..end].iter().position(|common| *common == name)?;
    u8::try_from(place).ok().map(|place| FIRST_COMMON + place)
}

/// Splits a line into the name of the header and the value.
fn read_name(line: &[u8]) -> (HeaderName, &[u8]) {
    if let Some((&byte, value)) = line.split_first()
        && let Some(place) = byte.checked_sub(FIRST_COMMON)
    {
        return (HeaderName::from_static(COMMON[usize::from(place)]), value);
    }
    let colon = memchr::memchr(b':', line).expect("a colon follows the name of each header");
    let name = HeaderName::from_bytes(&line[..colon]).expect("it is the name of a header");
    (name, &line[colon + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_names_take_one_byte() {
        let mut request = http::Request::get("/");
        for name in COMMON {
            request = request.header(name, "1").header(name, "2");
        }
        let request = request.header("x-other", "3").body(()).unwrap().into_parts().0;
        let head = CompactHead::new(&request, usize::MAX).unwrap();
        assert_eq!(head.headers(), request.headers);
        assert_eq!(head.text.len(), "GET /".len() + COMMON.len() * 2 * 4 + "\n x-other:3".len());
        // The size in HTTP/1.1, with the target only of the request line.
        let size = 1 + COMMON.iter().map(|name| 2 * (name.len() + 5)).sum::<usize>() + "x-other: 3\r\n".len();
        assert!(CompactHead::new(&request, size).is_ok());
        assert_eq!(CompactHead::new(&request, size - 1).err(), Some(HeadError::TooLarge));
    }
}
