//! Private messages between users: `cargo run -p example-private-messaging [-- ADDRESS]`, then open the address in two
//! browsers.
//!
//! A user is a session, not a socket: the client keeps a secret session id and shows it when it connects again, in as many
//! tabs as it likes. Each user has a room, which all of their sockets join. What is sent to somebody who is away is
//! delivered on their next visit. Everything is kept in memory.

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
/// How many messages are kept for a user who is away. The oldest go first.
const MAX_KEPT: usize = 100;

/// Public: other users see it and write to it.
type UserId = String;

/// Whose socket it is: put on each by [`joined`].
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
    /// The others have been told that they are online. Two tabs that are closed at once are one departure.
    announced: bool,
    /// What was sent while they were away.
    kept: VecDeque<Message>,
}

/// The users, and the sessions by which they are known.
#[derive(Clone, Default)]
struct Users(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    /// From the secret session id to the public user id.
    sessions: HashMap<String, UserId>,
    users: BTreeMap<UserId, User>,
}

impl Users {
    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a client shows when it connects: the session that it was given, or a name if it is new.
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

/// A line in the list of users.
#[derive(Serialize)]
struct Entry {
    user: UserId,
    name: String,
    online: bool,
}

type Refusal = (StatusCode, &'static str);

impl Table {
    /// The user of a session; a new one if there is no such session.
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

/// The room of all sockets of a user.
fn room(user: &str) -> String {
    format!("user:{user}")
}

fn is_online(io: &SocketIo, user: &str) -> bool {
    !io.to(room(user)).sockets().is_empty()
}

async fn joined(socket: SocketRef, State(users): State<Users>, Json(auth): Json<Auth>) -> Result<(), Refusal> {
    let io = socket.io();
    // Held to the end, so that a message is either kept before this socket is there, or sent to it.
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
    // All of this waits until the client has been told that it is connected.
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

/// Answers whether the message has been delivered; if not, it is kept.
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
    // Every socket of the recipient's, and every other one of the sender's.
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
