// A node of a cluster: node.mjs ADAPTER BROKER NAME. tests/matrix/rust.rs does the same in Rust.

import { createServer } from "node:http";
import { setTimeout } from "node:timers/promises";

import { Server } from "socket.io";

import { createAdapter, unsubscribing } from "./adapters.mjs";
import { serve } from "./control.mjs";

const [adapterName, broker, name] = process.argv.slice(2);

const http = createServer();
const recovery = adapterName.endsWith("-recovery") ? { connectionStateRecovery: {} } : {};
const io = new Server(http, { adapter: await createAdapter(adapterName, broker), serveClient: false, ...recovery });

/** The server-side events that arrived, by namespace. */
const received = {};

function declare(namespace) {
  const record = (received[namespace.name] = []);
  namespace.on("record", (...args) => record.push(args));
  namespace.on("ask", (silent, answer) => silent === name || answer(`answer from ${name}`));
}

function onConnection(socket) {
  const { data, rooms } = socket.handshake.auth;
  if (!socket.recovered) socket.data = data;
  socket.join(rooms);
}

for (const namespace of [io.of("/"), io.of("/chat")]) {
  declare(namespace);
  namespace.on("connection", onConnection);
}
io.of(/^\/dyn-\d+$/).on("connection", onConnection);
io.on("new_namespace", declare);

/** The sockets that a scope selects. */
function select({ namespace, from, to, except, flags }) {
  const of = io.of(namespace);
  let target = from ? of.sockets.get(from).broadcast : of.except([]);
  target = target.to(to).except(except);
  if (flags.volatile) target = target.volatile;
  if (flags.local) target = target.local;
  if (flags.compress !== undefined) target = target.compress(flags.compress);
  if (flags.timeout !== undefined) target = target.timeout(flags.timeout);
  return target;
}

/** What a promise of acks results in. */
async function acks(promise) {
  try {
    return { responses: [await promise].flat(), timedOut: false };
  } catch (error) {
    return { responses: error.responses ?? [], timedOut: true };
  }
}

async function remote({ namespace, flags }, id) {
  const [socket] = await io.of(namespace).in(id).fetchSockets();
  return flags.timeout === undefined ? socket : socket.timeout(flags.timeout);
}

const actions = {
  emit: (scope, { args }) => void select(scope).emit(...args),
  burst: (scope, { event, count }) => {
    const target = select(scope);
    for (let number = 0; number < count; number++) target.emit(event, number);
  },
  ask: (scope, { args }) => acks(select(scope).emitWithAck(...args)),
  join: (scope, { rooms }) => void select(scope).socketsJoin(rooms),
  leave: (scope, { rooms }) => void select(scope).socketsLeave(rooms),
  disconnect: (scope, { close }) => void select(scope).disconnectSockets(close),
  fetch: async (scope) => {
    const sockets = await select(scope).fetchSockets();
    return sockets.map(({ id, rooms, data, handshake }) => ({ id, rooms: [...rooms], data, handshake }));
  },
  remoteEmit: async (scope, { socket, args }) => void (await remote(scope, socket)).emit(...args),
  remoteAsk: async (scope, { socket, args }) => acks((await remote(scope, socket)).emitWithAck(...args)),
  remoteJoin: async (scope, { socket, rooms }) => void (await remote(scope, socket)).join(rooms),
  remoteLeave: async (scope, { socket, room }) => void (await remote(scope, socket)).leave(room),
  remoteDisconnect: async (scope, { socket, close }) => void (await remote(scope, socket)).disconnect(close),
  serverSideEmit: ({ namespace }, { args }) => void io.of(namespace).serverSideEmit(...args),
  serverSideAsk: ({ namespace }, { args }) => acks(io.of(namespace).serverSideEmitWithAck(...args)),
  nodeCount: ({ namespace }) => io.of(namespace).adapter.serverCount(),
  received: ({ namespace }) => received[namespace],
  idle: async ({ namespace }) => {
    while (io.of(namespace).sockets.size > 0) await setTimeout(1);
    await Promise.all(unsubscribing);
  },
};

http.listen(0, "127.0.0.1", () => {
  serve({ port: http.address().port }, ({ scope, action, ...parameters }) => actions[action](scope, parameters));
});
