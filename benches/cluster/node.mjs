// A node of a cluster that is measured: node.mjs ADAPTER BROKER. node.rs does the same in Rust.

import { createServer } from "node:http";
import { createRequire } from "node:module";
import { setTimeout } from "node:timers/promises";

import { postgres, redis } from "../../tests/cluster/brokers.mjs";
import { serve } from "../../tests/cluster/control.mjs";

const require = createRequire(new URL("../../tests/cluster/package.json", import.meta.url));
const { Server } = require("socket.io");
const { createAdapter: createPostgresAdapter } = require("@socket.io/postgres-adapter");
const { createAdapter: createRedisAdapter, createShardedAdapter } = require("@socket.io/redis-adapter");
const { createAdapter: createStreamsAdapter } = require("@socket.io/redis-streams-adapter");

const [adapter, broker] = process.argv.slice(2);
const adapters = {
  redis: async () => createRedisAdapter(await redis(broker), await redis(broker)),
  "redis-sharded": async () => createShardedAdapter(await redis(broker), await redis(broker)),
  "redis-streams": async () => createStreamsAdapter(await redis(broker)),
  postgres: async () => createPostgresAdapter(await postgres(broker)),
};

const http = createServer();
const io = new Server(http, { adapter: await adapters[adapter](), serveClient: false });
io.on("connection", (socket) => socket.join("room"));
io.on("ask", (_, answer) => answer("answer"));

const message = () => ({ from: "alice", text: "Hello, cluster!" });

function check(condition) {
  if (!condition) throw new Error("an answer is missing");
}

const actions = {
  async broadcast({ count, rate, local }) {
    const target = local ? io.local.to("room") : io.to("room");
    const start = performance.now();
    let sent = 0;
    while (sent < count) {
      await setTimeout(2);
      const due = ((performance.now() - start) / 1000) * rate;
      for (; sent < count && sent < due; sent++) target.emit("message", message());
    }
  },
  async fetch({ count, sockets }) {
    for (let i = 0; i < count; i++) check((await io.fetchSockets()).length === sockets);
  },
  async ask({ count }) {
    for (let i = 0; i < count; i++) check((await io.to("room").timeout(5000).emitWithAck("ask", message())).length === 1);
  },
  async serverSideAsk({ count }) {
    for (let i = 0; i < count; i++) check((await io.serverSideEmitWithAck("ask", message())).length === 1);
  },
};

http.listen(0, "127.0.0.1", () => {
  serve({ port: http.address().port }, async ({ action, ...parameters }) => void (await actions[action](parameters)));
});
