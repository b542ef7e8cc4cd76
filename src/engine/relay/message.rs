//! The messages between two nodes, and their encoding.
//!
//! A message is a version, a kind with the direction in its highest bit, the id of the sender (8 bytes), the number of the exchange
//! (8 bytes), and the fields of the kind. Integers are big-endian. Bytes of variable length follow their length, and those at the end
//! of a message have none.

use std::net::SocketAddr;

use axum::extract::ConnectInfo;
use bytes::{Buf, BufMut, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, uri::PathAndQuery};

use super::node_id::NodeId;

const VERSION: u8 = 1;

/// The bit of the kind that says that the owner of the session is the sender.
const FROM_OWNER: u8 = 0x80;

const BEGIN: u8 = 0;
const ACCEPT: u8 = 1;
const HEAD: u8 = 2;
const DATA: u8 = 3;
const CREDIT: u8 = 4;
const CHECK: u8 = 5;
const RESET: u8 = 6;

/// A message that cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message about a forwarded request is malformed")]
pub(crate) struct Malformed;

/// A message about an exchange.
#[derive(Debug, PartialEq)]
pub(super) struct Message {
    pub(super) sender: NodeId,
    /// The number that the asker has given the exchange.
    pub(super) number: u64,
    pub(super) from_owner: bool,
    pub(super) content: Content,
}

#[derive(Debug, PartialEq)]
pub(super) enum Content {
    /// To the owner: a request.
    Begin(RequestHead, Chunk),
    /// To the asker: the request is in progress.
    Accept(Position),
    /// To the asker: the response.
    Head(ResponseHead, Chunk),
    /// Bytes of a stream, with their offset in it.
    Data(u64, Chunk),
    /// The offset up to which the receiver of this message may send.
    Credit(u64),
    /// To the owner: asks whether the request is in progress.
    Check(Position),
    /// The exchange has ended before it was complete.
    Reset,
}

/// How far a node has sent its stream. The other one has lost messages if it has received less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) sent: u64,
    pub(super) ended: bool,
    /// The head has been sent.
    pub(super) has_head: bool,
}

/// Part of a stream.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Chunk {
    pub(super) bytes: Bytes,
    /// It is the last one.
    pub(super) end: bool,
}

/// The head of a request.
#[derive(Debug, PartialEq)]
pub(crate) struct RequestHead {
    pub(crate) method: Method,
    pub(crate) target: PathAndQuery,
    pub(crate) headers: HeaderMap,
    /// The address of the connection on which the request arrived.
    pub(crate) address: Option<SocketAddr>,
    /// The request asks for a WebSocket.
    pub(crate) is_upgrade: bool,
}

impl RequestHead {
    pub(crate) fn into_request<B>(self, body: B) -> Request<B> {
        let mut request = Request::new(body);
        #[cfg(feature = "http2")]
        if self.is_upgrade && self.method == Method::CONNECT {
            request.extensions_mut().insert(hyper::ext::Protocol::from_static("websocket"));
        }
        if let Some(address) = self.address {
            request.extensions_mut().insert(ConnectInfo(address));
        }
        *request.method_mut() = self.method;
        *request.uri_mut() = self.target.into();
        *request.headers_mut() = self.headers;
        request
    }
}

/// The head of a response.
#[derive(Debug, PartialEq)]
pub(crate) struct ResponseHead {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// The streams are the bytes of a WebSocket from now on.
    pub(crate) is_tunnel: bool,
    /// The length of the body.
    pub(crate) length: u64,
}

