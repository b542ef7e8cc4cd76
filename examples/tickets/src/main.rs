//! Support tickets: a small product with a database, migrations, users, routes, two namespaces and tests.
//!
//! ```sh
//! cargo run -p example-tickets -- invite Ada           # prints a token of a customer
//! cargo run -p example-tickets -- invite Grace agent   # prints a token of an agent
//! cargo run -p example-tickets -- 127.0.0.1:3000
//! ```
//!
//! The database is the file `tickets.db`, or that in the environment variable `DATABASE`. Clients send their token as
//! `io("/tickets", { auth: { token } })`, and as `authorization: Bearer ..` to routes.

mod db;
mod error;
mod routes;
mod sockets;
#[cfg(test)]
mod tests;
mod tickets;
mod users;

use std::{error::Error, future::Future, time::Duration};

use listenfd::ListenFd;
use tokio::net::TcpListener;
use tower_socketio::SocketIo;

use crate::db::Db;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_env_filter("info,example_tickets=debug").with_writer(std::io::stderr).init();
    let db = Db::open(&std::env::var("DATABASE").unwrap_or("tickets.db".into()))?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [command, name, role @ ..] = &*arguments
        && command == "invite"
    {
        let (name, is_agent) = (name.clone(), role.contains(&"agent".into()));
        println!("{}", db.run(move |connection| users::invite(connection, &name, is_agent)).await?);
        return Ok(());
    }

    let (app, io) = routes::app(db);
    let listener = listener(arguments.first().map_or("127.0.0.1:3000", String::as_str)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).with_graceful_shutdown(stopped(io)?).await?;
    Ok(())
}

/// Returns the listener that systemd has opened, or opens one.
async fn listener(address: &str) -> std::io::Result<TcpListener> {
    match ListenFd::from_env().take_tcp_listener(0)? {
        Some(listener) => {
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        }
        None => TcpListener::bind(address).await,
    }
}

/// Waits for Ctrl-C, or for the signal of `systemctl stop` and of container runtimes. Then disconnects the clients.
fn stopped(io: SocketIo) -> std::io::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    Ok(async move {
        #[cfg(unix)]
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        #[cfg(not(unix))]
        tokio::signal::ctrl_c().await.ok();
        io.drain(Duration::from_secs(1)).await;
    })
}
