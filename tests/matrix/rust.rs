use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, UNIX_EPOCH},
};

use axum::Json;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};
use tower_socketio::{
    Args, Namespace, NamespaceRef, RecoveryConfig, SocketIoConfig, SocketRef,
    client::{Handshake, RemoteSocket},
    operators::BroadcastOperator,
    room::Rooms,
    server_side::ServerSideEvent,
};

use super::{
    node::{Actor, Node},
    operation::{Action, Operation, Scope},
    value::{decode_args, encode},
};
use crate::support::{TestServer, serve_config, until};

/// Server-side events by namespace.
type Received = Arc<Mutex<HashMap<String, Vec<Value>>>>;

/// A node in this process. It does what `tests/cluster/node.mjs` does.
pub struct RustNode {
    server: TestServer,
    received: Received,
}

impl RustNode {
    /// Starts a node. `adapt` adds the adapter to the configuration.
    pub async fn start(
        name: &'static str,
        recovers: bool,
        adapt: &impl AsyncFn(SocketIoConfig) -> SocketIoConfig,
    ) -> Node {
        let received = Received::default();
        let mut config = SocketIoConfig::new();
        for path in ["/", "/chat", "/dyn-{number}"] {
            config = config.namespace(path, namespace(name, received.clone()));
        }
        if recovers {
            config = config.recovery(RecoveryConfig::new());
        }
        let server = serve_config(adapt(config).await).await;
        Node { address: server.address, actor: Box::new(Self { server, received }) }
    }

    fn namespace(&self, name: &str) -> Result<NamespaceRef, String> {
        self.server.io.of(name).ok_or_else(|| format!("there is no namespace {name}"))
    }

    fn select(&self, scope: &Scope) -> Result<BroadcastOperator, String> {
        let namespace = self.namespace(&scope.namespace)?;
        let mut target = match &scope.from {
            Some(id) => namespace.socket(id).ok_or("there is no such socket")?.broadcast(),
            None => namespace.all(),
        };
        if !scope.to.is_empty() {
            target = target.to(Rooms(scope.to.clone()));
        }
        target = target.except(Rooms(scope.except.clone()));
        if scope.flags.volatile {
            target = target.volatile();
        }
        if scope.flags.local {
            target = target.local();
        }
        if let Some(compress) = scope.flags.compress {
            target = target.compress(compress);
        }
        if let Some(timeout) = scope.flags.timeout {
            target = target.timeout(Duration::from_millis(timeout));
        }
        Ok(target)
    }

    async fn remote(&self, scope: &Scope, id: &str) -> Result<RemoteSocket, String> {
        let sockets = self.namespace(&scope.namespace)?.to(id).fetch_sockets().await;
        let socket = sockets.map_err(|error| error.to_string())?.pop().ok_or("there is no such socket")?;
        Ok(match scope.flags.timeout {
            Some(timeout) => socket.timeout(Duration::from_millis(timeout)),
            None => socket,
        })
    }

