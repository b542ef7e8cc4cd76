// Each generation of the JavaScript client over each transport, against the server of main.rs.
//
//     node clients.mjs URL [words]    runs all, or what has all of the words in its name ("1.7 over", "upgrade")
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { parseArgs } from "node:util";

const require = createRequire(import.meta.url);
const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { "session-id-length": { type: "string", default: "20" } },
});
const [url, ...words] = positionals;
// The old clients are full of what Node.js advises against.
process.noDeprecation = true;

const SECRET = "sé€ret & 😀";
const TEXT = "héllo €😀 \u2028 日本語 \"\\\n";
const EVENT = "événement €😀";

/** How many runs go on at a time. */
const AT_A_TIME = 6;

/** As browsers have it: it can receive binary, unlike the ones in the old clients' packages. */
class XMLHttpRequest {
  readyState = 0;
  status = 0;
  responseType = "";
  withCredentials = false;
  #request = {};
  #headers = new Headers();
  #gone = new AbortController();

  open(method, uri) {
    this.#request = { method, uri, headers: {} };
    this.readyState = 1;
  }
  setRequestHeader(name, value) {
    this.#request.headers[name] = value;
  }
  getResponseHeader(name) {
    return this.#headers.get(name);
  }
  abort() {
    this.#gone.abort();
  }
  send(body) {
    const { uri, ...request } = this.#request;
    fetch(uri, { ...request, body: body ?? undefined, signal: this.#gone.signal })
      .then((answer) => {
        this.status = answer.status;
        this.#headers = answer.headers;
        this.#change(2);
        return answer.arrayBuffer();
      })
      .then((data) => {
        if (this.responseType === "arraybuffer") this.response = data;
        else this.response = this.responseText = new TextDecoder().decode(data);
      })
      .catch(() => (this.status = 0))
      .then(() => this.#gone.signal.aborted || this.#change(4));
  }
  #change(state) {
    this.readyState = state;
    this.onreadystatechange?.();
  }
}

/** The generations, and where those that speak Engine.IO 3 keep their build for browsers. */
const versions = [
  ["1.0", "socket.io.js"],
  ["1.3", "socket.io.js"],
  ["1.7", "dist/socket.io.js"],
  ["2.0", "dist/socket.io.js"],
  ["2.5", "dist/socket.io.js"],
  ["3.1"],
  ["4"],
];

/**
 * The builds for Node.js, then those for browsers, which find here what they need of one.
 *
 * With Engine.IO 3 the two differ: a client that cannot receive binary, as on Node.js, polls in base64.
 */
const builds = versions.map(([version, bundle]) => ({
  name: version,
  version: Number(version),
  eio3: bundle !== undefined,
  io: require(`socket.io-client-${version}`),
  // 1.0 sends zeros for a Buffer that has a `buffer`, which none had in its time.
  binary(...bytes) {
    const buffer = Buffer.from(bytes);
    return version === "1.0" ? Object.defineProperty(buffer, "buffer", { value: undefined }) : buffer;
  },
}));
Object.assign(globalThis, { self: globalThis, XMLHttpRequest, WebSocket: require("ws") });
globalThis.navigator ??= { userAgent: "" };
for (const [version, bundle] of versions.filter(([, bundle]) => bundle)) {
  const io = require(`socket.io-client-${version}/${bundle}`);
  const binary = (...bytes) => new Uint8Array(bytes).buffer;
  builds.push({ name: `${version} for browsers`, version: Number(version), eio3: true, io, binary });
}

const kinds = {
  polling: { transports: ["polling"] },
  websocket: { transports: ["websocket"] },
  upgrade: { transports: ["polling", "websocket"] },
  "polling in base64": { transports: ["polling"], forceBase64: true },
  "upgrade in base64": { transports: ["polling", "websocket"], forceBase64: true },
};

/** For hangs: the machine may have other work. In milliseconds. */
const PATIENCE = 60_000;

/** A promise that `start` fulfils in time by calling what it is given. */
function within(what, start) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${what} in time`)), PATIENCE);
    start((value) => {
      clearTimeout(timer);
      resolve(value);
    });
  });
}

/** Waits for an event of a socket, of its manager or of its engine. */
function once(emitter, event) {
  return within(`"${event}"`, (done) => emitter.once(event, (...args) => done(args)));
}

/** Emits, and waits for the ack. */
function ask(socket, event, ...args) {
  return within(`ack of "${event}"`, (done) => socket.emit(event, ...args, (...answer) => done(answer)));
}

/** A value with its binary as arrays, be it a Buffer or an ArrayBuffer. */
function plain(value) {
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) return { bytes: [...new Uint8Array(value)] };
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
}

/** How a client shows a token: by `auth`, or by a query on the namespace, which in 1.0 and 1.3 is on the connection. */
function showing(build, token) {
  return build.eio3 ? { query: `token=${encodeURIComponent(token)}` } : { auth: { token } };
}

/** A new connection. */
function dial({ build, options, dialled }, path, more) {
  const socket = build.io(url + path, { forceNew: true, reconnectionDelay: 10, timeout: PATIENCE, ...options, ...more });
  dialled.add(socket);
  return socket;
}

async function opened(run) {
  const socket = dial(run, "/", run.build.version < 1.4 ? showing(run.build, SECRET) : {});
  await once(socket, "connect");
  return socket;
}

/** Ends the connections of a run but those to keep, also where no socket ever connected. */
function close({ dialled }, ...keep) {
  for (const socket of dialled) {
    if (keep.includes(socket)) continue;
    dialled.delete(socket);
    const { engine } = socket.io;
    (socket.io.close ?? socket.io._close).call(socket.io);
    // The oldest would poll without end for the handshake that they did not understand.
    if (engine?.transport && !engine.id) engine.transport.poll = () => {};
  }
}

/** What every client can do over every transport. */
const checks = {
  async "moves to websocket when it may"({ socket, kind }) {
    const engine = socket.io.engine;
    if (kind.startsWith("upgrade") && engine.transport.name !== "websocket") await once(engine, "upgrade");
    assert.equal(engine.transport.name, kind.startsWith("polling") ? "polling" : "websocket");
  },
  async "has the id that the server knows"({ socket, build }) {
    const [id] = await ask(socket, "id");
    if (build.eio3) assert.equal(id, socket.io.engine.id);
    else assert.notEqual(id, socket.io.engine.id);
    assert.equal(id.length, build.eio3 ? Number(options["session-id-length"]) : 20);
    // 1.0 has no ids.
    if (build.version > 1.0) assert.equal(socket.id, id);
  },
  async "exchanges events"({ socket }) {
    const args = [1, TEXT, { a: [null, true], [TEXT]: TEXT }, []];
    const answer = once(socket, "echo");
    socket.emit("echo", ...args);
    assert.deepEqual(await answer, args);
  },
  async "exchanges events of any name"({ socket }) {
    const answer = once(socket, EVENT);
    socket.emit(EVENT, TEXT);
    assert.deepEqual(await answer, [TEXT]);
  },
  async "exchanges long texts"({ socket }) {
    for (const text of ["a".repeat(70000), "é€😀".repeat(10000)]) {
      assert.deepEqual(await ask(socket, "ack", text), [text]);
    }
  },
  async "gets acks"({ socket }) {
    assert.deepEqual(await ask(socket, "ack", 1, TEXT), [1, TEXT]);
    assert.deepEqual(await ask(socket, "ack"), []);
  },
  async "answers acks"({ socket }) {
    socket.once("question", (question, answer) => answer(`re: ${question}`, 42));
    const answer = once(socket, "answer");
    socket.emit("ask", TEXT);
    assert.deepEqual(await answer, [`re: ${TEXT}`, 42]);
  },
  async "answers acks with binary"({ socket, build }) {
    socket.once("question", (question, answer) => answer(build.binary(4, 5), question));
    const answer = once(socket, "answer");
    socket.emit("ask", TEXT);
    assert.deepEqual(plain(await answer), [{ bytes: [4, 5] }, TEXT]);
  },
  async "exchanges binary"({ socket, build }) {
    const args = [TEXT, build.binary(1, 2, 3, 255), { [TEXT]: build.binary(0) }];
    // Beforehand: clients replace the binary in what they are given.
    const expected = plain(args);
    const answer = once(socket, "echo");
    socket.emit("echo", ...args);
    assert.deepEqual(plain(await answer), expected);
    const parts = [build.binary(), build.binary(...Array(70000).fill(7))];
    const file = { name: TEXT, content: build.binary(97, 98, 99), parts };
    const same = plain(file);
    assert.deepEqual(plain(await ask(socket, "file", file)), [same]);
  },
  async "is told what it did wrong"({ socket }) {
    const [answer] = await ask(socket, "number", "not a number");
    assert.match(answer.error.message, /^invalid arguments: /);
  },
  async "hears its rooms"({ socket, run }) {
    const other = await opened(run);
    const room = `${TEXT}-${Math.random()}`;
    await ask(socket, "join", room);
    await ask(other, "join", room);
    const both = [once(socket, "said"), once(other, "said")];
    other.emit("say", room, TEXT);
    for (const said of await Promise.all(both)) assert.deepEqual(plain(said), [TEXT, { bytes: [1, 2, 3] }]);
    other.once("whispered", () => assert.fail("the sender is left out"));
    const whispered = once(socket, "whispered");
    other.emit("whisper", room, "to the others");
    assert.deepEqual(await whispered, ["to the others"]);
    assert.deepEqual(await ask(other, "ack", "flushed"), ["flushed"]);
  },
  async "gets a thousand events in order"({ socket }) {
    const received = [];
    const last = within("last event", (done) => socket.on("n", (n) => received.push(n) === 1000 && done()));
    socket.emit("count", 1000);
    await last;
    socket.off("n");
    assert.deepEqual(received, [...Array(1000).keys()]);
  },
  async "survives heartbeats"({ socket, build }) {
    const engine = socket.io.engine;
    const heartbeat = build.eio3 ? "pong" : "ping";
    let heartbeats = 0;
    await within("second heartbeat", (done) => {
      engine.on("packet", ({ type }) => type === heartbeat && (heartbeats += 1) === 2 && done());
    });
    assert.deepEqual(await ask(socket, "ack", "alive"), ["alive"]);
    assert.equal(socket.io.engine, engine);
  },
  async "shares its connection with a namespace that wants a token"({ socket, build }) {
    const guarded = socket.io.socket("/guarded", showing(build, SECRET));
    await once(guarded, "connect");
    const [id] = await ask(guarded, "id");
    if (build.eio3) assert.equal(id, `/guarded#${socket.io.engine.id}`);
    else assert.notEqual(id, socket.id);
    // 1.x says the id of the connection in each namespace.
    if (build.version >= 2) assert.equal(guarded.id, id);
    assert.deepEqual(plain(await ask(guarded, "ack", TEXT, build.binary(1))), [TEXT, { bytes: [1] }]);
    guarded.disconnect();
    assert.deepEqual(await ask(socket, "ack", "still here"), ["still here"]);
  },
  async "connects to a namespace alone"({ build, run }) {
    const guarded = dial(run, "/guarded", showing(build, SECRET));
    await once(guarded, "connect");
    assert.deepEqual(await ask(guarded, "ack", 1), [1]);
  },
  async "is refused with the reason"({ build, run }) {
    const refusal = build.eio3 ? "error" : "connect_error";
    const guarded = dial(run, "/guarded", showing(build, "wrong"));
    const [error] = await once(guarded, refusal);
    if (build.eio3) assert.deepEqual(error, { code: 7 });
    else assert.deepEqual([error.message, error.data], ["no entry", { code: 7 }]);
    const [closed] = await once(guarded.io.socket("/closed"), refusal);
    assert.equal(build.eio3 ? closed : closed.message, TEXT);
    const [unknown] = await once(guarded.io.socket("/unknown"), refusal);
    assert.equal(unknown.message, "Invalid namespace");
  },
  async "connects again after a lost connection"({ socket }) {
    const before = socket.io.engine.id;
    const again = once(socket, "connect");
    socket.io.engine.close();
    await again;
    assert.notEqual(socket.io.engine.id, before);
    assert.deepEqual(await ask(socket, "ack", "back"), ["back"]);
  },
  async "is disconnected by the server from one namespace"({ build, run }) {
    const socket = await opened(run);
    const guarded = socket.io.socket("/guarded", showing(build, SECRET));
    await once(guarded, "connect");
    const gone = once(socket, "disconnect");
    socket.emit("kick");
    assert.equal((await gone)[0], "io server disconnect");
    assert.deepEqual(await ask(guarded, "ack", "still here"), ["still here"]);
  },
  async "is disconnected by the server from each namespace"({ build, run }) {
    const socket = await opened(run);
    const guarded = socket.io.socket("/guarded", showing(build, SECRET));
    await once(guarded, "connect");
    const gone = [once(socket, "disconnect"), once(guarded, "disconnect")];
    socket.emit("kick all");
    for (const [reason] of await Promise.all(gone)) assert.equal(reason, "io server disconnect");
  },
  async "connects again after it was disconnected by the server"({ socket, build }) {
    // 1.0 no longer listens to its manager then.
    if (build.version === 1.0) return;
    const gone = once(socket, "disconnect");
    socket.emit("kick");
    await gone;
    const again = once(socket, "connect");
    socket.connect();
    await again;
    assert.deepEqual(await ask(socket, "ack", "back"), ["back"]);
  },
};

