//! Admission: from a CONNECT packet to an accepted or rejected socket.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::StatusCode;

use crate::{
    engine::ProtocolVersion,
    observe::ConnectWatch,
    packet::{DecodeError, encode_simple},
    util::{BoxFuture, log},
};

use super::{
    claimed::Claimed,
    connect_error::{ConnectError, Refusal},
    journal::Claim,
    namespace_request::NamespaceRequest,
    namespaces::Lookup,
    reason::DisconnectReason,
    recovery_session::RecoverySession,
    socket::EMPTY_AUTH,
    socket_table::JoinError,
    state::{Client, NamespaceState, Socket},
};

/// The message for clients that ask for a namespace that does not exist, as in Node.
const UNKNOWN_NAMESPACE: &str = "Invalid namespace";

/// Handles a CONNECT. Socket.IO protocol 5, section "Connection to a namespace".
///
/// The services of the namespace are polled here once. If they are pending, they continue in a task that ends with the
/// connection.
pub(super) fn admit(client: &Arc<Client>, name: &str, auth: Bytes, cx: &mut Context<'_>) -> Result<(), DecodeError> {
    // A missing payload means an empty object.
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
    let lookup = server.announce(server.namespaces.acquire(name, || client.may_join_dynamic()));
    let claim = lookup.namespace().and_then(|namespace| namespace.claim_of(client, &auth));
    if claim.is_none() && !matches!(lookup, Lookup::NeedsAsync(_)) {
        join(client, name, lookup, auth, None, cx);
        return Ok(());
    }
    let is_dynamic = lookup.namespace().is_none_or(|namespace| namespace.is_dynamic());
    client.reserve(name, auth.len(), is_dynamic);
    let task = Box::pin(join_later(client.clone(), name.into(), lookup, auth, claim));
    if let Some(task) = client.poll_or_spawn(cx, task) {
        client.attach_lookup(name, task);
    }
    Ok(())
}

/// Continues an admission after an asynchronous predicate has decided, and after the session of a returning client has been read from
/// the journal of the cluster.
async fn join_later(client: Arc<Client>, name: Box<str>, mut lookup: Lookup, auth: Bytes, mut claim: Option<Claim>) {
    if let Lookup::NeedsAsync(place) = lookup {
        let request = NamespaceRequest::new(&client.connection, &name, &auth);
        lookup = client.server.announce(client.server.namespaces.find_async(place, &request).await);
        claim = lookup.namespace().and_then(|namespace| namespace.claim_of(&client, &auth));
    }
    let mut claimed = None;
    if let (Some(namespace), Some(claim)) = (lookup.namespace(), claim) {
        // If the connection ends meanwhile, no socket releases the namespace.
        let acquired = Acquired(Some(namespace.clone()));
        claimed = namespace.claim(claim).await;
        acquired.keep();
    }
    let mut lookup = Some(lookup);
    poll_fn(|cx| {
        if let Some(lookup) = lookup.take() {
            join(&client, &name, lookup, auth.clone(), claimed.take(), cx);
        }
        Poll::Ready(())
    })
    .await;
}

/// A namespace that has been acquired for a socket. It is released when this is dropped.
struct Acquired(Option<Arc<NamespaceState>>);

impl Acquired {
    /// The socket releases the namespace.
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Acquired {
    fn drop(&mut self) {
        if let Some(namespace) = self.0.take()
            && let Some(server) = namespace.server.upgrade()
        {
            server.namespaces.release(&namespace);
        }
    }
}

/// Continues the admission when the namespace has been looked up.
fn join(
    client: &Arc<Client>,
    name: &str,
    lookup: Lookup,
    auth: Bytes,
    claimed: Option<Arc<Claimed>>,
    cx: &mut Context<'_>,
) {
    let created = create_socket(client, name, lookup, &auth, claimed);
    // The socket, if any, has replaced the reservation.
    client.unreserve(name);
    let Some(socket) = created else {
        return;
    };
    let watch = ConnectWatch::start(&socket.scope());
    let decide = || watch.in_scope(|| socket.namespace.application().connect(&socket, auth));
    match client.server.catch_panic(decide) {
        Some(Some(decision)) => {
            let admission = Admission { decision, socket: socket.clone(), watch: watch.clone() };
            if let Some(task) = client.poll_or_spawn(cx, watch.instrument(admission)) {
                client.attach_admission(&socket, task);
            }
        }
        Some(None) => watch.in_scope(|| finish(&socket, None, watch.clone())),
        None => watch.in_scope(|| finish(&socket, Some(Refusal::panicked()), watch.clone())),
    }
}

/// Waits for the decision of the namespace's services and applies it.
struct Admission {
    decision: BoxFuture<Result<(), Refusal>>,
    socket: Arc<Socket>,
    watch: ConnectWatch,
}

impl Future for Admission {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let decision = ready!(self.decision.as_mut().poll(cx));
        finish(&self.socket, decision.err(), self.watch.clone());
        Poll::Ready(())
    }
}

