// Connections to brokers. A comma in the URL separates the nodes of a Redis Cluster.

import pg from "pg";
import { createClient, createCluster } from "redis";

/** Connects to Redis. Errors are expected: tests end the broker. */
export async function redis(url) {
  const urls = url.split(",");
  const client = urls.length > 1 ? createCluster({ rootNodes: urls.map((url) => ({ url })) }) : createClient({ url });
  // Adapters listen for errors once for each namespace.
  await client.on("error", () => {}).setMaxListeners(0).connect();
  return client;
}

/** Connects to Postgres. With one connection for LISTEN and one for the rest, messages are in order. */
export async function postgres(url) {
  const pool = new pg.Pool({ connectionString: url, max: 2 });
  pool.on("error", () => {}).on("connect", (client) => client.on("error", () => {}));
  await pool.query("SELECT 1");
  return pool;
}
