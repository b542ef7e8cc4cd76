use futures_util::future::BoxFuture;
use serde_json::Value;
use tower_socketio::{
    cluster::{ClusterAdapter, Emitter},
    room::Rooms,
};

use super::{
    node::Actor,
    operation::{Action, Operation, Scope},
    value::decode_args,
};

/// An emitter in this process.
pub struct RustEmitter(Emitter);

impl RustEmitter {
    pub fn new(adapter: impl ClusterAdapter) -> Self {
        Self(Emitter::new(adapter))
    }

    fn select(&self, scope: &Scope) -> Emitter {
        let mut target = self.0.clone().of(&scope.namespace).except(Rooms(scope.except.clone()));
        if !scope.to.is_empty() {
            target = target.to(Rooms(scope.to.clone()));
        }
        if scope.flags.volatile {
            target = target.volatile();
        }
        if let Some(compress) = scope.flags.compress {
            target = target.compress(compress);
        }
        target
    }

    fn execute(&self, Operation { scope, action }: Operation) -> Result<(), String> {
        let target = self.select(&scope);
        let result = match action {
            Action::Emit { args } => {
                let (event, args) = decode_args(&args);
                target.emit(&event, &args)
            }
            Action::Burst { event, count } => (0..count).try_for_each(|number| target.emit(&event, &number)),
            Action::Join { rooms } => target.sockets_join(Rooms(rooms)),
            Action::Leave { rooms } => target.sockets_leave(Rooms(rooms)),
            Action::Disconnect { close } => target.disconnect_sockets(close),
            Action::ServerSideEmit { args } => {
                let (event, args) = decode_args(&args);
                target.server_side_emit(&event, &args)
            }
            other => return Err(format!("an emitter cannot do {other:?}")),
        };
        result.map_err(|error| error.to_string())
    }
}

impl Actor for RustEmitter {
    fn run(&self, operation: Operation) -> BoxFuture<'_, Result<Value, String>> {
        Box::pin(std::future::ready(self.execute(operation).map(|()| Value::Null)))
    }
}
