use std::{
    future::poll_fn,
    panic::AssertUnwindSafe,
    sync::Arc,
    task::{Context, Poll},
};

use axum::extract::MatchedPath;
use bytes::Bytes;
use futures_util::FutureExt;
use http::StatusCode;
use tower::ServiceExt;

use crate::{
    connection::{Connection, JoinError},
    engine::Protocol,
    io::NamespaceRef,
    observe::ConnectWatch,
    packet::{DecodeError, encode_simple},
    recovery::Memory,
    socket::{DisconnectReason, EMPTY_AUTH, Socket},
    util::log,
};

use super::{
    NamespaceRequest,
    answer::ConnectError,
    connect_request::{connect_extensions, connect_request},
    table::Lookup,
};

/// A client asks to join a namespace. Socket.IO protocol 5, section "Connection to a namespace".
///
/// The namespace's services decide; they run here as far as they get without waiting, and in a task that ends with the
/// connection if they wait.
pub(crate) fn admit(
    connection: &Arc<Connection>,
    name: &str,
    auth: Bytes,
    cx: &mut Context<'_>,
) -> Result<(), DecodeError> {
    // Who sends nothing sends an empty object.
    let auth = if auth.is_empty() { Bytes::from_static(EMPTY_AUTH) } else { auth };
    let server = &connection.server;
    if name.len() > server.settings.max_namespace_length {
        refuse(connection, name, "the namespace name is too long", "name_too_long");
        return Ok(());
    }
    match connection.may_join(name, auth.len()) {
        Ok(()) => {}
        Err(JoinError::Duplicate) => return Err(DecodeError("a second CONNECT for a namespace")),
        Err(JoinError::TooMany) => {
            refuse(connection, name, "too many namespaces on this connection", "too_many_namespaces");
            return Ok(());
        }
        Err(JoinError::TooMuchAuth) => {
            refuse(connection, name, "the auth payload exceeds max_auth_bytes", "too_much_auth");
            return Ok(());
        }
        Err(JoinError::Closed) => return Ok(()),
    }
    let lookup = server.namespaces.acquire(name, || connection.may_join_dynamic());
    if let Lookup::Asking(place) = lookup {
        connection.reserve(name, auth.len());
        let request = NamespaceRequest::new(connection, name, &auth);
        let asking = connection.clone();
        let task = async move {
            let mut lookup = Some(asking.server.namespaces.ask(place, &request).await);
            poll_fn(|cx| {
                if let Some(lookup) = lookup.take() {
                    join(&asking, request.name(), lookup, auth.clone(), cx);
                }
                Poll::Ready(())
            })
            .await;
        };
        if let Some(task) = connection.poll_or_spawn(cx, Box::pin(task)) {
            connection.own_reservation(name, task);
        }
    } else {
        join(connection, name, lookup, auth, cx);
    }
    Ok(())
}

/// Begins the admission of a client, once it is known whether there is such a namespace.
fn join(connection: &Arc<Connection>, name: &str, lookup: Lookup, auth: Bytes, cx: &mut Context<'_>) {
    let entered = enter(connection, name, lookup, &auth);
    // The socket, if there is one, has taken the place.
    connection.unreserve(name);
    let Some(socket) = entered else {
        return;
    };
    let watch = ConnectWatch::start(&socket);
    if socket.namespace.admits_everyone() {
        let shares = socket.session.is_none() && connection.request.extension::<MatchedPath>().is_none();
        return watch.in_scope(|| {
            let held = connection.server.contain(|| {
                socket.hold((!shares).then(|| connect_extensions(&connection.request)));
            });
            let refusal = (!held).then(|| (None, ConnectError::new("Internal Server Error")));
            settle(&socket, refusal, watch.clone());
        });
    }
    let admission = watch.instrument(decide(socket.clone(), auth, watch.clone()));
    if let Some(task) = connection.poll_or_spawn(cx, Box::pin(admission)) {
        connection.own_admission(&socket, task);
    }
}

