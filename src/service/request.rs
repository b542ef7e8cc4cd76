//! Requests of ours, checked in the order in which Node's engine checks them.

use std::{
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use http_body::Body;

use crate::{
    config::Transport,
    connection::{Connection, ConnectionRequest},
    engine::{CloseCause, Dialect, HandshakeQuery, Protocol, Refusal, Session, encode_payload, generate_id},
    namespace,
    observe::OutboxDepth,
    server::Server,
    transport::{BadUpgrade, PollFuture, PostFuture, WebSocketUpgrade, is_websocket_request, watch},
};

use super::future::{Agent, Answer, payload};

/// Answers a request beneath the path.
pub(super) fn handle<B: Body>(server: &Arc<Server>, request: Request<B>) -> Answer<B> {
    let file = server.settings.file_of(request.uri().path());
    if let Some(file) = file.and_then(|file| server.client_bundle.find(file)) {
        return Answer::File(server.client_bundle.serve(file, &request));
    }
    server.runtime();
    let (parts, body) = request.into_parts();
    engine_request(server, parts, body).unwrap_or_else(|refusal| {
        server.meters.refused_request(&refusal);
        Answer::ready(refused(&refusal))
    })
}

fn engine_request<B: Body>(server: &Arc<Server>, parts: Parts, body: B) -> Result<Answer<B>, Refusal> {
    // Owned: the parts are handed on, and the query is theirs.
    let uri = parts.uri.clone();
    let query = HandshakeQuery::parse(uri.query().unwrap_or_default());
    let transport = match query.transport.as_deref() {
        Some("polling") => Transport::Polling,
        Some("websocket") => Transport::WebSocket,
        _ => return Err(Refusal::UnknownTransport),
    };
    if !server.settings.serves(transport) {
        return Err(Refusal::UnknownTransport);
    }
    let upgrading = is_websocket_request(&parts.headers);
    let Some(sid) = &query.sid else {
        return handshake(server, parts, &query, transport, upgrading);
    };
    let connection = server.sessions.get(sid).ok_or(Refusal::UnknownSession)?;
    let (closed, polling) = connection.inspect(|session| (session.closed().is_some(), session.is_polling()));
    if closed {
        return Err(Refusal::UnknownSession);
    }
    if query.protocol() != Some(connection.dialect.protocol) {
        return Err(Refusal::BadRequest);
    }
    match (transport, upgrading) {
        (Transport::WebSocket, true) => upgrade(server, &connection, parts),
        (Transport::Polling, false) if polling => poll_or_post(connection, &parts, body),
        _ => Err(Refusal::BadRequest),
    }
}

/// A request without a session opens one. Engine.IO protocol 4, section "Handshake".
fn handshake<B>(
    server: &Arc<Server>,
    mut parts: Parts,
    query: &HandshakeQuery<'_>,
    transport: Transport,
    upgrading: bool,
) -> Result<Answer<B>, Refusal> {
    if parts.method != Method::GET {
        return Err(Refusal::BadHandshakeMethod);
    }
    if upgrading != (transport == Transport::WebSocket) {
        return Err(Refusal::BadRequest);
    }
    let settings = &server.settings;
    if settings.origins.as_ref().is_some_and(|origins| !origins.allow(&parts)) {
        return Err(Refusal::Forbidden);
    }
    let protocol = query.protocol().filter(|protocol| *protocol == Protocol::V4 || settings.allow_eio3);
    let protocol = protocol.ok_or(Refusal::UnsupportedProtocol)?;
    if server.idle_sessions.load(Ordering::Relaxed) >= settings.max_idle_sessions {
        return Err(Refusal::Overloaded("Too many sessions without a namespace"));
    }
    let websocket = match transport {
        Transport::WebSocket => match WebSocketUpgrade::check(&mut parts) {
            Ok(websocket) => Some(websocket),
            Err(bad) => return Ok(Answer::ready(bad_upgrade(&bad))),
        },
        Transport::Polling | Transport::Custom => None,
    };
    let id: Arc<str> = settings.generate_id.as_ref().map_or_else(generate_id, |generate| generate(&parts)).into();
    if id.is_empty() {
        return Err(Refusal::BadRequest);
    }
    let cookie = settings.session_cookie(&id);
    let agent = Agent::of(&parts.headers);
    let dialect = Dialect::asked_for(query, protocol);
    let connection = Connection::open(server.clone(), id, ConnectionRequest::new(parts), transport, dialect);
    let connection = connection.ok_or(Refusal::BadRequest)?;
    let mut response = match websocket {
        Some(websocket) => websocket.open(connection),
        None => first_poll(connection, agent),
    };
    if let Some(cookie) = cookie {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(Answer::ready(response))
}

/// The handshake itself is the answer to the first poll.
fn first_poll(connection: Arc<Connection>, agent: Agent) -> Response<Bytes> {
    connection.update(Session::poll_begin);
    let depth = OutboxDepth::before(&connection);
    let body = match connection.poll_answer(Waker::noop()) {
        Poll::Ready(packets) => {
            depth.taken_by_poll(&connection, &packets);
            encode_payload(&connection.dialect, &packets)
        }
        Poll::Pending => unreachable!("a session begins with its handshake in the outbox"),
    };
    namespace::admit_implicitly(&connection, &mut Context::from_waker(Waker::noop()));
    tokio::spawn(watch(connection));
    payload(body, agent)
}

fn poll_or_post<B: Body>(connection: Arc<Connection>, parts: &Parts, body: B) -> Result<Answer<B>, Refusal> {
    let agent = Agent::of(&parts.headers);
    let octet_stream = parts.headers.get(header::CONTENT_TYPE).is_some_and(|ty| ty == "application/octet-stream");
    let answer = match parts.method {
        Method::GET => PollFuture::begin(connection).map(|future| Answer::Poll { future, agent }),
        Method::POST if octet_stream && connection.dialect.protocol == Protocol::V4 => {
            connection.abort(CloseCause::TransportError("invalid content"));
            Err(StatusCode::BAD_REQUEST)
        }
        Method::POST => PostFuture::begin(connection, octet_stream, body).map(|future| Answer::Post { future, agent }),
        _ => Err(StatusCode::METHOD_NOT_ALLOWED),
    };
    Ok(answer.unwrap_or_else(Answer::status))
}

/// A WebSocket wants to carry a session that began with long-polling.
fn upgrade<B>(server: &Server, connection: &Arc<Connection>, mut parts: Parts) -> Result<Answer<B>, Refusal> {
    if !server.settings.allow_upgrades {
        return Err(Refusal::BadRequest);
    }
    let websocket = match WebSocketUpgrade::check(&mut parts) {
        Ok(websocket) => websocket,
        Err(bad) => return Ok(Answer::ready(bad_upgrade(&bad))),
    };
    if !connection.update(Session::probe_begin) {
        return Err(Refusal::BadRequest);
    }
    Ok(Answer::ready(websocket.probe(connection.clone())))
}

fn refused(refusal: &Refusal) -> Response<Bytes> {
    let mut response = Response::new(refusal.body().into());
    *response.status_mut() = refusal.status();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn bad_upgrade(bad: &BadUpgrade) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(bad.message.as_bytes()));
    *response.status_mut() = bad.status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    response
}
