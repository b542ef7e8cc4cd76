//! The database: SQLite, and its migrations.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;

use crate::error::Error;

/// Applied in this order. The number of those that have been applied is stored as SQLite's `user_version`.
const MIGRATIONS: [&str; 2] =
    [include_str!("../migrations/1_users_and_tickets.sql"), include_str!("../migrations/2_replies_and_status.sql")];

/// One connection. SQLite has one writer at a time anyway.
#[derive(Debug, Clone)]
pub(crate) struct Db(Arc<Mutex<Connection>>);

impl Db {
    /// Opens a file, or a new database in memory with the path `:memory:`.
    pub(crate) fn open(path: &str) -> Result<Self, Error> {
        let mut connection = Connection::open(path)?;
        connection.pragma_update(None, "foreign_keys", true)?;
        migrate(&mut connection, MIGRATIONS.len())?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    /// Runs queries on a thread that may block, so that the connections of other clients do not wait.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let db = self.0.clone();
        let query = move || query(&mut db.lock().unwrap_or_else(PoisonError::into_inner));
        tokio::task::spawn_blocking(query).await?
    }
}

/// Applies the migrations up to a version, each in its own transaction.
pub(crate) fn migrate(connection: &mut Connection, version: usize) -> Result<(), Error> {
    let current: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    for (number, migration) in MIGRATIONS.iter().enumerate().take(version).skip(current as usize) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", number as u32 + 1)?;
        transaction.commit()?;
    }
    Ok(())
}
