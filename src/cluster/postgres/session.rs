use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::Stream;
use tokio_postgres::{AsyncMessage, Client, Error, NoTls, Notification, error::SqlState};

use crate::cluster::error::{ClusterError, ClusterErrorKind};

use super::config::Database;

type Messages = Pin<Box<dyn Stream<Item = Result<AsyncMessage, Error>> + Send>>;

/// One connection to the database. It is driven by its owner.
pub(super) struct Session {
    client: Arc<Client>,
    messages: Messages,
}

impl Session {
    pub(super) async fn open(database: &Database) -> Result<Self, ClusterError> {
        #[cfg(feature = "postgres-tls")]
        if let Some(tls) = &database.tls {
            let (client, connection) = database.config.connect(tls.clone()).await.map_err(failure)?;
            return Ok(Self { client: Arc::new(client), messages: messages(connection) });
        }
        let (client, connection) = database.config.connect(NoTls).await.map_err(failure)?;
        Ok(Self { client: Arc::new(client), messages: messages(connection) })
    }

    pub(super) fn client(&self) -> Arc<Client> {
        self.client.clone()
    }

    /// Drives the connection until a request over it is complete.
    pub(super) async fn run<T>(&mut self, request: impl Future<Output = Result<T, Error>>) -> Result<T, ClusterError> {
        let mut request = pin!(request);
        poll_fn(|cx| match request.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(result.map_err(failure)),
            Poll::Pending => self.poll_end(cx).map(Err),
        })
        .await
    }

    /// Drives the connection. Returns the next notification, or the reason for which the connection has ended.
    pub(super) fn poll_notification(&mut self, cx: &mut Context<'_>) -> Poll<Result<Notification, ClusterError>> {
        loop {
            match self.messages.as_mut().poll_next(cx) {
                Poll::Ready(Some(Ok(AsyncMessage::Notification(notification)))) => {
                    return Poll::Ready(Ok(notification));
                }
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(failure(error))),
                Poll::Ready(None) => return Poll::Ready(Err(ClusterError::new(ClusterErrorKind::Disconnected))),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Drives a connection that does not listen, until it ends.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<ClusterError> {
        loop {
            match self.poll_notification(cx) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(error),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

fn messages<S, T>(mut connection: tokio_postgres::Connection<S, T>) -> Messages
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    Box::pin(futures_util::stream::poll_fn(move |cx| connection.poll_message(cx)))
}

/// Invalid credentials, a database that does not exist, and missing privileges are rejections. Other errors are lost connections.
fn failure(error: Error) -> ClusterError {
    let is_rejection = |code: &SqlState| ["28", "3D", "42"].iter().any(|class| code.code().starts_with(class));
    let kind = match error.code().is_some_and(is_rejection) {
        true => ClusterErrorKind::Rejected,
        false => ClusterErrorKind::Disconnected,
    };
    ClusterError::new(kind).caused_by(error)
}