/// Makes a socket for a client that a namespace has been found for, or tells it that there is none.
fn enter(connection: &Arc<Connection>, name: &str, lookup: Lookup, auth: &[u8]) -> Option<Arc<Socket>> {
    let namespace = match lookup {
        Lookup::Found(namespace) => namespace,
        Lookup::Made(namespace) => {
            if let Some(hook) = &connection.server.settings.on_namespace {
                connection.server.contain(|| hook(&NamespaceRef::new(namespace.clone())));
            }
            namespace
        }
        Lookup::Unknown | Lookup::Asking(_) => {
            refuse(connection, name, "Invalid namespace", "unknown_namespace");
            return None;
        }
        Lookup::TooMany => {
            refuse(connection, name, "too many namespaces on this server", "too_many_namespaces");
            return None;
        }
        Lookup::TooManyHere => {
            refuse(connection, name, "too many dynamic namespaces on this connection", "too_many_namespaces");
            return None;
        }
    };
    let memory = namespace.memory().filter(|_| connection.wire_format.protocol == Protocol::V4);
    let restored = memory.and_then(|memory| memory.claim(auth));
    let socket = Socket::new(connection.clone(), namespace, auth, restored);
    if connection.add_socket(socket.clone(), auth.len()).is_err() {
        socket.close(DisconnectReason::TransportClose);
        return None;
    }
    if let Some(memory) = socket.namespace.memory() {
        memory.expect(&socket);
    }
    Some(socket)
}

/// Tells a client that it cannot join: an object in either revision. `result` is how it is counted.
fn refuse(connection: &Connection, name: &str, message: &str, result: &'static str) {
    connection.span.in_scope(|| log!(debug, message = %message, "CONNECT refused"));
    connection.server.meters.refused_connect(result);
    connection.reply(&encode_simple(b'4', name, &ConnectError::new(message).to_json(Protocol::V4)));
}

/// Clients of Engine.IO 3 do not ask to join the default namespace: a session of theirs does so as it begins.
pub(crate) fn admit_implicitly(connection: &Arc<Connection>, cx: &mut Context<'_>) {
    if connection.wire_format.protocol == Protocol::V3 {
        // The first of a new session's namespaces breaks no rule.
        let _ = admit(connection, "/", Bytes::new(), cx);
    }
}

/// Asks the namespace's services, and does what they answer.
async fn decide(socket: Arc<Socket>, auth: Bytes, watch: ConnectWatch) {
    let connection = socket.connection.clone();
    let name = socket.namespace.name();
    let Some(mut request) = connect_request(&connection.request, name, auth, socket.clone().into()) else {
        let refusal = ConnectError::new("the name and the query are too long for a request");
        return settle(&socket, Some((Some(StatusCode::URI_TOO_LONG), refusal)), watch);
    };
    let recovered = socket.session.as_ref().filter(|session| session.recovered);
    let skip_layers = recovered.is_some() && socket.namespace.memory().is_some_and(Memory::skips_layers);
    if let Some(session) = recovered.filter(|_| skip_layers) {
        let fresh = std::mem::replace(request.extensions_mut(), session.restored_extensions());
        request.extensions_mut().extend(fresh);
    }
    let answer = socket.namespace.connect_route(skip_layers).oneshot(request);
    let refusal = async {
        let response = answer.await.unwrap_or_else(|never| match never {});
        match response.status().is_success() {
            true => None,
            // Reading the body may run user code too.
            false => {
                let status = response.status();
                Some((Some(status), ConnectError::from_response(response).await))
            }
        }
    };
    let refusal = AssertUnwindSafe(refusal).catch_unwind().await.unwrap_or_else(|_| {
        connection.server.count_panic();
        log!(error, namespace = %name, "on_connect or a layer of its namespace panicked");
        Some((None, ConnectError::new("Internal Server Error")))
    });
    settle(&socket, refusal, watch);
}

/// Tells a client what the services of the namespace have decided: to let it in, unless there is a refusal.
fn settle(socket: &Arc<Socket>, refusal: Option<(Option<StatusCode>, ConnectError)>, watch: ConnectWatch) {
    let (connection, name) = (&socket.connection, socket.namespace.name());
    let error = if let Some((status, error)) = refusal {
        watch.refused(status.as_ref().map_or("panic", StatusCode::as_str));
        error
    } else if !socket.was_reached() {
        log!(warn, namespace = %name, "a layer answered CONNECT with success, but did not hand it on");
        watch.refused("not_handed_on");
        ConnectError::new("the connection was not handed on")
    } else if socket.accept() {
        return watch.accepted();
    } else {
        watch.refused("disconnected");
        ConnectError::new("disconnected by the server")
    };
    log!(debug, namespace = %name, message = %error.message, "CONNECT refused");
    connection.reply(&encode_simple(b'4', name, &error.to_json(connection.wire_format.protocol)));
    socket.close(DisconnectReason::ServerNamespaceDisconnect);
    connection.forget_socket(socket, true);
}
