use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use async_nats::{AuthError, Client, ConnectErrorKind, ConnectOptions, Event, connection::State};

use crate::{
    cluster::{
        broker::Options,
        error::{ClusterError, ClusterErrorKind},
    },
    util::Mutex,
};

use super::config::Servers;

/// The messages of one subscription that wait for a task of ours. The client drops and reports further ones.
const SUBSCRIPTION_CAPACITY: usize = 8192;

/// A client of the driver that does not reconnect: it would send what it has queued to the next connection, after an unknown time.
pub(super) struct Connection {
    pub(super) client: Client,
    events: Arc<Events>,
}

/// What the client has reported, and its driver has not seen yet.
#[derive(Default)]
struct Events(Mutex<Pending>);

#[derive(Default)]
struct Pending {
    is_lost: bool,
    has_dropped: bool,
    rejection: Option<String>,
    waker: Option<Waker>,
}

/// What happens besides messages.
pub(super) enum Incident {
    Lost,
    /// Messages were received and dropped.
    Dropped,
    /// The server does not permit something.
    Rejected(String),
}

impl Connection {
    pub(super) async fn open(servers: &Arc<Servers>, options: &Options) -> Result<Self, ClusterError> {
        let events = Arc::new(Events::default());
        // There is no option for a client that never reconnects. This one gives up because its credentials are withheld.
        let may_connect = Arc::new(AtomicBool::new(true));
        let auth = {
            let (servers, may_connect) = (servers.clone(), may_connect.clone());
            move |_| {
                let allowed = may_connect.load(Ordering::Acquire).then(|| servers.auth());
                std::future::ready(allowed.ok_or_else(|| AuthError::new("the driver opens another connection")))
            }
        };
        let addresses = servers.addresses();
        let on_event = {
            let events = events.clone();
            move |event| {
                events.record(event);
                std::future::ready(())
            }
        };
        let client = ConnectOptions::with_auth_callback(auth)
            .name("tower-socketio")
            .connection_timeout(options.connect_timeout)
            .ping_interval(options.heartbeat_interval)
            .subscription_capacity(SUBSCRIPTION_CAPACITY)
            .ignore_discovered_servers()
            .max_reconnects(addresses.len())
            .reconnect_delay_callback(|_| Duration::ZERO)
            // Also for servers that the first one has named without a scheme.
            .require_tls(servers.requires_tls())
            .tls_client_config(servers.tls.clone())
            .event_callback(on_event)
            .connect(addresses)
            .await
            .map_err(failure)?;
        may_connect.store(false, Ordering::Release);
        servers.learn(&client.server_info());
        Ok(Self { client, events })
    }

    pub(super) fn poll_incident(&mut self, cx: &mut Context<'_>) -> Poll<Incident> {
        let mut pending = self.events.0.lock();
        if pending.is_lost || self.client.connection_state() != State::Connected {
            return Poll::Ready(Incident::Lost);
        }
        if let Some(rejection) = pending.rejection.take() {
            return Poll::Ready(Incident::Rejected(rejection));
        }
        if std::mem::take(&mut pending.has_dropped) {
            return Poll::Ready(Incident::Dropped);
        }
        if !pending.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            pending.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Events {
    fn record(&self, event: Event) {
        let waker = {
            let mut pending = self.0.lock();
            match event {
                Event::Disconnected | Event::Closed => pending.is_lost = true,
                Event::SlowConsumer(_) => pending.has_dropped = true,
                Event::ServerError(error) => pending.rejection = Some(error.to_string()),
                Event::Connected | Event::LameDuckMode | Event::Draining | Event::ClientError(_) => return,
            }
            pending.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

fn failure(error: async_nats::ConnectError) -> ClusterError {
    let kind = match error.kind() {
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => ClusterErrorKind::Rejected,
        _ => ClusterErrorKind::Disconnected,
    };
    ClusterError::new(kind).caused_by(error)
}
