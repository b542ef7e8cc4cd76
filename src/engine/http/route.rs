//! Routes requests. Checks are in the order of Node's engine.

use std::{
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use http_body::Body;

use crate::engine::{
    CloseCause, Connection, ConnectionRequest, Engine, NodeId, ProtocolVersion, RequestError, RequestQuery, Session,
    Transport, WireFormat,
    config::Rejection,
    connection::{HeadError, OpenError, head_size},
    encode_payload, generate_id,
    observe::SendMeter,
    transport::{PollFuture, PostFuture, WebSocketUpgrade, is_extended_connect, is_websocket_request, keep_time},
};

use super::{
    forward::ForwardFuture,
    future::{EngineFuture, failed},
    response::{PollResponse, prepend_cookie, rejected, run_headers_hook, run_initial_headers_hook, take_parts},
};

impl Engine {
    /// Handles a request under the path.
    pub(crate) fn handle<B: Body>(self: &Arc<Self>, request: Request<B>) -> EngineFuture<B> {
        let (mut parts, body) = request.into_parts();
        engine_request(self, &mut parts, body)
            .unwrap_or_else(|cause| EngineFuture::ready(rejected(self, &parts, &cause)))
    }
}

fn engine_request<B: Body>(engine: &Arc<Engine>, parts: &mut Parts, body: B) -> Result<EngineFuture<B>, Rejection> {
    let query = RequestQuery::parse(parts.uri.query().unwrap_or_default());
    let transport = match query.transport.as_deref() {
        Some("polling") => Transport::Polling,
        Some("websocket") => Transport::WebSocket,
        _ => return Err(RequestError::UnknownTransport.into()),
    };
    if !engine.config.serves(transport) {
        return Err(RequestError::UnknownTransport.into());
    }
    let upgrading = is_websocket_request(parts);
    // `parts` is passed on below, and `query` borrows from it.
    let is_jsonp = query.jsonp.is_some();
    let Some(sid) = &query.sid else {
        let wire_format = query.protocol().map(|protocol| WireFormat::from_query(&query, protocol));
        return handshake(engine, parts, transport, upgrading, is_jsonp, wire_format);
    };
    let Some(connection) = engine.sessions.get(sid) else {
        let owner = engine.relay.as_ref().and_then(|relay| relay.owner_of(sid));
        let owner = owner.ok_or(RequestError::UnknownSession)?;
        return forward(engine, owner, parts, body, upgrading);
    };
    let (closed, polling) = connection.inspect(|session| (session.closed().is_some(), session.is_polling()));
    if closed {
        return Err(RequestError::UnknownSession.into());
    }
    if query.protocol() != Some(connection.wire_format.protocol) {
        return Err(RequestError::BadRequest("the session speaks another revision of Engine.IO").into());
    }
    match (transport, upgrading) {
        (Transport::WebSocket, true) => upgrade(engine, &connection, parts),
        (Transport::Polling, false) if polling => poll_or_post(connection, parts, body, is_jsonp),
        (Transport::Polling, false) => Err(RequestError::BadRequest("the session has left long-polling").into()),
        _ => Err(NOT_ITS_TRANSPORT.into()),
    }
}

/// Passes a request to the node that owns its session.
fn forward<B: Body>(
    engine: &Arc<Engine>,
    owner: NodeId,
    parts: &mut Parts,
    body: B,
    upgrading: bool,
) -> Result<EngineFuture<B>, Rejection> {
    check_head(engine, parts)?;
    let websocket = match upgrading {
        // It would be closed soon. The session stays on long-polling.
        true if engine.draining.load(Ordering::Relaxed) => return Err(DRAINING.into()),
        true => Some(WebSocketUpgrade::check(parts, &engine.config)?),
        false => None,
    };
    let future = ForwardFuture::new(engine.clone(), owner, take_parts(parts), body, websocket);
    Ok(EngineFuture::Forward { future })
}

/// The query names a transport that the request does not use.
const NOT_ITS_TRANSPORT: RequestError = RequestError::BadRequest("the request does not fit its transport");

/// Opens a session for a request without a session id. Engine.IO protocol 4, section "Handshake".
fn handshake<B>(
    engine: &Arc<Engine>,
    parts: &mut Parts,
    transport: Transport,
    upgrading: bool,
    is_jsonp: bool,
    wire_format: Option<WireFormat>,
) -> Result<EngineFuture<B>, Rejection> {
    if parts.method != Method::GET && !is_extended_connect(parts) {
        return Err(RequestError::BadHandshakeMethod.into());
    }
    if upgrading != (transport == Transport::WebSocket) {
        return Err(NOT_ITS_TRANSPORT.into());
    }
    let config = &engine.config;
    if config.origins.as_ref().is_some_and(|origins| !origins.allow(parts, is_jsonp, || engine.count_panic())) {
        return Err(RequestError::Forbidden.into());
    }
    let wire_format =
        wire_format.filter(|wire_format| wire_format.protocol == ProtocolVersion::V4 || config.allow_eio3);
    let mut wire_format = wire_format.ok_or(RequestError::UnsupportedProtocol)?;
    wire_format.takes_few_packets = takes_few_packets(&parts.headers);
    wire_format.may_decode_twice |= upgrading && is_ws_0_4(&parts.headers);
    if engine.draining.load(Ordering::Relaxed) {
        return Err(DRAINING.into());
    }
    let websocket = match transport {
        Transport::WebSocket => Some(WebSocketUpgrade::check(parts, config)?),
        Transport::Polling | Transport::WebTransport | Transport::Custom => None,
    };
    let id = session_id(engine, parts)?;
    let cookie = config.session_cookie(&id);
    let responder = PollResponse::new(engine, parts, is_jsonp);
    let connection = open(engine, id, parts, transport, wire_format)?;
    let mut response = match websocket {
        Some(websocket) => websocket.open(connection),
        None => first_poll(connection, &responder),
    };
    run_initial_headers_hook(engine, response.headers_mut(), parts);
    if let Some(cookie) = cookie {
        prepend_cookie(response.headers_mut(), cookie);
    }
    Ok(EngineFuture::ready(response))
}

/// Returns `true` if the client may be python-engineio, which is identified by its HTTP libraries.
fn takes_few_packets(headers: &HeaderMap) -> bool {
    let agent = headers.get(header::USER_AGENT).map_or(&b""[..], HeaderValue::as_bytes);
    agent.starts_with(b"python-requests/") || agent.starts_with(b"Python/")
}

/// Returns `true` if a WebSocket is from the library that the 1.0 client for Node.js uses: its keys are the base64 of `13-` and
/// the time, and it does not offer extensions.
fn is_ws_0_4(headers: &HeaderMap) -> bool {
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map_or(&b""[..], HeaderValue::as_bytes);
    key.starts_with(b"MTMt") && !headers.contains_key(header::SEC_WEBSOCKET_EXTENSIONS)
}

const DRAINING: RequestError = RequestError::Overloaded("The server is shutting down");

/// Checks the size of a request's head that is kept until the response is sent.
fn check_head(engine: &Engine, parts: &Parts) -> Result<(), RequestError> {
    let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    match target + head_size(&parts.headers) > engine.config.max_head_bytes {
        true => Err(RequestError::HeadTooLarge),
        false => Ok(()),
    }
}

fn session_id(engine: &Engine, parts: &Parts) -> Result<Arc<str>, RequestError> {
    let id = match &engine.config.generate_id {
        None => generate_id(),
        Some(generate) => engine
            .catch_panic(|| generate(parts).into())
            .ok_or(RequestError::Internal("the function `generate_id` panicked"))?,
    };
    match (id.is_empty(), &engine.relay) {
        (true, _) => Err(RequestError::BadRequest("the id of the session is empty")),
        (false, None) => Ok(id),
        (false, Some(relay)) => Ok(relay.session_id(&id)),
    }
}

/// Opens a session for a request. Moves the request, unless hooks need it.
fn open(
    engine: &Arc<Engine>,
    id: Arc<str>,
    parts: &mut Parts,
    transport: Transport,
    wire_format: WireFormat,
) -> Result<Arc<Connection>, RequestError> {
    let config = &engine.config;
    let address = if config.limits_addresses() { config.address_of(&parts.headers, &parts.extensions) } else { None };
    let request = if config.hooks.want_handshakes() { parts.clone() } else { take_parts(parts) };
    let request = ConnectionRequest::new(request, config.max_head_bytes).map_err(|error| match error {
        HeadError::TooLarge => RequestError::HeadTooLarge,
        HeadError::UnreadableTarget => RequestError::BadRequest("the target is too long to be kept"),
    })?;
    Connection::open(engine.clone(), id, request, transport, wire_format, address).map_err(|error| match error {
        OpenError::IdTaken => RequestError::BadRequest("the id of the session is taken"),
        OpenError::Draining => DRAINING,
        OpenError::TooManySessions => RequestError::TooManySessions,
    })
}

/// Returns the response to a handshake over long-polling, which is also the response to the first poll.
fn first_poll(connection: Arc<Connection>, responder: &PollResponse) -> Response<Bytes> {
    connection.update(Session::poll_begin);
    let depth = SendMeter::before(&connection.engine.meters, || connection.inspect(Session::buffered_bytes));
    let body = match connection.poll_answer(Waker::noop()) {
        Poll::Ready(packets) => {
            depth.polled(&connection.engine.meters, &packets);
            encode_payload(&connection.wire_format, packets)
        }
        Poll::Pending => unreachable!("a session begins with its handshake in the outbox"),
    };
    connection.opened(&mut Context::from_waker(Waker::noop()));
    tokio::spawn(keep_time(connection));
    responder.payload(body)
}

fn poll_or_post<B: Body>(
    connection: Arc<Connection>,
    parts: &mut Parts,
    body: B,
    is_jsonp: bool,
) -> Result<EngineFuture<B>, Rejection> {
    let engine = &connection.engine;
    let method = parts.method.clone();
    if !matches!(method, Method::GET | Method::POST) {
        return Err(RequestError::MethodNotAllowed.into());
    }
    if engine.config.hooks.headers.is_some() {
        // The request is kept until the response is sent.
        check_head(engine, parts)?;
    }
    let octet_stream = parts.headers.get(header::CONTENT_TYPE).is_some_and(|ty| ty == "application/octet-stream");
    let is_jsonp = is_jsonp || connection.wire_format.jsonp().is_some();
    let responder = PollResponse::new(engine, parts, is_jsonp).with_hook(engine, parts);
    let answer = if method == Method::GET {
        PollFuture::begin(connection).map(|future| EngineFuture::Poll { future, responder })
    } else if octet_stream && connection.wire_format.protocol == ProtocolVersion::V4 {
        connection.abort(CloseCause::TransportError("invalid content"));
        Err(StatusCode::BAD_REQUEST)
    } else {
        PostFuture::begin(connection, octet_stream, body).map(|future| EngineFuture::Post { future, responder })
    };
    Ok(answer.unwrap_or_else(|status| EngineFuture::rejected(&failed(status))))
}

/// Probes a WebSocket for a session that began with long-polling.
fn upgrade<B>(engine: &Engine, connection: &Arc<Connection>, parts: &mut Parts) -> Result<EngineFuture<B>, Rejection> {
    if !engine.config.allow_upgrades {
        return Err(RequestError::BadRequest("upgrades are turned off").into());
    }
    if engine.config.hooks.headers.is_some() {
        check_head(engine, parts)?;
    }
    let websocket = WebSocketUpgrade::check(parts, &engine.config)?;
    if !connection.inspect(Session::is_polling) {
        // As in Node: clients treat an error status before the 101 as a network error.
        return Ok(EngineFuture::ready(websocket.dismiss(connection.clone())));
    }
    if !connection.update(|session| session.probe_begin(Transport::WebSocket)) {
        return Err(RequestError::BadRequest("the session has a WebSocket already").into());
    }
    let mut response = websocket.probe(connection.clone());
    run_headers_hook(engine, response.headers_mut(), parts);
    Ok(EngineFuture::ready(response))
}
