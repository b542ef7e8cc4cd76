//! Embedded client files. RFC 9110, sections 12 to 14.

use std::{future::ready, hash::BuildHasher, ops::Range};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use foldhash::quality::FixedState;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};

use crate::util::BoxFuture;

use super::response::finish;

struct File {
    name: &'static str,
    content: &'static [u8],
    /// Compressed copies, preferred ones first.
    compressed: &'static [(&'static str, &'static [u8])],
}

macro_rules! embed {
    ($($name:literal),+) => {
        include_bytes!(concat!("../../client/dist/", $($name),+))
    };
}

macro_rules! script {
    ($name:literal) => {
        File {
            name: $name,
            content: embed!($name),
            compressed: &[("br", embed!($name, ".br")), ("gzip", embed!($name, ".gz"))],
        }
    };
}

/// Only developer tools read source maps, so they have no compressed copies.
#[cfg(feature = "client-source-maps")]
macro_rules! source_map {
    ($name:literal) => {
        File { name: $name, content: embed!($name), compressed: &[] }
    };
}

/// The folder is filled by `make client`.
static FILES: &[File] = &[
    script!("socket.io.js"),
    script!("socket.io.min.js"),
    script!("socket.io.esm.min.js"),
    script!("socket.io.msgpack.min.js"),
    #[cfg(feature = "client-source-maps")]
    source_map!("socket.io.js.map"),
    #[cfg(feature = "client-source-maps")]
    source_map!("socket.io.min.js.map"),
    #[cfg(feature = "client-source-maps")]
    source_map!("socket.io.esm.min.js.map"),
    #[cfg(feature = "client-source-maps")]
    source_map!("socket.io.msgpack.min.js.map"),
];

pub(super) fn serve<B>(name: &str, request: &Request<B>) -> Option<BoxFuture<Response<Body>>> {
    let file = FILES.iter().find(|file| file.name == name)?;
    let response = respond(file, request.method(), request.headers());
    Some(Box::pin(ready(finish(file.name, response))))
}

fn respond(file: &File, method: &Method, headers: &HeaderMap) -> Response {
    if method != Method::GET && method != Method::HEAD {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")]).into_response();
    }
    let (encoding, content) = select(file, headers);
    let etag = format!("\"{:016x}\"", FixedState::default().hash_one(content));
    if is_listed(headers, header::IF_MATCH, &etag, str::eq) == Some(false) {
        return StatusCode::PRECONDITION_FAILED.into_response();
    }
    let mut response = Response::new(Body::empty());
    let unchanged = |tag: &str, etag: &str| tag.strip_prefix("W/").unwrap_or(tag) == etag;
    if is_listed(headers, header::IF_NONE_MATCH, &etag, unchanged) == Some(true) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        let range = match headers.get(header::IF_RANGE) {
            Some(tag) if tag != etag.as_str() => None,
            _ => headers.get(header::RANGE).filter(|_| method == Method::GET),
        };
        let range = range.and_then(|range| requested_range(range.to_str().ok()?, content.len()));
        response = send(content, range);
        if method == Method::HEAD {
            *response.body_mut() = Body::empty();
        }
        if let Some(encoding) = encoding.filter(|_| response.status().is_success()) {
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
    }
    let headers = response.headers_mut();
    headers.insert(header::ETAG, HeaderValue::try_from(etag).expect("digits and quotes can be sent"));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    response
}

/// Returns the content or the requested range, with its length.
fn send(content: &'static [u8], range: Option<Result<Range<usize>, Unsatisfiable>>) -> Response {
    let len = content.len();
    let (status, part, content_range) = match range {
        None => (StatusCode::OK, content, None),
        Some(Ok(range)) => {
            let content_range = format!("bytes {}-{}/{len}", range.start, range.end - 1);
            (StatusCode::PARTIAL_CONTENT, &content[range], Some(content_range))
        }
        Some(Err(Unsatisfiable)) => (StatusCode::RANGE_NOT_SATISFIABLE, &[][..], Some(format!("bytes */{len}"))),
    };
    let mut response = (status, Bytes::from_static(part)).into_response();
    response.headers_mut().insert(header::CONTENT_LENGTH, part.len().into());
    if let Some(content_range) = content_range {
        let content_range = HeaderValue::try_from(content_range).expect("numbers can be sent");
        response.headers_mut().insert(header::CONTENT_RANGE, content_range);
    }
    response
}

/// Selects the encoding that the client prefers.
fn select(file: &File, headers: &HeaderMap) -> (Option<&'static str>, &'static [u8]) {
    let mut best = (0.0, None, file.content);
    for (encoding, content) in file.compressed {
        let weight = weight(headers, encoding);
        if weight > best.0 {
            best = (weight, Some(*encoding), *content);
        }
    }
    (best.1, best.2)
}

/// Returns the weight of a coding in `Accept-Encoding`, from 0 to 1. Malformed weights are 0.
fn weight(headers: &HeaderMap, encoding: &str) -> f32 {
    let find = |wanted: &str| {
        let lists = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        let items = lists.flat_map(|list| list.split(',')).map(|item| item.split_once(';').unwrap_or((item, "q=1")));
        { items }.find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted))
    };
    match find(encoding).or_else(|| find("*")) {
        None => 0.0,
        Some((_, parameter)) => match parameter.split_once('=') {
            Some((q, weight)) if q.trim().eq_ignore_ascii_case("q") => weight.trim().parse().unwrap_or(0.0),
            _ => 0.0,
        },
    }
}

