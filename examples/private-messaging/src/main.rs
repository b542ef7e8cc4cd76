//! Private messages between users: `cargo run -p example-private-messaging [-- ADDRESS]`, then open the address in two
//! browsers.
//!
//! A user has a session, and may have several sockets: the client stores a secret session id, and sends it when it connects,
//! from any number of tabs. All sockets of a user join a room. Messages for a user who is offline are delivered on the next
//! visit. Everything is stored in memory.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use axum::{Json, Router, extract::State, http::StatusCode, response::Html, routing::get};
use serde::{Deserialize, Serialize};
use tower_socketio::{Ack, EventError, Namespace, SocketIo, SocketIoConfig, SocketIoLayer, SocketRef, extract::Data};

const MAX_USERS: usize = 10_000;
const MAX_NAME: usize = 24;
const MAX_TEXT: usize = 2_000;
/// The maximum number of messages that are stored for an offline user. The oldest are dropped first.
const MAX_KEPT: usize = 100;

/// The public id of a user, to which others send messages.
type UserId = String;

/// The user of a socket. [`joined`] sets it.
#[derive(Clone)]
struct Owner(UserId);

#[derive(Clone, Serialize)]
struct Message {
    from: UserId,
    to: UserId,
    text: String,
}

#[derive(Default)]
struct User {
    name: String,
    /// Whether the others have been notified that the user is online. Prevents two notifications when two tabs are closed.
    announced: bool,
    /// The messages that arrived while the user was offline.
    kept: VecDeque<Message>,
}

/// The users and their sessions.
#[derive(Clone, Default)]
struct Users(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    /// User ids by secret session id.
    sessions: HashMap<String, UserId>,
    users: BTreeMap<UserId, User>,
}

impl Users {
    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The auth payload: the session id, or a name if the user is new.
#[derive(Deserialize)]
struct Auth {
    session: Option<String>,
    name: Option<String>,
}

#[derive(Serialize)]
struct Session {
    session: String,
    user: UserId,
    name: String,
}

/// An entry in the list of users.
#[derive(Serialize)]
struct Entry {
    user: UserId,
    name: String,
    online: bool,
}

type Refusal = (StatusCode, &'static str);

impl Table {
    /// Returns the user of a session. Creates a user if the session does not exist.
    fn log_in(&mut self, auth: Auth) -> Result<Session, Refusal> {
        if let Some(session) = auth.session
            && let Some(user) = self.sessions.get(&session)
        {
            let (user, name) = (user.clone(), self.users[user].name.clone());
            return Ok(Session { session, user, name });
        }
        let name = auth.name.unwrap_or_default().trim().to_owned();
        if name.is_empty() || name.chars().count() > MAX_NAME {
            return Err((StatusCode::UNAUTHORIZED, "choose a name of 1 to 24 characters"));
        }
        if self.users.len() >= MAX_USERS {
            return Err((StatusCode::SERVICE_UNAVAILABLE, "there are too many users"));
        }
        let (session, user) = (random_id(), random_id());
        self.sessions.insert(session.clone(), user.clone());
        self.users.insert(user.clone(), User { name: name.clone(), ..User::default() });
        Ok(Session { session, user, name })
    }
}

fn random_id() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system has random numbers");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the room of a user's sockets.
fn room(user: &str) -> String {
    format!("user:{user}")
}

fn is_online(io: &SocketIo, user: &str) -> bool {
    !io.to(room(user)).sockets().is_empty()
}

async fn joined(socket: SocketRef, State(users): State<Users>, Json(auth): Json<Auth>) -> Result<(), Refusal> {
    let io = socket.io();
    // Locked until the end, so that each message is either stored before this socket joins, or sent to it.
    let mut table = users.table();
    let session = table.log_in(auth)?;
    let user = session.user.clone();
    let record = table.users.entry(user.clone()).or_default();
    if !std::mem::replace(&mut record.announced, true) {
        let entry = Entry { user: user.clone(), name: session.name.clone(), online: true };
        socket.broadcast().emit("user", &entry).ok();
    }
    let kept = std::mem::take(&mut record.kept);
    socket.extensions().insert(Owner(user.clone()));
    socket.join(room(&user));
    // These events are buffered until the client has been accepted.
    socket.emit("session", &session).ok();
    let entry = |(user, User { name, .. }): (&UserId, &User)| Entry {
        user: user.clone(),
        name: name.clone(),
        online: is_online(&io, user),
    };
    socket.emit("users", &table.users.iter().map(entry).collect::<Vec<_>>()).ok();
    for message in kept {
        socket.emit("message", &message).ok();
    }
    Ok(())
}

/// Acknowledges with `true` if the message has been delivered, and with `false` if it has been stored.
async fn message(
    socket: SocketRef,
    State(users): State<Users>,
    Data((to, text)): Data<(UserId, String)>,
) -> Result<Ack<bool>, EventError> {
    let Some(Owner(from)) = socket.extensions().get() else {
        return Err(EventError::new("who are you?"));
    };
    if text.is_empty() || text.len() > MAX_TEXT {
        return Err(EventError::new("a message has 1 to 2000 bytes"));
    }
    let mut table = users.table();
    let recipient = table.users.get_mut(&to).ok_or(EventError::new("there is no such user"))?;
    let delivered = is_online(&socket.io(), &to);
    let message = Message { from: from.clone(), to: to.clone(), text };
    // All sockets of the recipient, and the other sockets of the sender.
    socket.to([room(&to), room(&from)]).emit("message", &message)?;
    if !delivered {
        recipient.kept.push_back(message);
        if recipient.kept.len() > MAX_KEPT {
            recipient.kept.pop_front();
        }
    }
    Ok(Ack(delivered))
}

async fn left(socket: SocketRef, io: SocketIo, State(users): State<Users>) {
    let Some(Owner(user)) = socket.extensions().get() else { return };
    let mut table = users.table();
    let Some(record) = table.users.get_mut(&user) else { return };
    if !is_online(&io, &user) && std::mem::take(&mut record.announced) {
        let name = record.name.clone();
        socket.broadcast().emit("user", &Entry { user, name, online: false }).ok();
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let namespace =
        Namespace::new().on_connect(joined).on("message", message).on_disconnect(left).with_state(Users::default());
    let layer = SocketIoLayer::new(SocketIoConfig::new().namespace("/", namespace));
    let app = Router::new().route("/", get(|| async { Html(include_str!("../index.html")) })).layer(layer);

    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:3000".into());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await
}
