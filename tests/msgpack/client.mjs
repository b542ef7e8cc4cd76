// The official client with its msgpack parser, against the server of tests/interop/main.rs. With `--mixed` the server also serves
// clients without the parser, and the query chooses.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { io } from "socket.io-client";

const parser = createRequire(import.meta.url)("socket.io-msgpack-parser");
const mixed = process.argv.includes("--mixed");
const url = process.argv.at(-1);
const query = mixed ? { parser: "msgpack" } : {};

const within = (promise, what) =>
  Promise.race([promise, new Promise((_, reject) => setTimeout(() => reject(new Error(`no ${what}`)), 60_000).unref())]);
const once = (emitter, event) => within(new Promise((resolve) => emitter.once(event, (...args) => resolve(args))), event);
const ask = (socket, ...args) => within(socket.emitWithAck(...args), `ack of ${args[0]}`);

async function connected(options, path = "/") {
  const socket = io(url + path, { parser, query, forceNew: true, ...options });
  await within(
    new Promise((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("connect_error", reject);
    }),
    "connect",
  );
  return socket;
}

async function exchange(options, upgrades) {
  const socket = await connected(options);
  if (upgrades && socket.io.engine.transport.name !== "websocket") await once(socket.io.engine, "upgrade");

  const args = [1, -70_000, 2 ** 40, 1.5, "é😀".repeat(100), true, null, [1, [2]], { a: { b: "c" } }];
  socket.emit("echo", ...args);
  assert.deepEqual(await once(socket, "echo"), args);
  const large = Array.from({ length: 1000 }, (_, number) => ({ number, text: "x".repeat(number % 50) }));
  socket.emit("echo", large);
  assert.deepEqual(await once(socket, "echo"), [large]);

  const content = Buffer.from([0, 1, 2, 255]);
  const file = { name: "é", content, parts: [Buffer.alloc(0), Buffer.alloc(70_000, 7)] };
  assert.deepEqual(await ask(socket, "file", file), file);
  const { content: typed } = await ask(socket, "file", { name: "", content: new Uint8Array([1, 2, 3]), parts: [] });
  assert.deepEqual(Buffer.from(typed), Buffer.from([1, 2, 3]));

  const date = new Date();
  const acked = within(new Promise((resolve) => socket.emit("ack", undefined, date, { u: undefined }, (...all) => resolve(all))), "ack");
  assert.deepEqual(await acked, [null, date.toISOString(), {}]);
  assert.match((await ask(socket, "number", "no number")).error.message, /invalid arguments/);

  socket.once("question", (question, answer) => answer(question, Buffer.from([9]), 3));
  socket.emit("ask", "why?");
  const [question, binary, three] = await once(socket, "answer");
  assert.deepEqual([question, Buffer.from(binary), three], ["why?", Buffer.from([9]), 3]);

  // The members of a room have different parsers.
  const other = await connected(mixed ? { ...options, parser: undefined, query: {} } : options);
  await ask(socket, "join", "room");
  await ask(other, "join", "room");
  const heard = Promise.all([once(socket, "said"), once(other, "said")]);
  socket.emit("say", "room", "hello");
  for (const [text, data] of await heard) assert.deepEqual([text, Buffer.from(data)], ["hello", Buffer.from([1, 2, 3])]);
  const whispered = once(other, "whispered");
  socket.emit("whisper", "room", "psst");
  assert.deepEqual(await whispered, ["psst"]);

  const refused = io(url + "/guarded", { parser, query, forceNew: true, ...options });
  const [error] = await once(refused, "connect_error");
  assert.deepEqual([error.message, error.data], ["no entry", { code: 7 }]);
  refused.auth = { token: "sé€ret & 😀" };
  const admitted = once(refused, "connect");
  refused.connect();
  await admitted;
  assert.deepEqual(await ask(refused, "ack", 1), 1);
  refused.disconnect();

  const numbers = [];
  socket.on("echo", (number) => numbers.push(number));
  for (let number = 0; number < 200; number++) socket.emit("echo", number);
  await ask(socket, "number", 1);
  const sent = Array.from({ length: 200 }, (_, number) => number);
  assert.deepEqual(numbers, sent);

  const kicked = once(other, "disconnect");
  other.emit("kick");
  assert.equal((await kicked)[0], "io server disconnect");
  socket.disconnect();
  other.disconnect();
}

const transports = {
  polling: [{ transports: ["polling"] }, false],
  websocket: [{ transports: ["websocket"] }, false],
  upgrade: [{}, true],
};
for (const [name, [options, upgrades]] of Object.entries(transports)) {
  await exchange(options, upgrades);
  console.log(`msgpack over ${name}: ok`);
}
