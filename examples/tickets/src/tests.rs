use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode, header},
};
use http_body_util::BodyExt;
use rusqlite::Connection;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_socketio::{
    SocketIo,
    test::{TestClient, TestError},
};

use crate::{
    db::{Db, migrate},
    routes::app,
    tickets::{Reply, Ticket},
    users,
};

/// An application with an empty database.
struct Server {
    app: Router,
    io: SocketIo,
    db: Db,
}

impl Server {
    fn new() -> Self {
        let db = Db::open(":memory:").unwrap();
        let (app, io) = app(db.clone());
        Self { app, io, db }
    }

    /// Creates a user and returns the token.
    async fn user(&self, name: &'static str, is_agent: bool) -> String {
        self.db.run(move |connection| users::invite(connection, name, is_agent)).await.unwrap()
    }

    async fn connect(&self, namespace: &str, token: &str) -> Result<TestClient, TestError> {
        TestClient::builder(&self.io).namespace(namespace).auth(json!({ "token": token })).connect().await
    }

    /// Sends a request to a route. Returns the status and the JSON, or null if there is none.
    async fn request(&self, method: &str, token: &str, body: Value) -> (StatusCode, Value) {
        let request = Request::builder()
            .method(method)
            .uri("/tickets")
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        let response = self.app.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    async fn open(&self, token: &str, title: &str) -> Ticket {
        let (status, ticket) = self.request("POST", token, json!({ "title": title })).await;
        assert_eq!(status, StatusCode::CREATED);
        from(ticket)
    }
}

fn from<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

#[tokio::test]
async fn tickets_are_visible_to_their_authors_and_to_agents() {
    let server = Server::new();
    let (ada, bob, grace) =
        (server.user("Ada", false).await, server.user("Bob", false).await, server.user("Grace", true).await);
    let ticket = server.open(&ada, "the printer is on fire").await;
    for (token, visible) in [(&ada, vec![ticket.clone()]), (&bob, vec![]), (&grace, vec![ticket])] {
        let (status, list) = server.request("GET", token, Value::Null).await;
        assert_eq!((status, from::<Vec<Ticket>>(list)), (StatusCode::OK, visible));
    }
    assert_eq!(server.request("GET", "unknown", Value::Null).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(server.request("POST", &ada, json!({ "title": " " })).await.0, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_token_is_required_and_the_desk_is_for_agents() {
    let server = Server::new();
    let ada = server.user("Ada", false).await;
    let refused = server.connect("/tickets", "unknown").await.unwrap_err();
    assert_eq!(refused.message(), "unknown token");
    let refused = server.connect("/desk", &ada).await.unwrap_err();
    assert_eq!(refused.message(), "for agents only");
}

#[tokio::test]
async fn replies_reach_those_who_watch_the_ticket() -> Result<(), TestError> {
    let server = Server::new();
    let (ada, bob, grace) =
        (server.user("Ada", false).await, server.user("Bob", false).await, server.user("Grace", true).await);
    let ticket = server.open(&ada, "the printer is on fire").await;
    let mut customer = server.connect("/tickets", &ada).await?;
    let agent = server.connect("/tickets", &grace).await?;
    let other = server.connect("/tickets", &bob).await?;
    assert_eq!(customer.emit_with_ack::<Vec<Reply>>("watch", &ticket.id).await?, []);

    let reply: Reply = agent.emit_with_ack("reply", &(ticket.id, "which color?")).await?;
    assert_eq!((&*reply.author, &*reply.text), ("Grace", "which color?"));
    assert_eq!(customer.next::<Reply>("reply").await, reply);
    assert_eq!(agent.emit_with_ack::<Vec<Reply>>("watch", &ticket.id).await?, [reply]);

    // Other customers get the same error for this ticket as for one that does not exist.
    for id in [ticket.id, 99] {
        let error: Value = other.emit_with_ack("watch", &id).await?;
        assert_eq!(error, json!({ "error": { "message": "there is no such ticket", "data": 404 } }));
    }
    Ok(())
}

#[tokio::test]
async fn agents_see_new_tickets_and_close_them() -> Result<(), TestError> {
    let server = Server::new();
    let (ada, grace) = (server.user("Ada", false).await, server.user("Grace", true).await);
    let mut customer = server.connect("/tickets", &ada).await?;
    let mut agent = server.connect("/desk", &grace).await?;
    assert_eq!(agent.next::<Vec<Ticket>>("tickets").await, []);
    assert_eq!(agent.next::<Vec<String>>("agents").await, ["Grace"]);

    let ticket = server.open(&ada, "the printer is on fire").await;
    assert_eq!(agent.next::<Ticket>("opened").await, ticket);
    let closed: Ticket = agent.emit_with_ack("close", &ticket.id).await?;
    assert!(closed.is_closed);
    assert_eq!(agent.next::<Ticket>("closed").await, closed);
    assert_eq!(customer.next::<Ticket>("closed").await, closed);

    let error: Value = customer.emit_with_ack("reply", &(ticket.id, "thanks")).await?;
    assert_eq!(error, json!({ "error": { "message": "the ticket is closed", "data": 422 } }));
    Ok(())
}

#[tokio::test]
async fn agents_see_who_is_present() -> Result<(), TestError> {
    let server = Server::new();
    let (grace, alan) = (server.user("Grace", true).await, server.user("Alan", true).await);
    let mut first = server.connect("/desk", &grace).await?;
    assert_eq!(first.wait_for::<Vec<String>>("agents").await, ["Grace"]);
    let second = server.connect("/desk", &alan).await?;
    assert_eq!(first.next::<Vec<String>>("agents").await, ["Alan", "Grace"]);
    second.lose_connection().await;
    assert_eq!(first.next::<Vec<String>>("agents").await, ["Grace"]);
    Ok(())
}

#[test]
fn a_database_of_the_first_version_is_migrated() {
    let mut connection = Connection::open_in_memory().unwrap();
    migrate(&mut connection, 1).unwrap();
    users::invite(&connection, "Ada", false).unwrap();
    connection.execute("INSERT INTO tickets (author, title) VALUES (1, 'old')", []).unwrap();
    migrate(&mut connection, 2).unwrap();
    let is_closed: bool = connection.query_row("SELECT is_closed FROM tickets", [], |row| row.get(0)).unwrap();
    assert!(!is_closed);
    migrate(&mut connection, 2).unwrap(); // changes nothing
}
