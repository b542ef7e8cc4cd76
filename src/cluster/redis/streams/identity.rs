use redis::{Pipeline, Value, aio::MultiplexedConnection, cmd, from_redis_value};

use crate::cluster::ClusterError;

use super::super::connection::{Connector, Session};

/// A connection as its server knows it.
pub(super) struct Identity {
    /// Names the process of the server.
    run: String,
    connection: u64,
}

/// Ends the connections that were open before to the same servers, which may still have commands to execute. Returns those of the
/// session.
pub(super) async fn end_previous(
    previous: &[Identity],
    session: &Session,
    connector: &Connector,
) -> Result<Vec<Identity>, ClusterError> {
    let mut identities = Vec::new();
    for mut connection in session.all_commands() {
        let Some(identity) = identify(&mut connection, connector).await? else { continue };
        for previous in previous.iter().filter(|previous| previous.run == identity.run) {
            let kill = cmd("CLIENT").arg("KILL").arg("ID").arg(previous.connection).to_owned();
            // It may have ended already, or the user may not be permitted to.
            connector.reply(connection.send_packed_command(&kill)).await?;
        }
        identities.push(identity);
    }
    Ok(identities)
}

/// Returns `None` if the server refuses to tell.
async fn identify(
    connection: &mut MultiplexedConnection,
    connector: &Connector,
) -> Result<Option<Identity>, ClusterError> {
    let mut pipeline = Pipeline::with_capacity(2);
    pipeline.cmd("CLIENT").arg("ID");
    pipeline.cmd("INFO").arg("server");
    let replies = connector.reply(connection.send_packed_commands(&pipeline, 0, 2)).await?;
    let [Value::Int(id), info] = &replies[..] else { return Ok(None) };
    let info: String = from_redis_value(info.clone()).unwrap_or_default();
    let run = info.lines().find_map(|line| line.strip_prefix("run_id:"));
    Ok(run.zip(u64::try_from(*id).ok()).map(|(run, connection)| Identity { run: run.to_owned(), connection }))
}
