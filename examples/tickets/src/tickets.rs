//! Tickets and replies, without HTTP and sockets.

use rusqlite::{Connection, OptionalExtension, Row};
use serde::{Deserialize, Serialize};

use crate::{error::Error, users::User};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ticket {
    pub(crate) id: i64,
    pub(crate) title: String,
    pub(crate) author: i64,
    pub(crate) is_closed: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reply {
    pub(crate) id: i64,
    pub(crate) ticket: i64,
    pub(crate) author: String,
    pub(crate) text: String,
}

const SELECT: &str = "SELECT id, title, author, is_closed FROM tickets";

fn ticket(row: &Row<'_>) -> rusqlite::Result<Ticket> {
    Ok(Ticket { id: row.get(0)?, title: row.get(1)?, author: row.get(2)?, is_closed: row.get(3)? })
}

fn check_length(text: &str, max: usize, message: &'static str) -> Result<(), Error> {
    if text.trim().is_empty() || text.len() > max { Err(Error::Invalid(message)) } else { Ok(()) }
}

pub(crate) fn open(connection: &Connection, author: &User, title: &str) -> Result<Ticket, Error> {
    check_length(title, 100, "a title has 1 to 100 bytes")?;
    connection.execute("INSERT INTO tickets (author, title) VALUES (?1, ?2)", (author.id, title))?;
    let id = connection.last_insert_rowid();
    Ok(Ticket { id, title: title.to_owned(), author: author.id, is_closed: false })
}

/// Returns the open tickets that the user may see: agents see all, and others their own.
pub(crate) fn list(connection: &Connection, user: &User) -> Result<Vec<Ticket>, Error> {
    let mut query = connection.prepare(&format!("{SELECT} WHERE NOT is_closed AND (?1 OR author = ?2) ORDER BY id"))?;
    let tickets = query.query_map((user.is_agent, user.id), ticket)?.collect::<Result<_, _>>()?;
    Ok(tickets)
}

/// Returns a ticket that the user may see.
pub(crate) fn find(connection: &Connection, user: &User, id: i64) -> Result<Ticket, Error> {
    let found = connection.query_row(&format!("{SELECT} WHERE id = ?1"), [id], ticket).optional()?;
    found.filter(|ticket| user.is_agent || ticket.author == user.id).ok_or(Error::NotFound)
}

pub(crate) fn close(connection: &Connection, user: &User, id: i64) -> Result<Ticket, Error> {
    let ticket = find(connection, user, id)?;
    connection.execute("UPDATE tickets SET is_closed = 1 WHERE id = ?1", [id])?;
    Ok(Ticket { is_closed: true, ..ticket })
}

pub(crate) fn replies(connection: &Connection, user: &User, ticket: i64) -> Result<Vec<Reply>, Error> {
    find(connection, user, ticket)?;
    let mut query = connection.prepare(
        "SELECT replies.id, users.name, text FROM replies JOIN users ON users.id = author WHERE ticket = ?1 ORDER BY replies.id",
    )?;
    let reply = |row: &Row<'_>| Ok(Reply { id: row.get(0)?, ticket, author: row.get(1)?, text: row.get(2)? });
    let replies = query.query_map([ticket], reply)?.collect::<Result<_, _>>()?;
    Ok(replies)
}

pub(crate) fn reply(connection: &mut Connection, user: &User, ticket: i64, text: String) -> Result<Reply, Error> {
    check_length(&text, 2_000, "a reply has 1 to 2000 bytes")?;
    let transaction = connection.transaction()?;
    if find(&transaction, user, ticket)?.is_closed {
        return Err(Error::Invalid("the ticket is closed"));
    }
    transaction.execute("INSERT INTO replies (ticket, author, text) VALUES (?1, ?2, ?3)", (ticket, user.id, &text))?;
    let id = transaction.last_insert_rowid();
    transaction.commit()?;
    Ok(Reply { id, ticket, author: user.name.clone(), text })
}
