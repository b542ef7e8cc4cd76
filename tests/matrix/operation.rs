use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An operation, as `tests/cluster/node.mjs` reads it. Bytes in arguments are `{"$bytes": hex}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Operation {
    pub scope: Scope,
    #[serde(flatten)]
    pub action: Action,
}

/// The sockets that an operation is for. `@b1` among rooms stands for the id of the socket of client `b1`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Scope {
    pub namespace: String,
    /// The socket that broadcasts, and gets nothing itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    pub to: Vec<String>,
    pub except: Vec<String>,
    pub flags: Flags,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Flags {
    #[serde(default)]
    pub volatile: bool,
    #[serde(default)]
    pub local: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compress: Option<bool>,
    /// In milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
}

/// `args` begin with the name of the event.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "camelCase")]
pub enum Action {
    Emit {
        args: Value,
    },
    /// Emits the numbers below `count`.
    Burst {
        event: String,
        count: u32,
    },
    Ask {
        args: Value,
    },
    Join {
        rooms: Vec<String>,
    },
    Leave {
        rooms: Vec<String>,
    },
    Disconnect {
        close: bool,
    },
    Fetch,
    RemoteEmit {
        socket: String,
        args: Value,
    },
    RemoteAsk {
        socket: String,
        args: Value,
    },
    RemoteJoin {
        socket: String,
        rooms: Vec<String>,
    },
    RemoteLeave {
        socket: String,
        room: String,
    },
    RemoteDisconnect {
        socket: String,
        close: bool,
    },
    ServerSideEmit {
        args: Value,
    },
    ServerSideAsk {
        args: Value,
    },
    NodeCount,
    /// Returns the arguments of the server-side events `record` that the node has received.
    Received,
    /// Waits until the node has no sockets in the namespace.
    Idle,
}

/// A longer timeout than any test takes.
const LONG: u64 = 45_000;

pub fn all() -> Scope {
    Scope { namespace: "/".to_owned(), ..Scope::default() }
}

/// Sockets in at least one of the rooms.
pub fn to<const N: usize>(rooms: [&str; N]) -> Scope {
    all().to(rooms)
}

/// A broadcast of a client's socket.
pub fn from(client: &str) -> Scope {
    Scope { from: Some(client.to_owned()), ..all() }
}

fn strings<const N: usize>(rooms: [&str; N]) -> Vec<String> {
    rooms.map(str::to_owned).to_vec()
}

impl Scope {
    pub fn of(self, namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), ..self }
    }

    pub fn to<const N: usize>(self, rooms: [&str; N]) -> Self {
        Self { to: strings(rooms), ..self }
    }

    pub fn except<const N: usize>(self, rooms: [&str; N]) -> Self {
        Self { except: strings(rooms), ..self }
    }

    pub fn volatile(mut self) -> Self {
        self.flags.volatile = true;
        self
    }

    pub fn local(mut self) -> Self {
        self.flags.local = true;
        self
    }

    pub fn compress(mut self, compress: bool) -> Self {
        self.flags.compress = Some(compress);
        self
    }

    pub fn timeout(mut self, milliseconds: u64) -> Self {
        self.flags.timeout = Some(milliseconds);
        self
    }

    pub fn run(self, action: Action) -> Operation {
        Operation { scope: self, action }
    }

    pub fn emit(self, args: Value) -> Operation {
        self.run(Action::Emit { args })
    }

    pub fn burst(self, event: &str, count: u32) -> Operation {
        self.run(Action::Burst { event: event.to_owned(), count })
    }

    pub fn ask(self, args: Value) -> Operation {
        self.patient().run(Action::Ask { args })
    }

    pub fn join<const N: usize>(self, rooms: [&str; N]) -> Operation {
        self.run(Action::Join { rooms: strings(rooms) })
    }

    pub fn leave<const N: usize>(self, rooms: [&str; N]) -> Operation {
        self.run(Action::Leave { rooms: strings(rooms) })
    }

    pub fn disconnect(self, close: bool) -> Operation {
        self.run(Action::Disconnect { close })
    }

    pub fn fetch(self) -> Operation {
        self.run(Action::Fetch)
    }

    pub fn remote_emit(self, client: &str, args: Value) -> Operation {
        self.run(Action::RemoteEmit { socket: client.to_owned(), args })
    }

    pub fn remote_ask(self, client: &str, args: Value) -> Operation {
        self.patient().run(Action::RemoteAsk { socket: client.to_owned(), args })
    }

    pub fn remote_join<const N: usize>(self, client: &str, rooms: [&str; N]) -> Operation {
        self.run(Action::RemoteJoin { socket: client.to_owned(), rooms: strings(rooms) })
    }

    pub fn remote_leave(self, client: &str, room: &str) -> Operation {
        self.run(Action::RemoteLeave { socket: client.to_owned(), room: room.to_owned() })
    }

    pub fn remote_disconnect(self, client: &str, close: bool) -> Operation {
        self.run(Action::RemoteDisconnect { socket: client.to_owned(), close })
    }

    pub fn server_side_emit(self, args: Value) -> Operation {
        self.run(Action::ServerSideEmit { args })
    }

    pub fn server_side_ask(self, args: Value) -> Operation {
        self.run(Action::ServerSideAsk { args })
    }

    pub fn node_count(self) -> Operation {
        self.run(Action::NodeCount)
    }

    fn patient(mut self) -> Self {
        self.flags.timeout.get_or_insert(LONG);
        self
    }
}

impl Operation {
    /// Replaces `@b1` by the id of that client's socket.
    pub fn resolve(&self, ids: &HashMap<String, String>) -> Self {
        let json = serde_json::to_value(self).expect("operations are JSON");
        serde_json::from_value(replace(json, ids)).expect("a replaced string is a string")
    }

    /// Whether a program without a server can do this.
    pub fn suits_emitters(&self) -> bool {
        let action = matches!(
            self.action,
            Action::Emit { .. }
                | Action::Burst { .. }
                | Action::Join { .. }
                | Action::Leave { .. }
                | Action::Disconnect { .. }
                | Action::ServerSideEmit { .. }
        );
        action && self.scope.from.is_none() && !self.scope.flags.local
    }
}

/// Replaces each string that is a key of the table.
pub fn replace(value: Value, table: &HashMap<String, String>) -> Value {
    match value {
        Value::String(text) => Value::String(table.get(&text).cloned().unwrap_or(text)),
        Value::Array(values) => values.into_iter().map(|value| replace(value, table)).collect(),
        Value::Object(map) => map.into_iter().map(|(key, value)| (key, replace(value, table))).collect(),
        other => other,
    }
}
