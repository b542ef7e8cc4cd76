// A node of a cluster: node.mjs ADAPTER BROKER NAME. tests/matrix/rust.rs does the same in Rust.

import { createServer } from "node:http";
import { setTimeout } from "node:timers/promises";

import { createAdapter as createPostgresAdapter } from "@socket.io/postgres-adapter";
import { createAdapter as createRedisAdapter, createShardedAdapter } from "@socket.io/redis-adapter";
import { createAdapter as createStreamsAdapter } from "@socket.io/redis-streams-adapter";
import { Server } from "socket.io";

import { postgres, redis } from "./brokers.mjs";
import { serve } from "./control.mjs";

const [adapterName, broker, name] = process.argv.slice(2);

/** Requests to unsubscribe that are not answered. A subscription that is made meanwhile gets lost in node-redis. */
const unsubscribing = new Set();

async function subscriber() {
  const client = await redis(broker);
  for (const method of ["unsubscribe", "pUnsubscribe", "sUnsubscribe"]) {
    const unsubscribe = client[method].bind(client);
    client[method] = (...args) => {
      const request = unsubscribe(...args).finally(() => unsubscribing.delete(request));
      unsubscribing.add(request);
      return request;
    };
  }
  return client;
}

const pubSub = async (create, options) => create(await redis(broker), await subscriber(), options);
const sharded = (subscriptionMode) => pubSub(createShardedAdapter, { subscriptionMode });
const adapters = {
  redis: () => pubSub(createRedisAdapter),
  "redis-specific": () => pubSub(createRedisAdapter, { publishOnSpecificResponseChannel: true }),
  "redis-sharded-static": () => sharded("static"),
  "redis-sharded-dynamic": () => sharded("dynamic"),
  "redis-sharded-dynamic-private": () => sharded("dynamic-private"),
  "redis-streams": async () => createStreamsAdapter(await redis(broker)),
  "redis-streams-recovery": async () => createStreamsAdapter(await redis(broker)),
  postgres: async () => createPostgresAdapter(await postgres(broker, 2), { heartbeatInterval: 500 }),
};

const http = createServer();
const recovery = adapterName.endsWith("-recovery") ? { connectionStateRecovery: {} } : {};
const io = new Server(http, { adapter: await adapters[adapterName](), serveClient: false, ...recovery });

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