/// Returns whether a list of entity tags contains this one, or `None` if the header is missing.
fn is_listed(headers: &HeaderMap, name: HeaderName, etag: &str, eq: impl Fn(&str, &str) -> bool) -> Option<bool> {
    let mut lists = headers.get_all(name).iter().peekable();
    lists.peek()?;
    let tags = lists.filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(',')).map(str::trim);
    Some({ tags }.any(|tag| tag == "*" || eq(tag, etag)))
}

/// The range is outside of the content.
#[derive(Debug, PartialEq)]
struct Unsatisfiable;

/// Parses a `Range` header. Returns `None` if it is malformed or has several ranges, because it is then ignored.
fn requested_range(header: &str, len: usize) -> Option<Result<Range<usize>, Unsatisfiable>> {
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse().unwrap_or(usize::MAX))
    };
    let (first, last) = header.strip_prefix("bytes=")?.trim().split_once('-')?;
    let range = match (first, last) {
        ("", last) => len.saturating_sub(number(last)?)..len,
        (first, "") => number(first)?..len,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return None;
            }
            first..len.min(last.saturating_add(1))
        }
    };
    Some(if range.is_empty() { Err(Unsatisfiable) } else { Ok(range) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(HeaderName, &str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    fn get(list: &[(HeaderName, &str)]) -> Response {
        respond(&FILES[0], &Method::GET, &headers(list))
    }

    #[test]
    fn the_coding_is_the_one_with_the_highest_weight() {
        for (accepted, expected) in [
            ("", None),
            ("identity", None),
            ("gzip", Some("gzip")),
            ("gzip, deflate, br", Some("br")),
            ("gzip;q=1, br;q=0.5", Some("gzip")),
            ("BR ; Q=0.1", Some("br")),
            ("*", Some("br")),
            ("br;q=0, *", Some("gzip")),
            ("br;q=x, gzip;x=1, deflate", None),
        ] {
            let (encoding, _) = select(&FILES[0], &headers(&[(header::ACCEPT_ENCODING, accepted)]));
            assert_eq!(encoding, expected, "{accepted}");
        }
        assert_eq!(select(&FILES[0], &HeaderMap::new()).0, None);
    }

    #[test]
    fn a_range_lies_within_the_content() {
        for (range, expected) in [
            ("bytes=0-0", Some(Ok(0..1))),
            ("bytes=2-5", Some(Ok(2..6))),
            ("bytes=2-", Some(Ok(2..10))),
            ("bytes=-3", Some(Ok(7..10))),
            ("bytes=-30", Some(Ok(0..10))),
            ("bytes=9-99999999999999999999999", Some(Ok(9..10))),
            ("bytes=10-", Some(Err(Unsatisfiable))),
            ("bytes=99999999999999999999999-", Some(Err(Unsatisfiable))),
            ("bytes=18446744073709551615-18446744073709551615", Some(Err(Unsatisfiable))),
            ("bytes=-0", Some(Err(Unsatisfiable))),
            ("bytes=5-2", None),
            ("bytes=0-1,3-4", None),
            ("bytes=-", None),
            ("bytes=+1-2", None),
            ("bytes=x", None),
            ("items=0-1", None),
            ("", None),
        ] {
            assert_eq!(requested_range(range, 10), expected, "{range}");
        }
    }

    #[test]
    fn a_condition_is_checked_against_the_tag_of_the_selected_form() {
        let plain = get(&[]);
        let compressed = get(&[(header::ACCEPT_ENCODING, "br")]);
        assert_ne!(plain.headers()[header::ETAG], compressed.headers()[header::ETAG]);
        let etag = plain.headers()[header::ETAG].to_str().unwrap();
        for (name, value, status) in [
            (header::IF_NONE_MATCH, etag, 304),
            (header::IF_NONE_MATCH, "*", 304),
            (header::IF_NONE_MATCH, "\"x\"", 200),
            (header::IF_MATCH, etag, 200),
            (header::IF_MATCH, "\"x\"", 412),
        ] {
            assert_eq!(get(&[(name.clone(), value)]).status(), status, "{name}: {value}");
        }
        let response = get(&[(header::IF_NONE_MATCH, etag), (header::ACCEPT_ENCODING, "br")]);
        assert_eq!(response.status(), 200);
    }

    #[test]
    fn a_part_of_another_version_is_not_sent() {
        let etag = get(&[]).headers()[header::ETAG].to_str().unwrap().to_owned();
        let part = |tag: &str| get(&[(header::RANGE, "bytes=0-9"), (header::IF_RANGE, tag)]);
        assert_eq!(part(&etag).status(), 206);
        assert_eq!(part(&etag).headers()[header::CONTENT_RANGE], format!("bytes 0-9/{}", FILES[0].content.len()));
        assert_eq!(part("\"x\"").status(), 200);
    }
}
