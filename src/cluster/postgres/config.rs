use std::{fmt, time::Duration};

use crate::cluster::{
    broker::{Options, option_setters},
    error::{ClusterError, ClusterErrorKind},
    wire::postgres::{self, PAYLOAD_THRESHOLD},
};

/// The configuration of a [`PostgresAdapter`](super::PostgresAdapter). The defaults are those of Node.js.
#[derive(Clone)]
#[must_use]
pub struct PostgresConfig {
    url: String,
    prefix: String,
    table: String,
    payload_threshold: usize,
    cleanup_interval: Duration,
    options: Options,
}

impl PostgresConfig {
    /// Creates a configuration for a database: `postgres://user:password@host:port/database`, or `host=.. user=..`.
    ///
    /// A URL may name several hosts. With `target_session_attrs=read-write`, the one that is the primary is used. With
    /// `sslmode=require` and the feature `postgres-tls`, the connections are encrypted, and the certificate of the server is verified
    /// with the certificates of the operating system. Otherwise they are not encrypted.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            prefix: "socket.io".to_owned(),
            table: "socket_io_attachments".to_owned(),
            payload_threshold: PAYLOAD_THRESHOLD,
            cleanup_interval: Duration::from_secs(30),
            options: Options::default(),
        }
    }

    /// Sets the prefix of the channels, Node's `channelPrefix`. Default: `socket.io`.
    ///
    /// The prefix and the name of a namespace together have at most 62 bytes. Namespaces with longer names are not part of the cluster.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets the table of large and binary messages, Node's `tableName`. Default: `socket_io_attachments`.
    ///
    /// It may be qualified with a schema: `schema.table`. As in a statement, it is taken as lower case unless it is in double quotes. It
    /// is created if it does not exist.
    pub fn table(mut self, table: impl Into<String>) -> Self {
        self.table = table.into();
        self
    }

    /// Sets the size in bytes from which messages are stored in the table. Default and maximum: 8000, the limit of notifications.
    pub fn payload_threshold(mut self, bytes: usize) -> Self {
        self.payload_threshold = bytes;
        self
    }

    /// Sets how often old rows are deleted from the table, and how old they are then. Default: 30 seconds.
    pub fn cleanup_interval(mut self, interval: Duration) -> Self {
        self.cleanup_interval = interval;
        self
    }
}

option_setters!(PostgresConfig);

/// A checked configuration.
pub(crate) struct Database {
    pub(super) config: tokio_postgres::Config,
    #[cfg(feature = "postgres-tls")]
    pub(super) tls: Option<tokio_postgres_rustls::MakeRustlsConnect>,
    pub(super) prefix: String,
    /// The quoted name of the table of attachments.
    pub(super) table: String,
    pub(super) payload_threshold: usize,
    pub(super) cleanup_interval: Duration,
}

impl PostgresConfig {
    pub(super) fn prepare(self) -> Result<(Database, Options), ClusterError> {
        let invalid = |error| ClusterError::new(ClusterErrorKind::Config).caused_by(error);
        let mut config: tokio_postgres::Config = self.url.parse().map_err(invalid)?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(ClusterError::new(ClusterErrorKind::Config).caused_by("the URL does not name a host"));
        }
        config.connect_timeout(self.options.connect_timeout);
        // Linux counts seconds.
        config.keepalives_idle(self.options.heartbeat_timeout.max(Duration::from_secs(1)));
        if config.get_application_name().is_none() {
            config.application_name("tower-socketio");
        }
        #[cfg(feature = "postgres-tls")]
        let tls = match config.get_ssl_mode() {
            tokio_postgres::config::SslMode::Require => {
                Some(tokio_postgres_rustls::MakeRustlsConnect::new(crate::cluster::tls::client_config()?))
            }
            _ => None,
        };
        let database = Database {
            config,
            #[cfg(feature = "postgres-tls")]
            tls,
            prefix: self.prefix,
            table: postgres::table(&self.table),
            payload_threshold: self.payload_threshold,
            cleanup_interval: self.cleanup_interval.max(Duration::from_secs(1)),
        };
        Ok((database, self.options))
    }
}

/// Without the URL, which may contain a password.
impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConfig")
            .field("prefix", &self.prefix)
            .field("table", &self.table)
            .field("payload_threshold", &self.payload_threshold)
            .field("cleanup_interval", &self.cleanup_interval)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
