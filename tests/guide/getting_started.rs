//! The auction of `docs/getting-started.md`, and its tests.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    Extension, Json, Router,
    extract::{Request, State},
    http::StatusCode,
    middleware::{Next, from_fn},
    response::{Html, Response},
    routing::get,
};
use serde::{Deserialize, Serialize};
use tower_socketio::{Ack, EventError, Namespace, SocketIo, SocketIoConfig, SocketIoLayer, SocketRef, extract::Data};

// The state.

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Bid {
    amount: u32,
    name: String,
}

#[derive(Clone, Default)]
struct Auction(Arc<Mutex<Bid>>);

impl Auction {
    fn highest(&self) -> Bid {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn place(&self, bid: Bid) -> Result<(), EventError> {
        let mut highest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if bid.amount <= highest.amount {
            return Err(EventError::new("the bid is too low").data(highest.amount));
        }
        *highest = bid;
        Ok(())
    }

    fn restart(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Bid::default();
    }
}

// Layers.

#[derive(Clone)]
struct User {
    name: String,
    is_admin: bool,
}

async fn find_user(token: &str) -> Option<User> {
    // asks a database
    match token {
        "token-of-ada" => Some(User { name: "Ada".into(), is_admin: true }),
        "token-of-bob" => Some(User { name: "Bob".into(), is_admin: false }),
        _ => None,
    }
}

#[derive(Deserialize)]
struct Auth {
    token: String,
}

async fn require_user(
    socket: SocketRef,
    mut request: Request,
    next: Next,
) -> Result<Response, (StatusCode, &'static str)> {
    let auth: Auth = socket.handshake().auth().map_err(|_| (StatusCode::UNAUTHORIZED, "a token is missing"))?;
    let user = find_user(&auth.token).await.ok_or((StatusCode::UNAUTHORIZED, "unknown token"))?;
    request.extensions_mut().insert(user);
    Ok(next.run(request).await)
}

async fn require_admin(
    Extension(user): Extension<User>,
    request: Request,
    next: Next,
) -> Result<Response, (StatusCode, &'static str)> {
    if !user.is_admin {
        return Err((StatusCode::FORBIDDEN, "not an admin"));
    }
    Ok(next.run(request).await)
}

// Handlers of events.

async fn joined(socket: SocketRef, State(auction): State<Auction>) {
    socket.emit("highest", &auction.highest()).ok();
}

async fn bid(
    socket: SocketRef,
    State(auction): State<Auction>,
    Extension(user): Extension<User>,
    Data(amount): Data<u32>,
) -> Result<Ack<()>, EventError> {
    let bid = Bid { amount, name: user.name };
    auction.place(bid.clone())?;
    socket.all().emit("highest", &bid)?; // this socket, too
    Ok(Ack(()))
}

async fn restart(io: SocketIo, State(auction): State<Auction>) -> Result<Ack<()>, EventError> {
    auction.restart();
    io.namespace("/auction").emit("highest", &auction.highest())?;
    Ok(Ack(()))
}

// Handlers of routes.

const PAGE: &str = r#"<!doctype html>
<title>Auction</title>
<p>The highest bid is <b id="highest"></b>.</p>
<form id="form"><input id="amount" type="number" aria-label="amount"><button>Bid</button></form>
<p id="error" role="alert"></p>
<script src="/socket.io/socket.io.min.js"></script>
<script>
  const token = new URLSearchParams(location.search).get("token");
  const socket = io("/auction", { auth: { token } });
  socket.on("highest", ({ amount, name }) => (highest.textContent = name ? `${amount} by ${name}` : "not there yet"));
  socket.on("connect_error", ({ message }) => (error.textContent = message));
  form.onsubmit = async (event) => {
    event.preventDefault();
    const answer = await socket.emitWithAck("bid", amount.valueAsNumber);
    error.textContent = answer?.error?.message ?? "";
  };
</script>"#;

async fn page() -> Html<&'static str> {
    Html(PAGE)
}

async fn highest(State(auction): State<Auction>) -> Json<Bid> {
    Json(auction.highest())
}

// The application.

fn app() -> (Router, SocketIo) {
    let auction = Auction::default();
    let bidders =
        Namespace::new().on_connect(joined).on("bid", bid).with_state(auction.clone()).layer(from_fn(require_user));
    let admins = Namespace::new()
        .on("restart", restart)
        .with_state(auction.clone())
        .layer(from_fn(require_admin)) // inner: reads the user
        .layer(from_fn(require_user)); // outer, runs first: provides the user
    let config = SocketIoConfig::new().namespace("/auction", bidders).namespace("/admin", admins);
    let layer = SocketIoLayer::new(config);
    let io = layer.io();
    let app = Router::new().route("/", get(page)).route("/highest", get(highest)).with_state(auction).layer(layer); // after the routes and the fallback
    (app, io)
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let (app, _) = app();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tower_socketio::test::{TestClient, TestError};

    use super::*;

    async fn client(io: &SocketIo, namespace: &str, token: &str) -> Result<TestClient, TestError> {
        TestClient::builder(io).namespace(namespace).auth(json!({ "token": token })).connect().await
    }

    #[tokio::test]
    async fn a_bid_reaches_the_other_bidders() -> Result<(), TestError> {
        let (_, io) = app();
        let mut ada = client(&io, "/auction", "token-of-ada").await?;
        let mut bob = client(&io, "/auction", "token-of-bob").await?;
        assert_eq!(ada.next::<Bid>("highest").await, Bid::default());
        assert_eq!(bob.next::<Bid>("highest").await, Bid::default());

        let () = bob.emit_with_ack("bid", &10).await?;
        assert_eq!(ada.next::<Bid>("highest").await, Bid { amount: 10, name: "Bob".into() });

        let error: Value = ada.emit_with_ack("bid", &10).await?;
        assert_eq!(error, json!({ "error": { "message": "the bid is too low", "data": 10 } }));
        Ok(())
    }

    #[tokio::test]
    async fn only_admins_restart_the_auction() -> Result<(), TestError> {
        let (_, io) = app();
        let refused = client(&io, "/admin", "token-of-bob").await.unwrap_err();
        assert_eq!(refused.message(), "not an admin");

        let admin = client(&io, "/admin", "token-of-ada").await?;
        let mut bob = client(&io, "/auction", "token-of-bob").await?;
        let () = bob.emit_with_ack("bid", &10).await?;
        let () = admin.emit_with_ack("restart", &()).await?;
        for amount in [0, 10, 0] {
            assert_eq!(bob.next::<Bid>("highest").await.amount, amount);
        }
        Ok(())
    }

    #[tokio::test]
    async fn an_unknown_token_is_rejected() {
        let (_, io) = app();
        let refused = client(&io, "/auction", "token-of-eve").await.unwrap_err();
        assert_eq!(refused.message(), "unknown token");
    }
}
