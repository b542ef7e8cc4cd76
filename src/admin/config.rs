use std::fmt;

use bcrypt::HashParts;

use crate::packet::normalize_name;

use super::sessions::{MemorySessions, SessionStore};

/// The configuration of [`instrument`](super::instrument).
///
/// ```
/// use tower_socketio::admin::{AdminConfig, Auth, Mode};
///
/// let admin = AdminConfig::new(Auth::none()).mode(Mode::Development).read_only(true).server_id("eu-1");
/// # let _ = admin;
/// ```
#[must_use]
pub struct AdminConfig {
    pub(super) auth: Auth,
    pub(super) namespace: String,
    pub(super) mode: Mode,
    pub(super) read_only: bool,
    pub(super) server_id: Option<String>,
    pub(super) show_handshake: bool,
    pub(super) max_events_per_second: u32,
    pub(super) sessions: Box<dyn SessionStore>,
}

/// How much the admin UI shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Figures of servers and namespaces every two seconds.
    #[default]
    Production,
    /// In addition each socket, room and event, with the arguments of events and the data of sockets.
    Development,
}

/// Who may connect to the namespace of the admin UI.
pub struct Auth(pub(super) Option<Credentials>);

pub(super) struct Credentials {
    pub(super) username: String,
    pub(super) hash: String,
}

impl Auth {
    /// Requires a user name and a password, of which the bcrypt hash is given: `$2b$10$..`.
    ///
    /// The cost of the hash, `10` here, determines how long a login takes. One login is checked at a time, so that guessing passwords
    /// takes at most one processor.
    ///
    /// # Panics
    ///
    /// Panics if it is not a bcrypt hash.
    #[must_use]
    #[track_caller]
    pub fn basic(username: &str, password_hash: &str) -> Self {
        assert!(password_hash.parse::<HashParts>().is_ok(), "the password of the admin UI must be a bcrypt hash");
        Self(Some(Credentials { username: username.to_owned(), hash: password_hash.to_owned() }))
    }

    /// Admits every client. Only for servers that others cannot reach.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }
}

impl AdminConfig {
    /// Creates a configuration for the namespace `/admin`, in [production mode](Mode::Production).
    pub fn new(auth: Auth) -> Self {
        Self {
            auth,
            namespace: "/admin".to_owned(),
            mode: Mode::default(),
            read_only: false,
            server_id: None,
            show_handshake: false,
            max_events_per_second: 500,
            sessions: Box::new(MemorySessions::new()),
        }
    }

    /// Sets the name of the namespace. Default: `/admin`.
    pub fn namespace(mut self, name: &str) -> Self {
        self.namespace = normalize_name(name).into_owned();
        self
    }

    /// Sets how much the UI shows. Default: [`Mode::Production`].
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets whether requests of the UI are ignored: to disconnect sockets, and to change their rooms. Default: `false`.
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// Sets the id of this server, which must differ from those of other nodes of a cluster. Default: the name of the host and the id of
    /// the process, `host#1234`.
    pub fn server_id(mut self, id: &str) -> Self {
        self.server_id = Some(id.to_owned());
        self
    }

    /// Sets whether admins see the handshakes of clients in full. Default: `false`.
    ///
    /// By default, cookies, tokens and other headers and query parameters that may contain secrets are shown as `[redacted]`. The id of
    /// the session and the `auth` payload are never shown.
    pub fn show_handshake(mut self, show: bool) -> Self {
        self.show_handshake = show;
        self
    }

    /// Sets how many events to and from clients are sent to the UI per second, in development mode. Default: 500.
    ///
    /// Others are counted in the figures only. The same applies to admins with more than 64 KiB in their send buffer.
    pub fn max_events_per_second(mut self, events: u32) -> Self {
        self.max_events_per_second = events;
        self
    }

    /// Sets the store of sessions. Default: [`MemorySessions`].
    ///
    /// An admin who has logged in gets the id of a session, which the browser stores, and which is valid instead of a password. Share the
    /// store between the nodes of a cluster, because a browser may connect to another node.
    pub fn sessions(mut self, store: impl SessionStore) -> Self {
        self.sessions = Box::new(store);
        self
    }
}

impl fmt::Debug for Auth {
    /// Omits the hash.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").field("username", &self.0.as_ref().map(|it| &it.username)).finish_non_exhaustive()
    }
}

impl fmt::Debug for AdminConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminConfig")
            .field("auth", &self.auth)
            .field("namespace", &self.namespace)
            .field("mode", &self.mode)
            .field("read_only", &self.read_only)
            .finish_non_exhaustive()
    }
}