let failed = 0;
function fail(name, check, error) {
  failed += 1;
  console.error(`socket.io-client ${name}: ${check}\n`, error);
}

// A client that cannot read what it gets may throw where nobody can catch; its check then fails for want of an answer.
process.on("uncaughtException", (error) => fail("(one of them)", "throws", error));

/** One client over one transport. */
async function every(run) {
  let socket;
  for (const [check, body] of Object.entries(checks)) {
    try {
      if (!socket?.connected) socket = await opened(run);
    } catch (error) {
      fail(run.name, "connects", error);
      break;
    }
    try {
      await body({ socket, run, ...run });
      close(run, socket);
    } catch (error) {
      fail(run.name, check, error);
      close(run);
      socket = undefined;
    }
  }
  close(run);
  console.log(`socket.io-client ${run.name}: ${Object.keys(checks).length} checks`);
}

const names = Object.keys(kinds);

function run(build, kind) {
  return { name: `${build.name} over ${kind}`, build, kind, options: kinds[kind], dialled: new Set() };
}

/** A room with every build in it; in each of the rounds a build has another transport. */
async function together(round) {
  const runs = builds.map((build, index) => run(build, names[(index + round) % names.length]));
  const members = await Promise.all(
    runs.map(async (run) => {
      const socket = await opened(run);
      await ask(socket, "join", `all ${round}`);
      return { name: run.name, socket };
    }),
  );
  const hears = async ({ name, socket }, speaker, text) => {
    try {
      assert.deepEqual(plain(await once(socket, "said")), [text, { bytes: [1, 2, 3] }]);
    } catch (error) {
      fail(name, `hears ${speaker.name}`, error);
    }
  };
  for (const speaker of members) {
    // "é" is a Latin-1 character, as each is of a text that a 1.x client has encoded twice.
    for (const text of [`${speaker.name}: ${TEXT}`, "é"]) {
      const heard = members.map((member) => hears(member, speaker, text));
      speaker.socket.emit("say", `all ${round}`, text);
      await Promise.all(heard);
    }
  }
  for (const run of runs) close(run);
  console.log(`a room of ${members.length} socket.io-clients, round ${round}`);
}

const queue = builds
  .flatMap((build) => names.map((kind) => run(build, kind)))
  .filter(({ name }) => words.every((word) => name.includes(word)));
const worker = async () => {
  for (let run = queue.shift(); run; run = queue.shift()) await every(run);
};
await Promise.all(Array.from({ length: AT_A_TIME }, worker));
for (const round of words.length === 0 ? names.keys() : []) {
  await together(round).catch((error) => fail("of each build", "meet in a room", error));
}
process.exit(failed === 0 ? 0 : 1);
