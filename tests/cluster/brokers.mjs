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

/** Connects to Postgres. For messages in order, an adapter has two connections, of which one is for LISTEN, and an emitter one. */
export async function postgres(url, connections) {
  const pool = new pg.Pool({ connectionString: url, max: connections });
  pool.on("error", () => {}).on("connect", (client) => client.on("error", () => {}));
  await pool.query("SELECT 1");
  return pool;
}
