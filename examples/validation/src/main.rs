//! Arguments that are validated by garde or by validator: `cargo run -p example-validation [-- ADDRESS]`.
//!
//! A client whose arguments are not valid gets the ack
//! `{ error: { message: "invalid arguments", data: { field: [text, ..] } } }`.

mod with_garde;
mod with_validator;

use std::{collections::BTreeMap, fmt};

use axum::{Json, http::StatusCode};
use garde::Validate;
use serde::Deserialize;
use tower_socketio::{
    Ack, EventError, Namespace, SocketIoConfig, SocketIoLayer,
    event::{EventResponse, IntoEventResponse},
    extract::rejection::DataRejection,
};

/// Why arguments are rejected.
#[derive(Debug)]
pub(crate) enum InvalidArguments {
    /// They do not match the type. [`SocketIoConfig::argument_error`] decides what the client gets.
    Type(DataRejection),
    /// They violate rules. Contains the texts of each field.
    Rules(BTreeMap<String, Vec<String>>),
}

/// The text for the log and for `on_rejection`.
impl fmt::Display for InvalidArguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type(rejection) => rejection.fmt(f),
            Self::Rules(fields) => write!(f, "invalid arguments: {fields:?}"),
        }
    }
}

/// The response for the client.
impl IntoEventResponse for InvalidArguments {
    fn into_event_response(self) -> EventResponse {
        match self {
            Self::Type(rejection) => rejection.into_event_response(),
            Self::Rules(fields) => EventError::new("invalid arguments").data(serde_json::json!(fields)).into(),
        }
    }
}

#[derive(Deserialize, garde::Validate)]
pub(crate) struct SignUp {
    #[garde(length(chars, min = 1, max = 24))]
    name: String,
    #[garde(range(min = 18))]
    age: u8,
}

async fn sign_up(with_garde::Valid(new): with_garde::Valid<SignUp>) -> Ack<String> {
    Ack(format!("{}, {}", new.name, new.age))
}

#[derive(Deserialize, validator::Validate)]
pub(crate) struct Order {
    #[validate(length(min = 1, message = "an order has at least one article"))]
    articles: Vec<u32>,
    #[validate(range(min = 1, max = 10, message = "1 to 10"))]
    count: u8,
}

async fn order(with_validator::Valid(order): with_validator::Valid<Order>) -> Ack<usize> {
    Ack(order.articles.len() * usize::from(order.count))
}

/// The payload of CONNECT is validated like the body of any axum handler. Extractors for axum work, too.
#[derive(Deserialize, garde::Validate)]
struct Auth {
    #[garde(ascii, length(equal = 8))]
    token: String,
}

async fn joined(Json(auth): Json<Auth>) -> Result<(), (StatusCode, String)> {
    auth.validate().map_err(|report| (StatusCode::UNPROCESSABLE_ENTITY, report.to_string()))?;
    println!("a client with the token {}", auth.token);
    Ok(())
}

fn config() -> SocketIoConfig {
    let namespace = Namespace::new().on_connect(joined).on("sign up", sign_up).on("order", order);
    SocketIoConfig::new()
        .namespace("/", namespace)
        .argument_error(|rejected| EventError::new("malformed arguments").data(rejected.event()))
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:3000".into());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, axum::Router::new().layer(SocketIoLayer::new(config()))).await
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tower_socketio::{
        SocketIoLayer,
        test::{TestClient, TestError},
    };

    use super::config;

    async fn answers(event: &str, args: Value) -> Result<Value, TestError> {
        let io = SocketIoLayer::new(config()).io();
        let client = TestClient::builder(&io).auth(json!({ "token": "12345678" })).connect().await?;
        client.emit_with_ack(event, &args).await
    }

    #[tokio::test]
    async fn garde_validates_arguments() -> Result<(), TestError> {
        assert_eq!(answers("sign up", json!({ "name": "Ada", "age": 36 })).await?, "Ada, 36");
        let error = answers("sign up", json!({ "name": "", "age": 17 })).await?;
        let fields = json!({ "name": ["length is lower than 1"], "age": ["lower than 18"] });
        assert_eq!(error, json!({ "error": { "message": "invalid arguments", "data": fields } }));
        Ok(())
    }

    #[tokio::test]
    async fn validator_validates_arguments() -> Result<(), TestError> {
        assert_eq!(answers("order", json!({ "articles": [1, 2], "count": 3 })).await?, 6);
        let error = answers("order", json!({ "articles": [], "count": 11 })).await?;
        let fields = json!({ "articles": ["an order has at least one article"], "count": ["1 to 10"] });
        assert_eq!(error, json!({ "error": { "message": "invalid arguments", "data": fields } }));
        Ok(())
    }

    #[tokio::test]
    async fn the_text_of_serde_is_not_sent() -> Result<(), TestError> {
        for event in ["sign up", "order"] {
            let error = answers(event, json!({ "name": 7 })).await?;
            assert_eq!(error, json!({ "error": { "message": "malformed arguments", "data": event } }));
        }
        Ok(())
    }

    #[tokio::test]
    async fn the_auth_payload_is_validated() {
        let io = SocketIoLayer::new(config()).io();
        let refused = TestClient::builder(&io).auth(json!({ "token": "123" })).connect().await.unwrap_err();
        assert_eq!(refused.message().trim(), "token: length is lower than 8");
    }
}
