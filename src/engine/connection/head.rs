use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, request::Parts, uri::PathAndQuery};

/// Why a request is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestError {
    /// Its target and its headers are too large.
    TooLarge,
    /// Its target cannot be read again from its text.
    UnreadableTarget,
}

/// The method, the target and the headers of a request, as text: one allocation, in its final size.
///
/// As the HTTP server has them, they are a kilobyte of tables, and parts of the buffer that was read into.
pub(super) struct Head {
    /// Lines: the method, a space and the target; then the headers. Each header begins with [`SENSITIVE`] or [`PLAIN`],
    /// followed by the name and a colon, or by one byte for a [common name](COMMON); then the value.
    text: Box<[u8]>,
}

/// Marks a header that must not be shown.
const SENSITIVE: u8 = b'!';
const PLAIN: u8 = b' ';

/// What separates the name of a header, its value, and the next line.
const SEPARATORS: usize = ": \r\n".len();

/// The longest text that `http` reads as a URI.
const MAX_URI_LENGTH: usize = u16::MAX as usize - 1;

/// Names of headers that most requests have, ordered by their lengths. Each takes one byte, which no other name begins with.
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

/// Where the common names of each length begin.
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

impl Head {
    /// # Errors
    ///
    /// If the target and the headers are larger than `max_bytes`, or if the target cannot be read again from its text: where
    /// scheme and host stand before a path of the greatest length, for instance.
    pub(super) fn new(request: &Parts, max_bytes: usize) -> Result<Self, RequestError> {
        let method = request.method.as_str();
        let target = target(&request.uri)?;
        let size = target.len() + size(&request.headers);
        if size > max_bytes {
            return Err(RequestError::TooLarge);
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

    /// Where the target begins: after the method and a space.
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

    /// Whether the target is a path, with or without a query.
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

/// How many bytes headers take in the head of a request.
pub(crate) fn size(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + SEPARATORS).sum()
}

/// The text of a target. Any but the most usual form is read again.
fn target(uri: &Uri) -> Result<Cow<'_, str>, RequestError> {
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
        _ => Err(RequestError::UnreadableTarget),
    }
}

/// The byte for a common name.
fn common(name: &str) -> Option<u8> {
    let (begin, end) = (*BY_LENGTH.get(name.len())?, *BY_LENGTH.get(name.len() + 1)?);
    let place = begin + COMMON[begin..end].iter().position(|common| *common == name)?;
    u8::try_from(place).ok().map(|place| FIRST_COMMON + place)
}

/// Reads the name at the beginning of a line, and returns what follows it.
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
        let head = Head::new(&request, usize::MAX).unwrap();
        assert_eq!(head.headers(), request.headers);
        assert_eq!(head.text.len(), "GET /".len() + COMMON.len() * 2 * 4 + "\n x-other:3".len());
        // As HTTP/1.1 has it, but for the first line's ends.
        let size = 1 + COMMON.iter().map(|name| 2 * (name.len() + 5)).sum::<usize>() + "x-other: 3\r\n".len();
        assert!(Head::new(&request, size).is_ok());
        assert_eq!(Head::new(&request, size - 1).err(), Some(RequestError::TooLarge));
    }
}
