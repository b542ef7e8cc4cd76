use std::{panic::AssertUnwindSafe, sync::Arc, task::Context};

use axum::extract::MatchedPath;
use bytes::Bytes;
use futures_util::FutureExt;
use http::StatusCode;
use tower::ServiceExt;

use crate::{
    engine::Direct,
    event::{EventRoute, Events, FailureCause, Listeners, listeners_of, run_detached},
    packet::Encoded,
    server::{Application, ConnectError, DisconnectReason, Event, Refusal, Socket},
    util::{BoxFuture, Chain, log},
};

use super::{
    connect_request::{connect_extensions, connect_request},
    connect_route::ConnectRoute,
    refusal::read_response,
};

/// The layers and handlers of a namespace.
pub(super) struct Handlers {
    pub(super) connect: ConnectRoute,
    /// `on_connect` without layers.
    pub(super) on_connect: ConnectRoute,
    pub(super) events: Events,
    pub(super) disconnecting: Option<EventRoute>,
    pub(super) disconnect: Option<EventRoute>,
}

impl Application for Handlers {
    fn connect(&self, socket: &Arc<Socket>, auth: Bytes) -> Option<BoxFuture<Result<(), Refusal>>> {
        if self.connect.accepts_all() {
            enter_without_layers(socket);
            return None;
        }
        let recovery = &socket.namespace.settings.recovery;
        // A session from the journal of a cluster has no extensions, which the layers have to set.
        let is_known = socket.is_recovered() && socket.session.as_ref().is_some_and(|session| session.has_extensions());
        let skip_layers = is_known && recovery.as_ref().is_some_and(|recovery| recovery.skip_layers);
        let route = if skip_layers { &self.on_connect } else { &self.connect };
        Some(Box::pin(ask_services(route.clone(), socket.clone(), auth, skip_layers)))
    }

    fn event(
        &self,
        socket: &Arc<Socket>,
        event: Event,
        direct: &mut Direct<'_>,
        cx: &mut Context<'_>,
    ) -> Option<BoxFuture<()>> {
        self.events.start(socket, event, direct, cx)
    }

    fn outgoing(&self, socket: &Socket, packet: &Encoded) {
        if let Some(listeners) = listeners_of(socket) {
            listeners.observe(&socket.client.server, packet);
        }
    }

    fn disconnecting(&self, socket: &Arc<Socket>, reason: DisconnectReason) {
        run_detached(socket, self.disconnecting.as_ref(), "disconnecting", reason, |_| {});
    }

    /// Runs `on_disconnect`, the last handler that can read the auth payload.
    fn disconnected(&self, socket: &Arc<Socket>, reason: DisconnectReason) {
        let listeners = listeners_of(socket).map(Listeners::take_disconnect).unwrap_or_default();
        if listeners.is_empty() {
            return run_detached(socket, self.disconnect.as_ref(), "disconnect", reason, |socket| socket.forget_auth());
        }
        let last = Arc::new(ForgetAuth(socket.clone()));
        for handler in self.disconnect.iter().chain(listeners.iter().map(|listener| &**listener)) {
            let last = last.clone();
            run_detached(socket, Some(handler), "disconnect", reason, move |_| drop(last));
        }
    }

    fn forget(&self, socket: &Socket) {
        if let Some(listeners) = listeners_of(socket) {
            listeners.clear();
        }
    }
}

/// Drops the auth payload when the last handler that may read it has ended.
struct ForgetAuth(Arc<Socket>);

impl Drop for ForgetAuth {
    fn drop(&mut self) {
        self.0.forget_auth();
    }
}

/// Accepts a socket of a namespace without layers and `on_connect`. It shares the request's extensions where possible.
fn enter_without_layers(socket: &Arc<Socket>) {
    let request = &socket.client.connection.request;
    let shares = socket.session.is_none() && request.extension::<MatchedPath>().is_none();
    socket.enter_namespace((!shares).then(|| connect_extensions(request)));
}

/// Asks the services of a namespace for a decision.
async fn ask_services(route: ConnectRoute, socket: Arc<Socket>, auth: Bytes, skip_layers: bool) -> Result<(), Refusal> {
    let name = socket.namespace.name();
    let Some(mut request) = connect_request(&socket.client.connection.request, name, auth, socket.clone().into())
    else {
        let error = ConnectError::new("the namespace name and the query are too long");
        return Err(Refusal::new(StatusCode::URI_TOO_LONG, error));
    };
    if let Some(session) = socket.session.as_ref().filter(|_| skip_layers) {
        let fresh = std::mem::replace(request.extensions_mut(), session.restored_extensions());
        request.extensions_mut().extend(fresh);
    }
    let answer = async {
        let response = route.oneshot(request).await.unwrap_or_else(|never| match never {});
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        if let Some(FailureCause(cause)) = response.extensions().get() {
            log!(error, namespace = %name, socket = %socket.id, error = %Chain(&**cause), "on_connect failed");
        }
        // Reading the body may run user code and panic too.
        Err(Refusal::new(status, read_response(response).await))
    };
    AssertUnwindSafe(answer).catch_unwind().await.unwrap_or_else(|_| {
        socket.client.server.count_panic();
        log!(error, namespace = %name, socket = %socket.id, "on_connect or a layer of its namespace panicked");
        Err(Refusal::panicked())
    })
}
