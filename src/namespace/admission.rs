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
    engine::ProtocolVersion,
    io::NamespaceRef,
    observe::ConnectWatch,
    packet::{DecodeError, encode_simple},
    recovery::Memory,
    server::{Client, JoinError},
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
pub(crate) fn admit(client: &Arc<Client>, name: &str, auth: Bytes, cx: &mut Context<'_>) -> Result<(), DecodeError> {
    // Who sends nothing sends an empty object.
    let auth = if auth.is_empty() { Bytes::from_static(EMPTY_AUTH) } else { auth };
    let server = &client.server;
    if name.len() > server.settings.max_namespace_length {
        refuse(client, name, "the namespace name is too long", "name_too_long");
        return Ok(());
    }
    match client.may_join(name, auth.len()) {
        Ok(()) => {}
        Err(JoinError::Duplicate) => return Err(DecodeError("a second CONNECT for a namespace")),
        Err(JoinError::TooMany) => {
            refuse(client, name, "too many namespaces on this connection", "too_many_namespaces");
            return Ok(());
        }
        Err(JoinError::TooMuchAuth) => {
            refuse(client, name, "the auth payload exceeds max_auth_bytes", "too_much_auth");
            return Ok(());
        }
        Err(JoinError::Closed) => return Ok(()),
    }
    let lookup = server.namespaces.acquire(name, || client.may_join_dynamic());
    if let Lookup::Asking(place) = lookup {
        client.reserve(name, auth.len());
        let request = NamespaceRequest::new(client, name, &auth);
        let asking = client.clone();
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
        if let Some(task) = client.poll_or_spawn(cx, Box::pin(task)) {
            client.own_reservation(name, task);
        }
    } else {
        join(client, name, lookup, auth, cx);
    }
    Ok(())
}

/// Begins the admission of a client, once it is known whether there is such a namespace.
fn join(client: &Arc<Client>, name: &str, lookup: Lookup, auth: Bytes, cx: &mut Context<'_>) {
    let entered = enter(client, name, lookup, &auth);
    // The socket, if there is one, has taken the place.
    client.unreserve(name);
    let Some(socket) = entered else {
        return;
    };
    let watch = ConnectWatch::start(&socket);
    if socket.namespace.admits_everyone() {
        let shares = socket.session.is_none() && client.connection.request.extension::<MatchedPath>().is_none();
        return watch.in_scope(|| {
            let held = client.server.contain(|| {
                socket.hold((!shares).then(|| connect_extensions(&client.connection.request)));
            });
            let refusal = (!held).then(|| (None, ConnectError::new("Internal Server Error")));
            settle(&socket, refusal, watch.clone());
        });
    }
    let admission = watch.instrument(decide(socket.clone(), auth, watch.clone()));
    if let Some(task) = client.poll_or_spawn(cx, Box::pin(admission)) {
        client.own_admission(&socket, task);
    }
}

/// Makes a socket for a client that a namespace has been found for, or tells it that there is none.
fn enter(client: &Arc<Client>, name: &str, lookup: Lookup, auth: &[u8]) -> Option<Arc<Socket>> {
    let namespace = match lookup {
        Lookup::Found(namespace) => namespace,
        Lookup::Made(namespace) => {
            if let Some(hook) = &client.server.settings.on_namespace {
                client.server.contain(|| hook(&NamespaceRef::new(namespace.clone())));
            }
            namespace
        }
        Lookup::Unknown | Lookup::Asking(_) => {
            refuse(client, name, "Invalid namespace", "unknown_namespace");
            return None;
        }
        Lookup::TooMany => {
            refuse(client, name, "too many namespaces on this server", "too_many_namespaces");
            return None;
        }
        Lookup::TooManyHere => {
            refuse(client, name, "too many dynamic namespaces on this connection", "too_many_namespaces");
            return None;
        }
    };
    let memory = namespace.memory().filter(|_| client.connection.wire_format.protocol == ProtocolVersion::V4);
    let restored = memory.and_then(|memory| memory.claim(auth));
    let socket = Socket::new(client.clone(), namespace, auth, restored);
    if client.add_socket(socket.clone(), auth.len()).is_err() {
        socket.close(DisconnectReason::TransportClose);
        return None;
    }
    if let Some(memory) = socket.namespace.memory() {
        memory.expect(&socket);
    }
    Some(socket)
}

/// Tells a client that it cannot join: an object in either revision. `result` is how it is counted.
fn refuse(client: &Client, name: &str, message: &str, result: &'static str) {
    client.connection.span.in_scope(|| log!(debug, message = %message, "CONNECT refused"));
    client.server.meters.refused_connect(result);
    client.reply(&encode_simple(b'4', name, &ConnectError::new(message).to_json(ProtocolVersion::V4)));
}

/// Clients of Engine.IO 3 do not ask to join the default namespace: a session of theirs does so as it begins.
pub(crate) fn admit_implicitly(client: &Arc<Client>, cx: &mut Context<'_>) {
    if client.connection.wire_format.protocol == ProtocolVersion::V3 {
        // The first of a new session's namespaces breaks no rule.
        let _ = admit(client, "/", Bytes::new(), cx);
    }
}

/// Asks the namespace's services, and does what they answer.
async fn decide(socket: Arc<Socket>, auth: Bytes, watch: ConnectWatch) {
    let client = socket.client.clone();
    let name = socket.namespace.name();
    let Some(mut request) = connect_request(&client.connection.request, name, auth, socket.clone().into()) else {
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
        client.server.count_panic();
        log!(error, namespace = %name, "on_connect or a layer of its namespace panicked");
        Some((None, ConnectError::new("Internal Server Error")))
    });
    settle(&socket, refusal, watch);
}

/// Tells a client what the services of the namespace have decided: to let it in, unless there is a refusal.
fn settle(socket: &Arc<Socket>, refusal: Option<(Option<StatusCode>, ConnectError)>, watch: ConnectWatch) {
    let (client, name) = (&socket.client, socket.namespace.name());
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
    client.reply(&encode_simple(b'4', name, &error.to_json(client.connection.wire_format.protocol)));
    socket.close(DisconnectReason::ServerNamespaceDisconnect);
    client.forget_socket(socket, true);
    // If it was disconnected before, `on_connect` has been reached with those of its request.
    socket.drop_extensions();
}
