use std::{
    collections::HashMap,
    future::ready,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use futures_util::future::try_join;
use tokio_postgres::{Notification, Statement, error::SqlState};

use crate::{
    cluster::{
        broker::{Event, Link, Options, Silence},
        error::{ClusterError, ClusterErrorKind},
        message::ClusterMessage,
        wire::{WireError, postgres as wire},
    },
    util::now,
};

use super::{config::Database, pipeline::Pipeline, session::Session};

/// The size and the number of frames that wait for a confirmation.
const WINDOW_BYTES: usize = 1024 * 1024;
const WINDOW_FRAMES: usize = 1024;

/// The notifications that are received while an attachment is fetched.
const MAX_INCOMING: usize = 16;

/// A connection that listens, and one that sends and fetches attachments.
pub(crate) struct PostgresLink {
    database: Arc<Database>,
    listener: Session,
    sender: Session,
    /// The process that serves the sender: its notifications are this node's own.
    sender_process: i32,
    notify: Statement,
    attach: Statement,
    fetch: Statement,
    /// The namespace of each channel.
    channels: HashMap<String, Arc<str>>,
    sends: Pipeline<Sent, ()>,
    /// The size of the frames in `sends`.
    bytes: usize,
    /// Commands to the listener. With the namespace that is subscribed then.
    commands: Pipeline<Option<Arc<str>>, ()>,
    /// The channel of the shared sessions of this node.
    relay: Option<String>,
    /// Messages with attachments, and those that arrived after them.
    incoming: Pipeline<(), Event>,
    /// That of the sender while something is not confirmed, and that of the listener: not even the heartbeats of this node arrive.
    silences: [Silence; 2],
    cleaned: Instant,
}

struct Sent {
    size: usize,
    is_counted: bool,
}

/// A message on its way into the database.
pub(crate) enum Frame {
    Notification { channel: String, text: String },
    Attachment { channel: String, header: [String; 2], row: Vec<u8> },
}

impl Link for PostgresLink {
    type Config = Database;
    type Frame = Frame;

    fn check(database: &Database, namespace: &str) -> Result<(), WireError> {
        wire::channel(&database.prefix, namespace).map(|_| ())
    }

    fn encode(database: &Database, message: &ClusterMessage) -> Result<(Frame, usize), WireError> {
        let channel = wire::channel(&database.prefix, &message.namespace)?;
        Ok(match wire::encode(message, database.payload_threshold)? {
            wire::Outgoing::Notification(text) => {
                let size = text.len();
                (Frame::Notification { channel, text }, size)
            }
            wire::Outgoing::Attachment(row) => {
                let size = row.len();
                (Frame::Attachment { channel, header: wire::header(message)?, row }, size)
            }
        })
    }

    fn encode_relayed(database: &Database, node: &str, message: Bytes) -> Option<(Frame, usize)> {
        let channel = wire::relay_channel(&database.prefix, node).ok()?;
        let (size, row) = (message.len(), message.into());
        // Its notification is the id of the row.
        Some((Frame::Attachment { channel, header: Default::default(), row }, size))
    }

    async fn connect(database: &Arc<Database>, options: &Options) -> Result<Self, ClusterError> {
        let (listener, mut sender) = try_join(Session::open(database), Session::open(database)).await?;
        let client = sender.client();
        // Notifications do not survive a crash of the database anyway: do not wait for its disk.
        sender.run(client.batch_execute("SET synchronous_commit = off")).await?;
        prepare_table(&mut sender, &database.table).await?;
        let table = &database.table;
        let notify = sender.run(client.prepare("SELECT pg_notify($1, $2)")).await?;
        let attach = format!(
            "WITH attachment AS (INSERT INTO {table} (payload) VALUES ($1) RETURNING id) \
             SELECT pg_notify($2, $3::text || id::text || $4::text) FROM attachment"
        );
        let attach = sender.run(client.prepare(&attach)).await?;
        let fetch = format!("SELECT payload FROM {table} WHERE id = $1");
        let fetch = sender.run(client.prepare(&fetch)).await?;
        let sender_process = sender.run(client.query_one_scalar("SELECT pg_backend_pid()", &[])).await?;
        Ok(Self {
            database: database.clone(),
            listener,
            sender,
            sender_process,
            notify,
            attach,
            fetch,
            channels: HashMap::new(),
            relay: None,
            sends: Pipeline::new(),
            bytes: 0,
            commands: Pipeline::new(),
            incoming: Pipeline::new(),
            silences: [(); 2].map(|()| Silence::new(options.heartbeat_timeout.max(options.heartbeat_interval * 2))),
            cleaned: now(),
        })
    }

    fn identify(&mut self, node: &Arc<str>, shares_sessions: bool) {
        self.relay = shares_sessions.then(|| wire::relay_channel(&self.database.prefix, node).ok()).flatten();
        if let Some(channel) = &self.relay {
            let (client, command) = (self.listener.client(), format!("LISTEN {}", wire::quote(channel)));
            self.commands.push(None, async move { client.batch_execute(&command).await });
        }
    }

    fn subscribe(&mut self, namespace: &Arc<str>) {
        let Ok(channel) = wire::channel(&self.database.prefix, namespace) else { return };
        let (client, command) = (self.listener.client(), format!("LISTEN {}", wire::quote(&channel)));
        if self.channels.is_empty() {
            self.silences[1].heard();
        }
        self.channels.insert(channel, namespace.clone());
        self.commands.push(Some(namespace.clone()), async move { client.batch_execute(&command).await });
    }

    fn unsubscribe(&mut self, namespace: &str) {
        let Ok(channel) = wire::channel(&self.database.prefix, namespace) else { return };
        let (client, command) = (self.listener.client(), format!("UNLISTEN {}", wire::quote(&channel)));
        self.channels.remove(&channel);
        self.commands.push(None, async move { client.batch_execute(&command).await });
    }

    fn send(&mut self, frame: Frame, size: usize, is_counted: bool) {
        let sent = Sent { size, is_counted };
        self.bytes += size;
        if self.sends.len() == 0 {
            self.silences[0].heard();
        }
        let client = self.sender.client();
        match frame {
            Frame::Notification { channel, text } => {
                let notify = self.notify.clone();
                self.sends.push(sent, async move { client.execute(&notify, &[&channel, &text]).await.map(|_| ()) });
            }
            Frame::Attachment { channel, header: [before, after], row } => {
                let attach = self.attach.clone();
                self.sends.push(sent, async move {
                    client.execute(&attach, &[&row, &channel, &before, &after]).await.map(|_| ())
                });
            }
        }
    }

    fn has_room(&self) -> bool {
        self.bytes < WINDOW_BYTES && self.sends.len() < WINDOW_FRAMES
    }

    fn unconfirmed(&self) -> u64 {
        self.sends.tags().filter(|sent| sent.is_counted).count() as u64
    }

    fn is_idle(&self) -> bool {
        self.sends.len() == 0
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        self.clean();
        self.sends.start(cx);
        if let Poll::Ready(cause) = self.sender.poll_end(cx) {
            return Poll::Ready(Event::Ended(cause));
        }
        if let Poll::Ready(event) = self.poll_confirmation(cx) {
            self.silences[0].heard();
            return Poll::Ready(event);
        }
        if self.silences[0].poll(cx, self.sends.len() > 0).is_ready() {
            return Poll::Ready(silent());
        }
        if let Poll::Ready(((), event)) = self.incoming.poll_next(cx) {
            return Poll::Ready(event.unwrap_or_else(missed));
        }
        self.commands.start(cx);
        while self.incoming.len() < MAX_INCOMING {
            match self.listener.poll_notification(cx) {
                Poll::Ready(Ok(notification)) => {
                    if let Some(event) = self.take(&notification, cx) {
                        return Poll::Ready(event);
                    }
                }
                Poll::Ready(Err(cause)) => return Poll::Ready(Event::Ended(cause)),
                Poll::Pending => break,
            }
        }
        // While there is more to read, the listener is not silent.
        let listens = self.incoming.len() < MAX_INCOMING && !self.channels.is_empty();
        if self.silences[1].poll(cx, listens).is_ready() {
            return Poll::Ready(silent());
        }
        self.poll_subscribed(cx)
    }
}

/// A message of another node could not be fetched.
fn missed(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Event {
    Event::Failed(ClusterError::new(ClusterErrorKind::Missed).caused_by(cause))
}

fn silent() -> Event {
    Event::Ended(ClusterError::new(ClusterErrorKind::Disconnected).caused_by("the database does not respond"))
}

impl PostgresLink {
    /// Returns a message, unless it has an attachment or arrived after one that has.
    fn take(&mut self, notification: &Notification, cx: &mut Context<'_>) -> Option<Event> {
        self.silences[1].heard();
        if notification.process_id() == self.sender_process {
            return None;
        }
        if self.relay.as_deref() == Some(notification.channel()) {
            self.fetch(notification.payload().parse().ok()?, Event::Relayed, cx);
            return None;
        }
        let namespace = self.channels.get(notification.channel())?.clone();
        let message = match wire::decode(&namespace, notification.payload().to_owned().into()) {
            Ok(wire::Incoming::Attachment { id, .. }) => {
                let decode = move |attachment| {
                    let message = wire::decode_attachment(&namespace, attachment);
                    Event::Received(namespace, message)
                };
                self.fetch(id, decode, cx);
                return None;
            }
            Ok(wire::Incoming::Message(message)) => Ok(message),
            Err(error) => Err(error),
        };
        let event = Event::Received(namespace, message);
        if self.incoming.len() == 0 {
            return Some(event);
        }
        self.incoming.push((), ready(Ok(event)));
        None
    }

    /// Fetches an attachment.
    fn fetch(&mut self, id: i64, read: impl FnOnce(Bytes) -> Event + Send + 'static, cx: &mut Context<'_>) {
        let (client, fetch) = (self.sender.client(), self.fetch.clone());
        self.incoming.push((), async move {
            let row = client.query_opt(&fetch, &[&id]).await?;
            let attachment = row.map(|row| row.try_get::<_, Option<&[u8]>>(0).map(|it| it.map(Bytes::copy_from_slice)));
            Ok(match attachment.transpose()?.flatten() {
                Some(attachment) => read(attachment),
                None => missed("the attachment is not in its table"),
            })
        });
        self.incoming.start(cx);
    }

    fn poll_confirmation(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let mut event = Poll::Pending;
        while let Poll::Ready((sent, result)) = self.sends.poll_next(cx) {
            self.bytes -= sent.size;
            event = Poll::Ready(Event::Confirmed);
            let Err(error) = result else { continue };
            if error.code() == Some(&SqlState::UNDEFINED_TABLE) || error.as_db_error().is_none() {
                // The next link creates the table.
                self.sends.return_first(sent, error);
                return Poll::Ready(Event::Ended(ClusterError::new(ClusterErrorKind::Disconnected)));
            }
            let count = u64::from(sent.is_counted);
            return Poll::Ready(Event::Failed(ClusterError::new(ClusterErrorKind::Lost { count }).caused_by(error)));
        }
        event
    }

    fn poll_subscribed(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        while let Poll::Ready((namespace, result)) = self.commands.poll_next(cx) {
            match (namespace, result) {
                // Such as a name that the encoding of the database does not have.
                (Some(namespace), Err(error)) if error.as_db_error().is_some() => {
                    self.channels.retain(|_, of| *of != namespace);
                    let error = ClusterError::new(ClusterErrorKind::Rejected).caused_by(error);
                    return Poll::Ready(Event::Refused(namespace, error));
                }
                (_, Err(error)) => {
                    let cause = ClusterError::new(ClusterErrorKind::Disconnected).caused_by(error);
                    return Poll::Ready(Event::Ended(cause));
                }
                (Some(namespace), Ok(())) => return Poll::Ready(Event::Subscribed(namespace)),
                (None, Ok(())) => {}
            }
        }
        Poll::Pending
    }

    /// Deletes old attachments.
    fn clean(&mut self) {
        let now = now();
        if now.duration_since(self.cleaned) < self.database.cleanup_interval {
            return;
        }
        self.cleaned = now;
        let delete = format!(
            "DELETE FROM {table} WHERE id IN (SELECT id FROM {table} \
             WHERE created_at < now() - interval '{age} milliseconds' LIMIT 1000 FOR UPDATE SKIP LOCKED)",
            table = self.database.table,
            age = self.database.cleanup_interval.as_millis()
        );
        let client = self.sender.client();
        let sent = Sent { size: 0, is_counted: false };
        if self.sends.len() == 0 {
            self.silences[0].heard();
        }
        self.sends.push(sent, async move { client.batch_execute(&delete).await });
    }
}

/// Creates the table of attachments if it does not exist. Nodes may do that at the same time, and may not be allowed to.
async fn prepare_table(session: &mut Session, table: &str) -> Result<(), ClusterError> {
    let client = session.client();
    let exists = "SELECT to_regclass($1::text) IS NOT NULL";
    if session.run(client.query_one_scalar(exists, &[&table])).await? {
        return Ok(());
    }
    let create = format!(
        "CREATE TABLE IF NOT EXISTS {table} (id bigserial UNIQUE, created_at timestamptz DEFAULT NOW(), payload bytea)"
    );
    match session.run(client.batch_execute(&create)).await {
        Err(error) if !session.run(client.query_one_scalar(exists, &[&table])).await? => Err(error),
        _ => Ok(()),
    }
}
