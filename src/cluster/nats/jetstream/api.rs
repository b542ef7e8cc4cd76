use std::{pin::pin, time::Duration};

use async_nats::{Client, HeaderMap, Request, RequestErrorKind, StatusCode, Subscriber, header::NATS_MESSAGE_ID};
use bytes::Bytes;
use futures_util::future::{Either, select};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::cluster::error::{ClusterError, ClusterErrorKind};

/// Codes of errors.
const UNAVAILABLE: u16 = 10008;
const MESSAGE_NOT_FOUND: u16 = 10037;
const MESSAGE_TOO_LARGE: u16 = 10054;
const NAME_IN_USE: u16 = 10058;
const STREAM_NOT_FOUND: u16 = 10059;
const STREAM_OFFLINE: u16 = 10118;

/// Sends requests to JetStream over one connection.
#[derive(Clone)]
pub(super) struct Api {
    pub(super) client: Client,
    /// How long JetStream may take to respond.
    pub(super) timeout: Duration,
    /// Becomes `true`, or is closed, when the connection is lost.
    pub(super) lost: watch::Receiver<bool>,
}

/// Why a request has failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Nothing has the subject.
    #[error("there is no JetStream, or no such stream")]
    NoResponders,
    /// The request may have been executed.
    #[error("JetStream does not respond")]
    NoResponse,
    #[error("the message is larger than the server accepts")]
    TooLarge,
    #[error("JetStream has sent an unexpected response")]
    Unexpected(#[from] serde_json::Error),
    #[error("{description}")]
    Refused { code: u16, description: String },
}

impl Failure {
    fn has_code(&self, expected: u16) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == expected)
    }

    pub(super) fn is_not_found(&self) -> bool {
        self.has_code(STREAM_NOT_FOUND) || self.has_code(MESSAGE_NOT_FOUND)
    }

    pub(super) fn is_name_in_use(&self) -> bool {
        self.has_code(NAME_IN_USE)
    }

    pub(super) fn is_too_large(&self) -> bool {
        matches!(self, Self::TooLarge) || self.has_code(MESSAGE_TOO_LARGE)
    }

    /// Returns `true` if the server is not ready, or not reachable.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::NoResponders | Self::NoResponse)
            || self.has_code(UNAVAILABLE)
            || self.has_code(STREAM_OFFLINE)
    }
}

impl From<Failure> for ClusterError {
    fn from(failure: Failure) -> Self {
        let kind = if failure.is_passing() { ClusterErrorKind::Disconnected } else { ClusterErrorKind::Rejected };
        Self::new(kind).caused_by(failure)
    }
}

#[derive(Deserialize)]
struct Refusal {
    error: Option<Refused>,
}

#[derive(Deserialize)]
struct Refused {
    #[serde(default)]
    err_code: u16,
    #[serde(default)]
    description: String,
}

/// The response to a request without one of its own.
#[derive(Deserialize)]
pub(super) struct Done {}

impl Api {
    /// Sends a request, for example `STREAM.INFO.name`.
    pub(super) async fn request<T: DeserializeOwned>(&self, name: &str, body: &Value) -> Result<T, Failure> {
        let request = Request::new().payload(body.to_string().into());
        self.send(format!("$JS.API.{name}"), request).await
    }

    /// Publishes a message that is stored once, also if it is published again with the same id.
    pub(super) async fn publish(&self, subject: String, id: &str, payload: Bytes) -> Result<(), Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, id);
        let Done {} = self.send(subject, Request::new().payload(payload).headers(headers)).await?;
        Ok(())
    }

    async fn send<T: DeserializeOwned>(&self, subject: String, request: Request) -> Result<T, Failure> {
        let sending = self.client.send_request(subject, request.timeout(Some(self.timeout)));
        let response = self.unless_lost(sending).await?.map_err(|error| match error.kind() {
            RequestErrorKind::NoResponders => Failure::NoResponders,
            RequestErrorKind::MaxPayloadExceeded => Failure::TooLarge,
            _ => Failure::NoResponse,
        })?;
        if response.status == Some(StatusCode::NO_RESPONDERS) {
            return Err(Failure::NoResponders);
        }
        if let Refusal { error: Some(error) } = serde_json::from_slice(&response.payload)? {
            let Refused { err_code: code, description } = error;
            return Err(Failure::Refused { code, description });
        }
        Ok(serde_json::from_slice(&response.payload)?)
    }

    /// Asks for messages of a consumer, which arrive at the inbox.
    pub(super) async fn pull(&self, consumer: &str, inbox: &str, count: usize, wait: Duration) -> Result<(), Failure> {
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{consumer}");
        let body = json!({ "batch": count, "expires": nanoseconds(wait) }).to_string();
        let sent = self.client.publish_with_reply(subject, inbox.to_owned(), body.into());
        self.unless_lost(sent).await?.map_err(|_| Failure::NoResponse)
    }

    pub(super) async fn subscribe(&self, inbox: &str) -> Result<Subscriber, Failure> {
        let subscribed = self.client.subscribe(inbox.to_owned());
        self.unless_lost(subscribed).await?.map_err(|_| Failure::NoResponse)
    }

    /// Waits for a future, but not for one over a connection that is lost.
    pub(super) async fn unless_lost<T>(&self, future: impl Future<Output = T>) -> Result<T, Failure> {
        let mut lost = self.lost.clone();
        let lost = pin!(lost.wait_for(|lost| *lost));
        match select(pin!(future), lost).await {
            Either::Left((output, _)) => Ok(output),
            Either::Right(_) => Err(Failure::NoResponse),
        }
    }
}

/// A duration as JetStream writes it.
pub(super) fn nanoseconds(duration: Duration) -> u64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX).unsigned_abs()
}
