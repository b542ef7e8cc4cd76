// The official client with `socket.io-json-parser`, against the server of tests/interop/main.rs.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { io } from "socket.io-client";

const parser = createRequire(import.meta.url)("socket.io-json-parser");
const url = process.argv[2];

const within = (promise, what) =>
  Promise.race([promise, new Promise((_, reject) => setTimeout(() => reject(new Error(`no ${what}`)), 60_000).unref())]);
const once = (emitter, event) => within(new Promise((resolve) => emitter.once(event, (...args) => resolve(args))), event);
const ask = (socket, ...args) => within(socket.emitWithAck(...args), `ack of ${args[0]}`);

async function connected(options, path = "/") {
  const socket = io(url + path, { parser, forceNew: true, ...options });
  await within(
    new Promise((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("connect_error", reject);
    }),
    "connect",
  );
  return socket;
}

async function exchange(options) {
  const socket = await connected(options);
  const args = [1, -70_000, 1.5, "é😀", true, null, [1, [2]], { a: { b: "c" } }];
  socket.emit("echo", ...args);
  assert.deepEqual(await once(socket, "echo"), args);
  assert.match((await ask(socket, "number", "no number")).error.message, /invalid arguments/);

  const refused = io(url + "/guarded", { parser, forceNew: true, ...options });
  const [error] = await once(refused, "connect_error");
  assert.deepEqual([error.message, error.data], ["no entry", { code: 7 }]);
  refused.auth = { token: "sé€ret & 😀" };
  const admitted = once(refused, "connect");
  refused.connect();
  await admitted;
  assert.equal(await ask(refused, "ack", 1), 1);
  refused.disconnect();

  const other = await connected(options);
  const kicked = once(other, "disconnect");
  other.emit("kick");
  assert.equal((await kicked)[0], "io server disconnect");
  socket.disconnect();
}

for (const transports of [["polling"], ["websocket"], ["polling", "websocket"]]) {
  await exchange({ transports });
  console.log(`JSON over ${transports}: ok`);
}
