use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cluster::wire::{WireError, nats::Subjects};

use super::{
    api::{Api, Done, Failure, nanoseconds},
    config::Limits,
};

/// After this time without a request, a consumer is deleted.
const INACTIVE: Duration = Duration::from_secs(60);

/// The streams of a cluster, over one connection.
pub(super) struct Store {
    pub(super) api: Api,
    subjects: Subjects,
    limits: Arc<Limits>,
    events: String,
    sessions: String,
}

/// What is known of a stream.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Info {
    /// The time at which it was created.
    pub(super) created: String,
    config: Config,
    pub(super) state: State,
}

#[derive(Debug, Clone, Deserialize)]
struct Config {
    #[serde(default)]
    subjects: Vec<String>,
    max_age: i64,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct State {
    #[serde(rename = "first_seq")]
    pub(super) first: u64,
    #[serde(rename = "last_seq")]
    pub(super) last: u64,
}

#[derive(Deserialize)]
struct Found {
    message: Stored,
}

/// A message of a stream.
#[derive(Deserialize)]
pub(super) struct Stored {
    #[serde(rename = "seq")]
    pub(super) sequence: u64,
    #[serde(default, rename = "hdrs")]
    headers: String,
    #[serde(default)]
    data: String,
}

impl Stored {
    pub(super) fn payload(&self) -> Result<Bytes, WireError> {
        STANDARD.decode(&self.data).map(Bytes::from).map_err(|_| WireError::Message("not base64"))
    }

    /// Returns `true` if it was published with an id.
    fn has_id(&self, id: &str) -> bool {
        let headers = STANDARD.decode(&self.headers).unwrap_or_default();
        let headers = String::from_utf8_lossy(&headers);
        headers.lines().any(|line| line.strip_prefix("Nats-Msg-Id:").is_some_and(|value| value.trim() == id))
    }
}

#[derive(Deserialize)]
struct Consumer {
    name: String,
}

impl Store {
    pub(super) fn new(api: Api, subjects: Subjects, limits: Arc<Limits>) -> Self {
        let events = subjects.stream();
        Self { api, subjects, limits, sessions: format!("{events}-sessions"), events }
    }

    /// Returns the state of the stream of events, which is created if it does not exist.
    pub(super) async fn events(&self) -> Result<Info, Failure> {
        let Limits { max_age, max_bytes, replicas } = &*self.limits;
        let subject = self.subjects.journal("*");
        let limits = json!({ "max_age": nanoseconds(*max_age), "max_bytes": max_bytes, "num_replicas": replicas });
        self.stream(&self.events, subject, limits).await
    }

    async fn stream(&self, name: &str, subject: String, mut config: Value) -> Result<Info, Failure> {
        let ask = format!("STREAM.INFO.{name}");
        let info: Info = match self.api.request(&ask, &json!({})).await {
            Err(failure) if failure.is_not_found() => {
                config["name"] = name.into();
                config["subjects"] = json!([subject]);
                for (key, value) in [("retention", "limits"), ("discard", "old"), ("storage", "file")] {
                    config[key] = value.into();
                }
                match self.api.request(&format!("STREAM.CREATE.{name}"), &config).await {
                    // Another node has created it with other limits.
                    Err(failure) if failure.is_name_in_use() => self.api.request(&ask, &json!({})).await?,
                    created => created?,
                }
            }
            info => info?,
        };
        if !info.config.subjects.contains(&subject) {
            let description = format!("the stream {name} exists and does not have the subject {subject}");
            return Err(Failure::Refused { code: 0, description });
        }
        Ok(info)
    }

    /// Appends a batch. Its id is different from those of other batches.
    pub(super) async fn append(&self, writer: &str, id: &str, batch: Bytes) -> Result<(), Failure> {
        self.api.publish(self.subjects.journal(writer), id, batch).await
    }

    /// Returns `true` if this is the last batch of the writer that is stored.
    pub(super) async fn has_last(&self, writer: &str, id: &str) -> Result<bool, Failure> {
        let last = json!({ "last_by_subj": self.subjects.journal(writer) });
        Ok(self.get(&self.events, &last).await?.is_some_and(|last| last.has_id(id)))
    }

    /// Returns a batch, if it is still stored.
    pub(super) async fn batch(&self, sequence: u64) -> Result<Option<Stored>, Failure> {
        self.get(&self.events, &json!({ "seq": sequence })).await
    }

    async fn get(&self, stream: &str, which: &Value) -> Result<Option<Stored>, Failure> {
        match self.api.request(&format!("STREAM.MSG.GET.{stream}"), which).await {
            Ok(Found { message }) => Ok(Some(message)),
            Err(failure) if failure.is_not_found() => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Creates a consumer of the batches from a position. Returns its full name.
    pub(super) async fn consume(&self, from: u64) -> Result<String, Failure> {
        let config = json!({
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": from.max(1),
            "ack_policy": "none",
            "replay_policy": "instant",
            "inactive_threshold": nanoseconds(INACTIVE),
            "num_replicas": 1,
            "mem_storage": true,
        });
        let body = json!({ "stream_name": self.events, "config": config });
        let Consumer { name } = self.api.request(&format!("CONSUMER.CREATE.{}", self.events), &body).await?;
        Ok(format!("{}.{name}", self.events))
    }

    /// Stores a session for a time.
    pub(super) async fn save(&self, private_id: &str, id: &str, value: String, keep: Duration) -> Result<(), Failure> {
        let subject = self.subjects.saved(private_id).map_err(|_| Failure::TooLarge)?;
        // The streams of JetStream have one time for all of their messages. The nodes of a cluster usually have, too.
        let config = json!({
            "max_age": nanoseconds(keep),
            "max_msgs_per_subject": 1,
            "num_replicas": self.limits.replicas,
        });
        let info = self.stream(&self.sessions, self.subjects.all_saved(), config).await?;
        if info.config.max_age.unsigned_abs() < nanoseconds(keep) && info.config.max_age != 0 {
            self.keep_sessions(nanoseconds(keep)).await?;
        }
        self.api.publish(subject, id, value.into()).await
    }

    /// Changes how long sessions are kept.
    async fn keep_sessions(&self, max_age: u64) -> Result<(), Failure> {
        #[derive(Deserialize)]
        struct Configured {
            config: Value,
        }
        let Configured { mut config } = self.api.request(&format!("STREAM.INFO.{}", self.sessions), &json!({})).await?;
        config["max_age"] = max_age.into();
        let Done {} = self.api.request(&format!("STREAM.UPDATE.{}", self.sessions), &config).await?;
        Ok(())
    }

    /// Returns a session.
    pub(super) async fn session(&self, private_id: &str) -> Result<Option<Stored>, Failure> {
        let Ok(subject) = self.subjects.saved(private_id) else { return Ok(None) };
        self.get(&self.sessions, &json!({ "last_by_subj": subject })).await
    }

    /// Deletes a session. Returns `false` if another node has done so.
    pub(super) async fn delete_session(&self, sequence: u64) -> Result<bool, Failure> {
        let name = format!("STREAM.MSG.DELETE.{}", self.sessions);
        match self.api.request(&name, &json!({ "seq": sequence, "no_erase": true })).await {
            Ok(Done {}) => Ok(true),
            // Servers have several errors for this, such as one of their storage.
            Err(failure @ Failure::Refused { .. }) if !failure.is_passing() => Ok(false),
            Err(failure) => Err(failure),
        }
    }
}
