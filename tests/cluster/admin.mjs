// A server with the `instrument` of the admin UI: admin.mjs ADAPTER BROKER MODE. tests/admin_fleet.rs does the same in Rust.

import { createServer } from "node:http";

import { instrument } from "@socket.io/admin-ui";
import { Server } from "socket.io";

import { createAdapter } from "./adapters.mjs";
import { serve } from "./control.mjs";

const [adapterName, broker, mode] = process.argv.slice(2);

const http = createServer();
const io = new Server(http, { adapter: await createAdapter(adapterName, broker), serveClient: false, pingInterval: 600_000 });
instrument(io, { auth: false, mode, serverId: "node-js" });

function onConnection(socket) {
  socket.on("join", (room) => socket.join(room));
  socket.on("leave", (room) => socket.leave(room));
  socket.on("data", (data) => Object.assign(socket.data, data));
  socket.on("echo", (...args) => socket.emit("echo", ...args));
  socket.on("kick", () => socket.disconnect());
}

for (const name of ["/", "/chat", "/of-node-js"]) io.of(name).on("connection", onConnection);

const actions = {
  nodeCount: ({ namespace }) => io.of(namespace).adapter.serverCount(),
  fetch: async ({ namespace }) => (await io.of(namespace).fetchSockets()).map(({ id, data }) => ({ id, data })),
};

http.listen(0, "127.0.0.1", () => {
  serve({ port: http.address().port }, ({ scope, action }) => actions[action](scope));
});