/// Creates the socket, or rejects the client if the lookup found no namespace.
fn create_socket(
    client: &Arc<Client>,
    name: &str,
    lookup: Lookup,
    auth: &[u8],
    claimed: Option<Arc<Claimed>>,
) -> Option<Arc<Socket>> {
    let namespace = match lookup {
        Lookup::Found(namespace) | Lookup::Created(namespace) => namespace,
        Lookup::Unknown | Lookup::NeedsAsync(_) => {
            refuse(client, name, UNKNOWN_NAMESPACE, "unknown_namespace");
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
    let is_v4 = client.connection.wire_format.protocol == ProtocolVersion::V4;
    let session = match &namespace.memory {
        _ if !is_v4 => None,
        Some(memory) => Some(RecoverySession::new(memory.claim(auth))),
        None => namespace.journal.is_some().then(|| RecoverySession::with_journal(claimed)),
    };
    let socket = Socket::new(client.clone(), namespace, auth, session);
    if client.add_socket(socket.clone(), auth.len()).is_err() {
        socket.close(DisconnectReason::TransportClose);
        return None;
    }
    if let Some(memory) = &socket.namespace.memory {
        memory.expect(&socket);
    }
    socket.register_session();
    Some(socket)
}

/// Rejects a CONNECT for which there is no socket. The payload is an object in both revisions. `result` is a label for metrics.
fn refuse(client: &Client, name: &str, message: &str, result: &'static str) {
    client.connection.span.in_scope(|| log!(debug, message = %message, "CONNECT refused"));
    client.server.meters.refused_connect(result);
    client.reply(&encode_simple(b'4', name, &ConnectError::new(message).to_json(ProtocolVersion::V4)));
}

/// Joins the default namespace for a client of Engine.IO 3. Such clients send no CONNECT for it.
pub(super) fn admit_implicitly(client: &Arc<Client>, cx: &mut Context<'_>) {
    if client.connection.wire_format.protocol == ProtocolVersion::V3 {
        // Cannot fail: the session is new.
        let _ = admit(client, "/", Bytes::new(), cx);
    }
}

/// Applies the decision of the namespace's services. `None` accepts the client.
fn finish(socket: &Arc<Socket>, refusal: Option<Refusal>, watch: ConnectWatch) {
    let (client, name) = (&socket.client, socket.namespace.name());
    let error = if let Some(Refusal { status, error }) = refusal {
        watch.refused(status.as_ref().map_or("panic", StatusCode::as_str));
        error
    } else if !socket.has_entered() {
        log!(warn, namespace = %name, "a layer returned a success response to CONNECT without calling the inner service");
        watch.refused("not_handed_on");
        ConnectError::new("the connection was not handed on")
    } else if socket.accept() {
        return watch.accepted();
    } else {
        watch.refused("disconnected");
        ConnectError::new("disconnected by the server")
    };
    let error = if socket.namespace.is_removed() { ConnectError::new(UNKNOWN_NAMESPACE) } else { error };
    log!(debug, namespace = %name, message = %error.message, "CONNECT refused");
    client.reply(&encode_simple(b'4', name, &error.to_json(client.connection.wire_format.protocol)));
    socket.close(DisconnectReason::ServerNamespaceDisconnect);
    client.forget_socket(socket, true);
    // If the socket was disconnected before `on_connect` was reached, the request's extensions were stored after that.
    socket.drop_extensions();
}
