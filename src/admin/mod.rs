//! The server for the [admin UI] of Socket.IO. Requires the feature `admin-ui`.
//!
//! [`instrument`] adds a namespace to which the UI of the npm package `@socket.io/admin-ui` connects. It shows servers, sockets, rooms,
//! clients and events, and can disconnect sockets and change their rooms. [`ui`] serves the files of the UI.
//!
//! ```
//! use tower_socketio::{
//!     SocketIoConfig, SocketIoLayer,
//!     admin::{self, AdminConfig, Auth},
//! };
//!
//! // `htpasswd -nbB admin PASSWORD` creates the hash.
//! let hash = "$2b$10$heqvAkYMez.Va6Et2uXInOnkCT6/uQj1brkrbyG3LpopDklcq7ZOS";
//! let admin = AdminConfig::new(Auth::basic("admin", hash));
//! let config = admin::instrument(SocketIoConfig::new().origins(["https://admin.socket.io"]), admin);
//! let app: axum::Router = axum::Router::new()
//!     .nest_service("/admin-ui", admin::ui("node_modules/@socket.io/admin-ui/ui/dist"))
//!     .layer(SocketIoLayer::new(config));
//! ```
//!
//! [admin UI]: https://socket.io/docs/v4/admin-ui/

mod cluster;
mod config;
mod describe;
mod figures;
mod login;
mod observer;
mod requests;
mod sessions;
mod state;
mod time;
mod ui;

use std::sync::Arc;

use crate::{Namespace, SocketIoConfig};

use self::{observer::AdminObserver, state::Admin};

pub use self::{
    config::{AdminConfig, Auth, Mode},
    sessions::{MemorySessions, SessionStore},
    ui::ui,
};

/// Adds the namespace of the admin UI, and an [observer](crate::observer) that watches the server for it.
///
/// # Panics
///
/// Panics if the configuration has a namespace of the same name.
#[track_caller]
pub fn instrument(config: SocketIoConfig, admin: AdminConfig) -> SocketIoConfig {
    let admin = Arc::new(Admin::new(admin));
    let mut namespace = Namespace::new().on_connect(login::admit);
    if !admin.config.read_only {
        namespace = requests::add(namespace);
    }
    namespace = cluster::add(namespace, &admin);
    let name = admin.config.namespace.clone();
    let config = cluster::watch_node(config, &admin);
    config.observer(AdminObserver(admin.clone())).namespace(&name, namespace.with_state(admin))
}