impl ResponseHead {
    pub(crate) fn into_response<B>(self, body: B) -> Response<B> {
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

impl Message {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(64);
        let (kind, chunk) = match &self.content {
            Content::Begin(_, chunk) => (BEGIN, Some(chunk)),
            Content::Accept(_) => (ACCEPT, None),
            Content::Head(_, chunk) => (HEAD, Some(chunk)),
            Content::Data(_, chunk) => (DATA, Some(chunk)),
            Content::Credit(_) => (CREDIT, None),
            Content::Check(_) => (CHECK, None),
            Content::Reset => (RESET, None),
        };
        out.extend_from_slice(&[VERSION, kind | if self.from_owner { FROM_OWNER } else { 0 }]);
        out.extend_from_slice(self.sender.as_bytes());
        out.put_u64(self.number);
        match &self.content {
            Content::Begin(head, _) => {
                put_bytes(&mut out, head.method.as_str().as_bytes());
                put_bytes(&mut out, head.target.as_str().as_bytes());
                put_bytes(&mut out, head.address.map(|address| address.to_string()).unwrap_or_default().as_bytes());
                out.put_u8(head.is_upgrade.into());
                put_headers(&mut out, &head.headers);
            }
            Content::Head(head, _) => {
                out.put_u16(head.status.as_u16());
                out.put_u8(head.is_tunnel.into());
                out.put_u64(head.length);
                put_headers(&mut out, &head.headers);
            }
            Content::Data(offset, _) | Content::Credit(offset) => out.put_u64(*offset),
            Content::Accept(position) | Content::Check(position) => {
                out.put_u64(position.sent);
                out.extend_from_slice(&[position.ended.into(), position.has_head.into()]);
            }
            Content::Reset => {}
        }
        if let Some(chunk) = chunk {
            out.reserve_exact(1 + chunk.bytes.len());
            out.put_u8(chunk.end.into());
            out.extend_from_slice(&chunk.bytes);
        }
        out.into()
    }

    /// Decodes a message. The bytes of a chunk are a slice of the input. All else is copied.
    pub(super) fn decode(message: Bytes) -> Result<Self, Malformed> {
        let mut input = Input(message);
        if input.byte()? != VERSION {
            return Err(Malformed);
        }
        let kind = input.byte()?;
        let sender = NodeId::from_bytes(input.0.try_get_u64().map_err(|_| Malformed)?.to_be_bytes());
        let number = input.number()?;
        let from_owner = kind & FROM_OWNER != 0;
        let content = match (kind & !FROM_OWNER, from_owner) {
            (BEGIN, false) => Content::Begin(input.request_head()?, input.chunk()?),
            (ACCEPT, true) => Content::Accept(input.position()?),
            (HEAD, true) => Content::Head(input.response_head()?, input.chunk()?),
            (DATA, _) => Content::Data(input.number()?, input.chunk()?),
            (CREDIT, _) => Content::Credit(input.number()?),
            (CHECK, false) => Content::Check(input.position()?),
            (RESET, _) => Content::Reset,
            _ => return Err(Malformed),
        };
        match input.0.is_empty() {
            true => Ok(Self { sender, number, from_owner, content }),
            false => Err(Malformed),
        }
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.put_u32(u32::try_from(bytes.len()).expect("heads are limited"));
    out.extend_from_slice(bytes);
}

fn put_headers(out: &mut Vec<u8>, headers: &HeaderMap) {
    out.put_u32(u32::try_from(headers.len()).expect("heads are limited"));
    for (name, value) in headers {
        put_bytes(out, name.as_str().as_bytes());
        put_bytes(out, value.as_bytes());
    }
}

struct Input(Bytes);

impl Input {
    fn byte(&mut self) -> Result<u8, Malformed> {
        self.0.try_get_u8().map_err(|_| Malformed)
    }

    fn flag(&mut self) -> Result<bool, Malformed> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }

    fn number(&mut self) -> Result<u64, Malformed> {
        self.0.try_get_u64().map_err(|_| Malformed)
    }

    fn length(&mut self) -> Result<usize, Malformed> {
        let length = self.0.try_get_u32().map_err(|_| Malformed)?;
        usize::try_from(length).map_err(|_| Malformed)
    }

    fn bytes(&mut self) -> Result<Bytes, Malformed> {
        let length = self.length()?;
        match length <= self.0.len() {
            true => Ok(self.0.split_to(length)),
            false => Err(Malformed),
        }
    }

    fn text<T: std::str::FromStr>(&mut self) -> Result<T, Malformed> {
        std::str::from_utf8(&self.bytes()?).ok().and_then(|text| text.parse().ok()).ok_or(Malformed)
    }

    fn headers(&mut self) -> Result<HeaderMap, Malformed> {
        let count = self.length()?;
        // Grown as headers are found: the count may be wrong.
        let mut headers = HeaderMap::new();
        for _ in 0..count {
            let name = HeaderName::from_bytes(&self.bytes()?).map_err(|_| Malformed)?;
            let value = HeaderValue::from_bytes(&self.bytes()?).map_err(|_| Malformed)?;
            headers.try_append(name, value).map_err(|_| Malformed)?;
        }
        Ok(headers)
    }

    fn position(&mut self) -> Result<Position, Malformed> {
        Ok(Position { sent: self.number()?, ended: self.flag()?, has_head: self.flag()? })
    }

    fn chunk(&mut self) -> Result<Chunk, Malformed> {
        Ok(Chunk { end: self.flag()?, bytes: std::mem::take(&mut self.0) })
    }

    fn request_head(&mut self) -> Result<RequestHead, Malformed> {
        let (method, target) = (self.text()?, self.text()?);
        let address = self.text::<String>()?;
        let address = match address.is_empty() {
            true => None,
            false => Some(address.parse().map_err(|_| Malformed)?),
        };
        Ok(RequestHead { method, target, address, is_upgrade: self.flag()?, headers: self.headers()? })
    }

    fn response_head(&mut self) -> Result<ResponseHead, Malformed> {
        let status = self.0.try_get_u16().map_err(|_| Malformed)?;
        Ok(ResponseHead {
            status: StatusCode::from_u16(status).map_err(|_| Malformed)?,
            is_tunnel: self.flag()?,
            length: self.number()?,
            headers: self.headers()?,
        })
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz {
    //! The fuzz target of the messages.

    use super::*;

    /// Decodes a message. What is understood means the same when it is encoded and decoded again.
    pub(crate) fn decode(data: &[u8]) {
        if let Ok(message) = Message::decode(Bytes::copy_from_slice(data)) {
            assert_eq!(Message::decode(message.encode()).as_ref(), Ok(&message));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages() -> Vec<Message> {
        let mut headers = HeaderMap::new();
        for (name, value) in [("accept-encoding", "gzip"), ("x-many", "1"), ("x-many", ""), ("x-many", "a\tb")] {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers.append("x-bytes", HeaderValue::from_bytes(b"a\xffb").unwrap());
        let chunk = |bytes: &'static [u8], end| Chunk { bytes: Bytes::from_static(bytes), end };
        let begin = |method, target: &'static str, address: Option<&str>| {
            let address = address.map(|address| address.parse().unwrap());
            let target = target.parse().unwrap();
            RequestHead { method, target, address, headers: headers.clone(), is_upgrade: address.is_none() }
        };
        let head =
            |length, is_tunnel| ResponseHead { status: StatusCode::OK, headers: headers.clone(), is_tunnel, length };
        let to_owner = [
            Content::Begin(begin(Method::GET, "/socket.io/?EIO=4&sid=a%20b", Some("1.2.3.4:80")), chunk(b"", true)),
            Content::Begin(begin(Method::CONNECT, "/socket.io/", None), chunk(b"\0\xff", false)),
            Content::Check(Position { sent: 9, ended: true, has_head: true }),
        ];
        let to_asker = [
            Content::Accept(Position { sent: 0, ended: false, has_head: false }),
            Content::Head(head(3, false), chunk(b"abc", true)),
            Content::Head(head(u64::MAX, true), chunk(b"", false)),
        ];
        let either = || {
            [
                Content::Data(7, chunk(b"1", false)),
                Content::Data(8, chunk(b"", true)),
                Content::Credit(9),
                Content::Reset,
            ]
        };
        let to_owner = to_owner.into_iter().chain(either()).map(|content| (false, content));
        let to_asker = to_asker.into_iter().chain(either()).map(|content| (true, content));
        let sender = NodeId::from_hex("0123456789abcdef").unwrap();
        to_owner
            .chain(to_asker)
            .map(|(from_owner, content)| Message { sender, number: 1 << 40, from_owner, content })
            .collect()
    }

    #[test]
    fn messages_survive_a_round_trip() {
        for message in messages() {
            assert_eq!(Message::decode(message.encode()).as_ref(), Ok(&message));
        }
    }

    #[test]
    fn a_message_that_is_cut_or_changed_does_not_panic() {
        for message in messages() {
            let bytes = message.encode();
            for length in 0..bytes.len() {
                fuzz::decode(&bytes[..length]);
            }
            for place in 0..bytes.len() {
                for value in [0, 1, 0x7f, 0x80, 0xff] {
                    let mut changed = bytes.to_vec();
                    changed[place] = value;
                    fuzz::decode(&changed);
                }
            }
        }
    }

    #[test]
    fn a_message_in_the_wrong_direction_is_malformed() {
        for message in messages() {
            let is_symmetric = matches!(message.content, Content::Data(..) | Content::Credit(_) | Content::Reset);
            let turned = Message { from_owner: !message.from_owner, ..message };
            assert_eq!(Message::decode(turned.encode()).is_ok(), is_symmetric, "{turned:?}");
        }
        let longer = Message { content: Content::Reset, ..messages().remove(0) }.encode();
        assert_eq!(Message::decode([&longer[..], b"x"].concat().into()), Err(Malformed));
        assert_eq!(Message::decode([b"\x02", &longer[1..]].concat().into()), Err(Malformed));
    }

    /// A count or a length takes no memory before its bytes are there.
    #[test]
    fn a_length_beyond_the_end_is_malformed() {
        let mut bytes = vec![VERSION, HEAD | FROM_OWNER];
        bytes.extend([0; 16]);
        bytes.extend([0, 200, 0]);
        bytes.extend([0; 8]);
        bytes.extend([0xff; 4]);
        assert_eq!(Message::decode(bytes.into()), Err(Malformed));
    }
}