    async fn execute(&self, Operation { scope, action }: Operation) -> Result<Value, String> {
        match action {
            Action::Emit { args } => {
                let (event, args) = decode_args(&args);
                self.select(&scope)?.emit(&event, &args).map_err(|error| error.to_string())?;
            }
            Action::Burst { event, count } => {
                let target = self.select(&scope)?;
                (0..count).try_for_each(|number| target.emit(&event, &number)).map_err(|error| error.to_string())?;
            }
            Action::Ask { args } => {
                let (event, args) = decode_args(&args);
                let acks = self.select(&scope)?.emit_with_ack::<tower_socketio::Value>(&event, &args);
                let acks = acks.map_err(|error| error.to_string())?.await;
                let responses = acks.answers.into_iter().map(|(_, answer)| encode(answer));
                let timed_out = acks.missing.iter().any(|(_, error)| error.is_timeout());
                return Ok(json!({ "responses": responses.collect::<Vec<_>>(), "timedOut": timed_out }));
            }
            Action::Join { rooms } => self.select(&scope)?.sockets_join(Rooms(rooms)),
            Action::Leave { rooms } => self.select(&scope)?.sockets_leave(Rooms(rooms)),
            Action::Disconnect { close } => self.select(&scope)?.disconnect_sockets(close),
            Action::Fetch => {
                let sockets = self.select(&scope)?.fetch_sockets().await.map_err(|error| error.to_string())?;
                return Ok(sockets.iter().map(describe).collect());
            }
            Action::RemoteEmit { socket, args } => {
                let (event, args) = decode_args(&args);
                self.remote(&scope, &socket).await?.emit(&event, &args).map_err(|error| error.to_string())?;
            }
            Action::RemoteAsk { socket, args } => {
                let (event, args) = decode_args(&args);
                let socket = self.remote(&scope, &socket).await?;
                return match socket.emit_with_ack::<tower_socketio::Value>(&event, &args).await {
                    Ok(answer) => Ok(json!({ "responses": [encode(answer)], "timedOut": false })),
                    Err(error) if error.is_timeout() => Ok(json!({ "responses": [], "timedOut": true })),
                    Err(error) => Err(error.to_string()),
                };
            }
            Action::RemoteJoin { socket, rooms } => self.remote(&scope, &socket).await?.join(Rooms(rooms)),
            Action::RemoteLeave { socket, room } => self.remote(&scope, &socket).await?.leave(room),
            Action::RemoteDisconnect { socket, close: false } => self.remote(&scope, &socket).await?.disconnect(),
            Action::RemoteDisconnect { socket, close: true } => self.remote(&scope, &socket).await?.disconnect_all(),
            Action::ServerSideEmit { args } => {
                let (event, args) = decode_args(&args);
                let namespace = self.namespace(&scope.namespace)?;
                namespace.server_side_emit(&event, &args).map_err(|error| error.to_string())?;
            }
            Action::ServerSideAsk { args } => {
                let (event, args) = decode_args(&args);
                let timeout = Duration::from_millis(scope.flags.timeout.unwrap_or(5_000));
                let namespace = self.namespace(&scope.namespace)?;
                let acks = namespace.server_side_emit_with_ack::<tower_socketio::Value>(&event, &args, timeout);
                let acks = acks.map_err(|error| error.to_string())?.responses().await;
                let responses: Vec<_> = acks.answers.into_iter().map(encode).collect();
                return Ok(json!({ "responses": responses, "timedOut": acks.error.is_some() }));
            }
            Action::NodeCount => {
                let adapter = self.server.io.adapter().expect("the node has an adapter");
                let peers = adapter.peers(&scope.namespace).await.map_err(|error| error.to_string())?;
                return Ok(json!(peers.count() + 1));
            }
            Action::Received => {
                return Ok(json!(self.received.lock().unwrap().get(&scope.namespace).cloned().unwrap_or_default()));
            }
            Action::Idle => {
                let sockets = || self.server.io.of(&scope.namespace).map_or(0, |namespace| namespace.socket_count());
                until(|| sockets() == 0).await;
            }
        }
        Ok(Value::Null)
    }
}

impl Actor for RustNode {
    fn run(&self, operation: Operation) -> BoxFuture<'_, Result<Value, String>> {
        Box::pin(self.execute(operation))
    }
}

#[derive(Deserialize)]
struct Auth {
    data: Value,
    rooms: Vec<String>,
}

fn namespace(name: &'static str, received: Received) -> Namespace {
    async fn connect(socket: SocketRef, Json(auth): Json<Auth>) {
        if !socket.is_recovered() {
            socket.set_data(&auth.data).unwrap();
        }
        socket.join(Rooms(auth.rooms));
    }
    let record = move |event: ServerSideEvent| {
        let args: Args = event.args().unwrap();
        let args = args.0.into_iter().map(encode).collect();
        received.lock().unwrap().entry(event.namespace().name().to_owned()).or_default().push(args);
        async {}
    };
    let ask = move |event: ServerSideEvent| async move {
        if event.args::<String>().unwrap() == name {
            std::future::pending::<()>().await;
        }
        format!("answer from {name}")
    };
    Namespace::new().on_connect(connect).on_server_side("record", record).on_server_side("ask", ask).with_state(())
}

/// A socket as Node.js has it.
fn describe(socket: &RemoteSocket) -> Value {
    let rooms: Vec<_> = socket.rooms().iter().map(|room| room.as_str()).collect();
    json!({
        "id": socket.id().as_str(),
        "rooms": rooms,
        "data": socket.data::<Value>().unwrap(),
        "handshake": describe_handshake(&socket.handshake()),
    })
}

fn describe_handshake(handshake: &Handshake<'_>) -> Value {
    let headers = handshake.headers().iter();
    let headers: Value = headers.map(|(name, value)| (name.to_string(), json!(value.to_str().unwrap()))).collect();
    let query: HashMap<_, _> = handshake.query().collect();
    let issued = handshake.time().duration_since(UNIX_EPOCH).unwrap().as_millis();
    json!({
        "address": handshake.remote_addr().map(|address| address.ip()),
        // That of a socket that has just left is not there any more.
        "auth": handshake.auth::<Value>().ok(),
        "headers": headers,
        "issued": u64::try_from(issued).unwrap(),
        "query": query,
        "secure": handshake.is_secure(),
        "time": format!("{:?}", handshake.time()),
        "url": handshake.uri().to_string(),
        "xdomain": handshake.is_cross_origin(),
    })
}
