use std::{
    fmt,
    sync::atomic::{AtomicUsize, Ordering},
};

use async_nats::ServerAddr;
use rustls::ClientConfig;

use crate::{
    cluster::{
        broker::{Options, option_setters},
        error::{ClusterError, ClusterErrorKind},
        tls,
        wire::nats::Subjects,
    },
    util::Mutex,
};

/// What a server accepts unless it says otherwise.
const MAX_PAYLOAD: usize = 1024 * 1024;

/// The configuration of a [`NatsAdapter`](super::NatsAdapter).
#[derive(Clone)]
#[must_use]
pub struct NatsConfig {
    url: String,
    prefix: String,
    options: Options,
}

impl NatsConfig {
    /// Creates a configuration for a server: `nats://user:password@host:port`, `nats://token@host`, or `tls://host`. Several servers
    /// of one NATS cluster are separated by commas. They are tried in a random order, with the same credentials: URLs with different
    /// ones are an error.
    ///
    /// The connection is encrypted if the URL begins with `tls`, or the server demands it. The certificate of the server is verified
    /// with the certificates of the operating system.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), prefix: "socket.io".to_owned(), options: Options::default() }
    }

    /// Sets the prefix of all subjects. Servers with different prefixes do not see each other. Default: `socket.io`.
    ///
    /// If permissions are restricted, publishing to and subscribing to `<prefix>.>` must be allowed.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    pub(super) fn prepare(self) -> Result<(Servers, Options), ClusterError> {
        let config_error = || ClusterError::new(ClusterErrorKind::Config);
        let servers: Result<Vec<ServerAddr>, _> = self.url.split(',').map(|url| url.trim().parse()).collect();
        let servers = servers.map_err(|error| config_error().caused_by(error))?;
        // Without their crates, these schemes are taken for TCP.
        if servers.iter().any(ServerAddr::is_websocket) {
            return Err(config_error().caused_by("NATS over WebSocket is not supported"));
        }
        let mut credentials = servers.iter().filter(|server| server.has_user_pass());
        let first = credentials.next().map(|first| (first.username(), first.password()));
        if credentials.any(|other| Some((other.username(), other.password())) != first) {
            return Err(config_error().caused_by("the URLs have different credentials"));
        }
        let servers = Servers {
            servers,
            discovered: Mutex::default(),
            subjects: Subjects::new(&self.prefix).map_err(|error| config_error().caused_by(error))?,
            tls: tls::client_config()?,
            max_payload: AtomicUsize::new(MAX_PAYLOAD),
        };
        Ok((servers, self.options))
    }
}

option_setters!(NatsConfig);

/// Without the URL, which may contain a password.
impl fmt::Debug for NatsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsConfig")
            .field("prefix", &self.prefix)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// A checked configuration, and what the servers have said.
pub(crate) struct Servers {
    servers: Vec<ServerAddr>,
    /// The other servers of the NATS cluster.
    discovered: Mutex<Vec<ServerAddr>>,
    pub(super) subjects: Subjects,
    pub(super) tls: ClientConfig,
    max_payload: AtomicUsize,
}

impl Servers {
    /// Returns all known servers.
    pub(super) fn addresses(&self) -> Vec<ServerAddr> {
        let mut servers = self.servers.clone();
        servers.extend(self.discovered.lock().iter().cloned());
        servers
    }

    /// Returns `true` if a URL of the configuration asks for TLS.
    pub(super) fn requires_tls(&self) -> bool {
        self.servers.iter().any(ServerAddr::tls_required)
    }

    /// Returns the user and the password, or the token.
    pub(super) fn auth(&self) -> async_nats::Auth {
        let mut auth = async_nats::Auth::new();
        let Some(server) = self.servers.iter().find(|server| server.has_user_pass()) else { return auth };
        let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
        let user = server.username().map(decode);
        match server.password().map(decode) {
            Some(password) => (auth.username, auth.password) = (user, Some(password)),
            None => auth.token = user,
        }
        auth
    }

    /// Notes what a server has said about itself and its cluster.
    pub(super) fn learn(&self, info: &async_nats::ServerInfo) {
        self.max_payload.store(info.max_payload, Ordering::Relaxed);
        let discovered = info.connect_urls.iter().filter_map(|url| url.parse().ok());
        *self.discovered.lock() = discovered.filter(|server| !self.servers.contains(server)).take(64).collect();
    }

    pub(super) fn max_payload(&self) -> usize {
        self.max_payload.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_have_the_same_credentials() {
        let prepare = |url: &str| NatsConfig::new(url).prepare().map(|(servers, _)| servers.auth());
        let auth = prepare("nats://a.test, nats://user:p%40ss@b.test,nats://user:p%40ss@c.test:1").unwrap();
        assert_eq!((auth.username.as_deref(), auth.password.as_deref()), (Some("user"), Some("p@ss")));
        assert_eq!(prepare("nats://token@a.test,b.test").unwrap().token.as_deref(), Some("token"));
        for url in ["nats://a:b@a.test,nats://a:c@b.test", "nats://a@a.test,nats://b@b.test", "nats://a:b@a,nats://a@b"]
        {
            assert_eq!(prepare(url).err().map(|error| error.kind()), Some(ClusterErrorKind::Config), "{url}");
        }
    }
}
