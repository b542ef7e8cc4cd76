//! Requests of ours, checked in the order in which Node's engine checks them.

use std::{
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use http_body::Body;

use crate::engine::{
    CloseCause, Connection, ConnectionError, ConnectionRequest, Engine, HandshakeQuery, Protocol, Refusal, Session,
    Transport, WireFormat,
    config::Refused,
    connection::{OpenError, RequestError, head_size},
    encode_payload, generate_id,
    observe::OutboxDepth,
    transport::{PollFuture, PostFuture, WebSocketUpgrade, is_extended_connect, is_websocket_request, watch},
};

use super::{
    future::{Answer, failed},
    response::{
        Responder, bad_upgrade, prepend_cookie, refused, run_headers_hook, run_initial_headers_hook, take_parts,
    },
};

impl Engine {
    /// Answers a request under the path.
    pub(crate) fn handle<B: Body>(self: &Arc<Self>, request: Request<B>) -> Answer<B> {
        let (mut parts, body) = request.into_parts();
        engine_request(self, &mut parts, body).unwrap_or_else(|cause| refuse(self, &parts, &cause))
    }
}

fn refuse<B>(engine: &Engine, parts: &Parts, cause: &Refused) -> Answer<B> {
    if let Some(hook) = &engine.config.hooks.connection_error {
        engine.contain(|| hook(&ConnectionError::new(parts, cause)));
    }
    Answer::ready(match cause {
        Refused::Engine(refusal) => {
            engine.meters.refused_request(refusal);
            refused(refusal)
        }
        Refused::WebSocket(bad) => bad_upgrade(bad),
    })
}

fn engine_request<B: Body>(engine: &Arc<Engine>, parts: &mut Parts, body: B) -> Result<Answer<B>, Refused> {
    let query = HandshakeQuery::parse(parts.uri.query().unwrap_or_default());
    let transport = match query.transport.as_deref() {
        Some("polling") => Transport::Polling,
        Some("websocket") => Transport::WebSocket,
        _ => return Err(Refusal::UnknownTransport.into()),
    };
    if !engine.config.serves(transport) {
        return Err(Refusal::UnknownTransport.into());
    }
    let upgrading = is_websocket_request(parts);
    // The parts are handed on, and the query is theirs.
    let is_jsonp = query.jsonp.is_some();
    let Some(sid) = &query.sid else {
        let wire_format = query.protocol().map(|protocol| WireFormat::from_query(&query, protocol));
        return handshake(engine, parts, transport, upgrading, is_jsonp, wire_format);
    };
    let connection = engine.sessions.get(sid).ok_or(Refusal::UnknownSession)?;
    let (closed, polling) = connection.inspect(|session| (session.closed().is_some(), session.is_polling()));
    if closed {
        return Err(Refusal::UnknownSession.into());
    }
    if query.protocol() != Some(connection.wire_format.protocol) {
        return Err(Refusal::BadRequest("the session speaks another revision of Engine.IO").into());
    }
    match (transport, upgrading) {
        (Transport::WebSocket, true) => upgrade(engine, &connection, parts),
        (Transport::Polling, false) if polling => poll_or_post(connection, parts, body, is_jsonp),
        (Transport::Polling, false) => Err(Refusal::BadRequest("the session has left long-polling").into()),
        _ => Err(NOT_ITS_TRANSPORT.into()),
    }
}

/// The query names one transport, and the request asks for another.
const NOT_ITS_TRANSPORT: Refusal = Refusal::BadRequest("the request does not fit its transport");

/// A request without a session opens one. Engine.IO protocol 4, section "Handshake".
fn handshake<B>(
    engine: &Arc<Engine>,
    parts: &mut Parts,
    transport: Transport,
    upgrading: bool,
    is_jsonp: bool,
    wire_format: Option<WireFormat>,
) -> Result<Answer<B>, Refused> {
    if parts.method != Method::GET && !is_extended_connect(parts) {
        return Err(Refusal::BadHandshakeMethod.into());
    }
    if upgrading != (transport == Transport::WebSocket) {
        return Err(NOT_ITS_TRANSPORT.into());
    }
    let config = &engine.config;
    if config.origins.as_ref().is_some_and(|origins| !origins.allow(parts, is_jsonp, || engine.count_panic())) {
        return Err(Refusal::Forbidden.into());
    }
    let wire_format = wire_format.filter(|wire_format| wire_format.protocol == Protocol::V4 || config.allow_eio3);
    let mut wire_format = wire_format.ok_or(Refusal::UnsupportedProtocol)?;
    wire_format.takes_few_packets = takes_few_packets(&parts.headers);
    wire_format.may_decode_twice |= upgrading && is_ws_0_4(&parts.headers);
    if engine.draining.load(Ordering::Relaxed) {
        return Err(DRAINING.into());
    }
    let websocket = match transport {
        Transport::WebSocket => Some(WebSocketUpgrade::check(parts)?),
        Transport::Polling | Transport::Custom => None,
    };
    let id = session_id(engine, parts)?;
    let cookie = config.session_cookie(&id);
    let responder = Responder::new(engine, parts, is_jsonp);
    let connection = open(engine, id, parts, transport, wire_format)?;
    let mut response = match websocket {
        Some(websocket) => websocket.open(connection),
        None => first_poll(connection, &responder),
    };
    run_initial_headers_hook(engine, response.headers_mut(), parts);
    if let Some(cookie) = cookie {
        prepend_cookie(response.headers_mut(), cookie);
    }
    Ok(Answer::ready(response))
}

/// Whether the client is python-engineio, by the HTTP libraries that it uses.
fn takes_few_packets(headers: &HeaderMap) -> bool {
    let agent = headers.get(header::USER_AGENT).map_or(&b""[..], HeaderValue::as_bytes);
    agent.starts_with(b"python-requests/") || agent.starts_with(b"Python/")
}

/// Whether a WebSocket comes from the library that the client of 1.0 for Node.js has: its keys are the base64 of `13-` and the time,
/// and it offers no extension.
fn is_ws_0_4(headers: &HeaderMap) -> bool {
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map_or(&b""[..], HeaderValue::as_bytes);
    key.starts_with(b"MTMt") && !headers.contains_key(header::SEC_WEBSOCKET_EXTENSIONS)
}

const DRAINING: Refusal = Refusal::Overloaded("The server is shutting down");

/// Checks the size of the head of a session's request that is kept until it is answered.
fn check_head(engine: &Engine, parts: &Parts) -> Result<(), Refusal> {
    let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    match target + head_size(&parts.headers) > engine.config.max_head_bytes {
        true => Err(Refusal::HeadTooLarge),
        false => Ok(()),
    }
}

fn session_id(engine: &Engine, parts: &Parts) -> Result<Arc<str>, Refusal> {
    let id = match &engine.config.generate_id {
        None => generate_id(),
        Some(generate) => engine
            .contained(|| generate(parts).into())
            .ok_or(Refusal::Internal("the function `generate_id` panicked"))?,
    };
    match id.is_empty() {
        true => Err(Refusal::BadRequest("the id of the session is empty")),
        false => Ok(id),
    }
}

/// Opens a session for a request, which is taken unless hooks want to see it once more.
fn open(
    engine: &Arc<Engine>,
    id: Arc<str>,
    parts: &mut Parts,
    transport: Transport,
    wire_format: WireFormat,
) -> Result<Arc<Connection>, Refusal> {
    let config = &engine.config;
    let address = if config.limits_addresses() { config.address_of(&parts.headers, &parts.extensions) } else { None };
    let request = if config.hooks.want_handshakes() { parts.clone() } else { take_parts(parts) };
    let request = ConnectionRequest::new(request, config.max_head_bytes).map_err(|error| match error {
        RequestError::TooLarge => Refusal::HeadTooLarge,
        RequestError::UnreadableTarget => Refusal::BadRequest("the target is too long to be kept"),
    })?;
    Connection::open(engine.clone(), id, request, transport, wire_format, address).map_err(|error| match error {
        OpenError::IdTaken => Refusal::BadRequest("the id of the session is taken"),
        OpenError::Draining => DRAINING,
        OpenError::TooManySessions => Refusal::TooManySessions,
    })
}

/// The handshake itself is the answer to the first poll.
fn first_poll(connection: Arc<Connection>, responder: &Responder) -> Response<Bytes> {
    connection.update(Session::poll_begin);
    let depth = OutboxDepth::before(|| connection.inspect(Session::buffered_bytes));
    let body = match connection.poll_answer(Waker::noop()) {
        Poll::Ready(packets) => {
            depth.taken_by_poll(&connection.engine.meters, &packets);
            encode_payload(&connection.wire_format, packets)
        }
        Poll::Pending => unreachable!("a session begins with its handshake in the outbox"),
    };
    connection.opened(&mut Context::from_waker(Waker::noop()));
    tokio::spawn(watch(connection));
    responder.payload(body)
}

fn poll_or_post<B: Body>(
    connection: Arc<Connection>,
    parts: &mut Parts,
    body: B,
    is_jsonp: bool,
) -> Result<Answer<B>, Refused> {
    let engine = &connection.engine;
    let method = parts.method.clone();
    if !matches!(method, Method::GET | Method::POST) {
        return Err(Refusal::MethodNotAllowed.into());
    }
    if engine.config.hooks.headers.is_some() {
        // The request is kept until it is answered.
        check_head(engine, parts)?;
    }
    let octet_stream = parts.headers.get(header::CONTENT_TYPE).is_some_and(|ty| ty == "application/octet-stream");
    let is_jsonp = is_jsonp || connection.wire_format.jsonp.is_some();
    let responder = Responder::new(engine, parts, is_jsonp).with_hook(engine, parts);
    let answer = if method == Method::GET {
        PollFuture::begin(connection).map(|future| Answer::Poll { future, responder })
    } else if octet_stream && connection.wire_format.protocol == Protocol::V4 {
        connection.abort(CloseCause::TransportError("invalid content"));
        Err(StatusCode::BAD_REQUEST)
    } else {
        PostFuture::begin(connection, octet_stream, body).map(|future| Answer::Post { future, responder })
    };
    Ok(answer.unwrap_or_else(|status| Answer::refused(&failed(status))))
}

/// A WebSocket wants to carry a session that began with long-polling.
fn upgrade<B>(engine: &Engine, connection: &Arc<Connection>, parts: &mut Parts) -> Result<Answer<B>, Refused> {
    if !engine.config.allow_upgrades {
        return Err(Refusal::BadRequest("upgrades are turned off").into());
    }
    if engine.config.hooks.headers.is_some() {
        check_head(engine, parts)?;
    }
    let websocket = WebSocketUpgrade::check(parts)?;
    if !connection.inspect(Session::is_polling) {
        // As Node does: clients take a refusal before the 101 for an error of the network.
        return Ok(Answer::ready(websocket.dismiss(connection.clone())));
    }
    if !connection.update(Session::probe_begin) {
        return Err(Refusal::BadRequest("the session has a WebSocket already").into());
    }
    let mut response = websocket.probe(connection.clone());
    run_headers_hook(engine, response.headers_mut(), parts);
    Ok(Answer::ready(response))
}
