// Each generation of the JavaScript client over each transport, against the server of main.rs.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const url = process.argv[2];

const versions = ["3.1", "4"];
const transports = { polling: ["polling"], websocket: ["websocket"], upgrade: ["polling", "websocket"] };

/** Waits for an event of a socket or of its manager. */
function once(emitter, event, milliseconds = 5000) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no "${event}" in time`)), milliseconds);
    emitter.once(event, (...args) => {
      clearTimeout(timer);
      resolve(args);
    });
  });
}

/** Emits, and waits for the ack. */
function ask(socket, event, ...args) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ack of "${event}" in time`)), 5000);
    socket.emit(event, ...args, (...answer) => {
      clearTimeout(timer);
      resolve(answer);
    });
  });
}

async function opened(io, path, options) {
  const socket = io(url + path, { forceNew: true, reconnectionDelay: 10, ...options });
  await once(socket, "connect");
  return socket;
}

/** What every client can do over every transport. */
const checks = {
  async "connects with an id of its own"({ socket }) {
    assert.equal(socket.id.length, 20);
    assert.notEqual(socket.id, socket.io.engine.id);
  },
  async "moves to websocket when it may"({ socket, kind }) {
    const engine = socket.io.engine;
    if (kind === "upgrade" && engine.transport.name !== "websocket") await once(engine, "upgrade");
    assert.equal(engine.transport.name, kind === "polling" ? "polling" : "websocket");
  },
  async "exchanges events"({ socket }) {
    const args = [1, "héllo €😀", { a: [null, true] }, []];
    const answer = once(socket, "echo");
    socket.emit("echo", ...args);
    assert.deepEqual(await answer, args);
  },
  async "gets acks"({ socket }) {
    assert.deepEqual(await ask(socket, "ack", 1, "two"), [1, "two"]);
    assert.deepEqual(await ask(socket, "ack"), []);
  },
  async "answers acks"({ socket }) {
    socket.once("question", (question, answer) => answer(`re: ${question}`, 42));
    const answer = once(socket, "answer");
    socket.emit("ask", "why?");
    assert.deepEqual(await answer, ["re: why?", 42]);
  },
  async "exchanges binary"({ socket }) {
    const [echoed] = await ask(socket, "ack", Buffer.from([1, 2, 3, 255]));
    assert.deepEqual([...new Uint8Array(echoed)], [1, 2, 3, 255]);
    const file = { name: "é", content: Buffer.from("abc"), parts: [Buffer.alloc(0), Buffer.alloc(70000, 7)] };
    const [same] = await ask(socket, "file", file);
    assert.equal(same.name, "é");
    assert.equal(Buffer.from(same.content).toString(), "abc");
    assert.deepEqual(same.parts.map((part) => part.length ?? part.byteLength), [0, 70000]);
  },
  async "is told what it did wrong"({ socket }) {
    const [answer] = await ask(socket, "number", "not a number");
    assert.match(answer.error.message, /^invalid arguments: /);
  },
  async "hears its rooms"({ socket, io, options }) {
    const other = await opened(io, "/", options);
    const room = `room-${Math.random()}`;
    await ask(socket, "join", room);
    await ask(other, "join", room);
    const both = [once(socket, "said"), once(other, "said")];
    other.emit("say", room, "to all");
    for (const [text, binary] of await Promise.all(both)) {
      assert.equal(text, "to all");
      assert.deepEqual([...new Uint8Array(binary)], [1, 2, 3]);
    }
    other.once("whispered", () => assert.fail("the sender is left out"));
    const whispered = once(socket, "whispered");
    other.emit("whisper", room, "to the others");
    assert.deepEqual(await whispered, ["to the others"]);
    assert.deepEqual(await ask(other, "ack", "flushed"), ["flushed"]);
    other.disconnect();
  },
  async "gets a thousand events in order"({ socket }) {
    const received = [];
    const last = new Promise((resolve) => socket.on("n", (n) => received.push(n) === 1000 && resolve()));
    socket.emit("count", 1000);
    await last;
    socket.off("n");
    assert.deepEqual(received, [...Array(1000).keys()]);
  },
  async "survives heartbeats"({ socket }) {
    await new Promise((resolve) => setTimeout(resolve, 700));
    assert.deepEqual(await ask(socket, "ack", "alive"), ["alive"]);
  },
  async "shares its connection with a namespace that wants a token"({ socket }) {
    const guarded = socket.io.socket("/guarded", { auth: { token: "secret" } });
    await once(guarded, "connect");
    assert.notEqual(guarded.id, socket.id);
    assert.deepEqual(await ask(guarded, "ack", 1), [1]);
    guarded.disconnect();
    assert.deepEqual(await ask(socket, "ack", "still here"), ["still here"]);
  },
  async "is refused with the reason"({ io, options }) {
    const guarded = io(`${url}/guarded`, { forceNew: true, ...options, auth: { token: "wrong" } });
    const [error] = await once(guarded, "connect_error");
    assert.equal(error.message, "no entry");
    assert.deepEqual(error.data, { code: 7 });
    const unknown = guarded.io.socket("/unknown");
    assert.equal((await once(unknown, "connect_error"))[0].message, "Invalid namespace");
    guarded.disconnect();
    unknown.disconnect();
  },
  async "connects again after a lost connection"({ socket }) {
    const before = socket.id;
    const again = once(socket, "connect");
    socket.io.engine.close();
    await again;
    assert.notEqual(socket.id, before);
    assert.deepEqual(await ask(socket, "ack", "back"), ["back"]);
  },
  async "is disconnected by the server"({ socket }) {
    const gone = once(socket, "disconnect");
    socket.emit("kick");
    assert.deepEqual((await gone)[0], "io server disconnect");
    socket.connect();
    await once(socket, "connect");
    const away = once(socket, "disconnect");
    socket.emit("kick all");
    assert.deepEqual((await away)[0], "io server disconnect");
  },
};

let failed = 0;
for (const version of versions) {
  const { io } = require(`socket.io-client-${version}`);
  for (const [kind, list] of Object.entries(transports)) {
    const options = { transports: list };
    const socket = await opened(io, "/", options);
    for (const [name, check] of Object.entries(checks)) {
      try {
        await check({ socket, io, kind, options });
      } catch (error) {
        failed += 1;
        console.error(`socket.io-client ${version} over ${kind}: ${name}\n`, error);
      }
    }
    socket.disconnect();
    console.log(`socket.io-client ${version} over ${kind}: ${Object.keys(checks).length} checks`);
  }
}
process.exit(failed === 0 ? 0 : 1);
