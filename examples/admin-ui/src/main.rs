//! An echo server with the admin UI: `cargo run -p example-admin-ui [-- ADDRESS]`.
//!
//! The files of the UI come from npm: `npm install --prefix /tmp @socket.io/admin-ui`. Then open `/admin-ui` and log in as `admin` with the
//! password `correct horse`. Another folder can be set in ADMIN_UI.

use axum::Router;
use tower_socketio::{
    Ack, Args, Namespace, SocketIoConfig, SocketIoLayer, SocketRef,
    admin::{self, AdminConfig, Auth, Mode},
    extract::Data,
};

/// The bcrypt hash of `correct horse`. A lower cost than usual, for the example.
const HASH: &str = "$2a$04$0zXN5vzY.YIWJcPSgqmJ9OHy8uey2yxsXijLb2GAKOJeusAy8CG6C";

async fn joined(socket: SocketRef) {
    socket.join("lobby");
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let echo = Namespace::new().on_connect(joined).on("echo", async |Data(args): Data<Args>| Ack(args));
    let admin = AdminConfig::new(Auth::basic("admin", HASH)).mode(Mode::Development);
    let config = admin::instrument(SocketIoConfig::new().namespace("/", echo), admin);
    let files = std::env::var("ADMIN_UI").unwrap_or("/tmp/node_modules/@socket.io/admin-ui/ui/dist".into());
    let app = Router::new().nest_service("/admin-ui", admin::ui(files)).layer(SocketIoLayer::new(config));

    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:3000".into());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await
}
