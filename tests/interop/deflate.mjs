// Clients that compress, with different offers: `ws` and the JavaScript client on it, and the client in a browser.
//
//     node deflate.mjs URL
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const require = createRequire(import.meta.url);
const WebSocket = require("ws");
const { io } = require("socket.io-client-4");
const [url] = process.argv.slice(2);

/** What `ws` offers, and what of that the server accepts. */
const OFFERS = [
  [true, ""],
  [{ threshold: 0 }, ""],
  [{ serverMaxWindowBits: 9 }, "; server_max_window_bits=9"],
  [{ serverMaxWindowBits: 12 }, "; server_max_window_bits=12"],
  [{ clientMaxWindowBits: 10, threshold: 0 }, "; client_max_window_bits=10"],
  [{ serverNoContextTakeover: true, clientNoContextTakeover: true, threshold: 0 }, ""],
  // Cannot be accepted.
  [{ serverMaxWindowBits: 8 }, undefined],
  [false, undefined],
];

/** JSON of some bytes, and something that does not become smaller. */
const texts = (count) => Array.from({ length: count }, (_, index) => `${index} héllo €😀 `.repeat(1 + index * 3));
const noise = Uint8Array.from({ length: 5000 }, (_, index) => (Math.imul(index + 1, 2654435761) >>> 13) & 255);

async function offers([perMessageDeflate, answer]) {
  const socket = new WebSocket(`${url}/socket.io/?EIO=4&transport=websocket`, { perMessageDeflate });
  const messages = [];
  let arrived = () => {};
  socket.on("message", (data, binary) => arrived(messages.push(binary ? data : data.toString())));
  const next = async () => {
    while (messages.length === 0) await new Promise((resolve) => (arrived = resolve));
    const message = messages.shift();
    return message === "2" ? next() : message;
  };
  let extension;
  socket.on("upgrade", (response) => (extension = response.headers["sec-websocket-extensions"]));
  assert.ok((await next()).startsWith("0{"));
  const accepted = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
  assert.equal(extension, answer === undefined ? undefined : accepted + answer);
  socket.send("40");
  assert.ok((await next()).startsWith("40{"));
  for (const text of texts(100)) {
    const event = `42${JSON.stringify(["echo", text])}`;
    socket.send(event);
    assert.equal(await next(), event);
  }
  socket.send('451-["echo",{"_placeholder":true,"num":0}]');
  socket.send(noise);
  await next();
  assert.deepEqual(new Uint8Array(await next()), noise);
  socket.close();
}

/** Runs with the client of a page or of Node.js: echoes, attachments, a broadcast to three. */
async function converse({ io, url, texts, noise, options }) {
  const once = (socket, event) => new Promise((resolve) => socket.once(event, (...args) => resolve(args)));
  const fail = (what) => {
    throw new Error(what);
  };
  const sockets = [0, 1, 2].map(() => io(url, { forceNew: true, ...options }));
  await Promise.all(sockets.map((socket) => once(socket, "connect")));
  const [socket] = sockets;
  for (const text of texts) {
    socket.emit("echo", text, { nested: [text] });
    const [back, object] = await once(socket, "echo");
    if (back !== text || object.nested[0] !== text) fail(`an echo of ${text.length} differs`);
  }
  for (const data of [noise, new Uint8Array(200_000).fill(7)]) {
    const back = new Uint8Array(await socket.timeout(60_000).emitWithAck("ack", data));
    if (back.length !== data.length || back.some((byte, index) => byte !== data[index])) fail("an ack differs");
  }
  for (const one of sockets) await one.timeout(60_000).emitWithAck("join", "room");
  for (const text of texts) {
    const heard = sockets.map((one) => once(one, "said"));
    socket.emit("say", "room", text);
    for (const [said, data] of await Promise.all(heard)) {
      if (said !== text || new Uint8Array(data)[2] !== 3) fail(`a broadcast of ${text.length} differs`);
    }
  }
  const extensions = sockets.map((one) => one.io.engine.transport.ws.extensions);
  sockets.forEach((one) => one.disconnect());
  return extensions;
}

async function inBrowser() {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"],
  });
  try {
    const page = await browser.newPage();
    page.setDefaultTimeout(60_000);
    await page.goto(`${url}/page`);
    await page.addScriptTag({ url: `${url}/socket.io/socket.io.js` });
    const extensions = await page.evaluate(
      `(${converse})({ io, url: ${JSON.stringify(url)}, texts: ${JSON.stringify(texts(40))},
        noise: Uint8Array.from(${JSON.stringify(Array.from(noise))}), options: { transports: ["websocket"] } })`,
    );
    for (const extension of extensions) assert.match(extension, /^permessage-deflate/);
  } finally {
    await browser.close();
  }
}

await Promise.all(OFFERS.map(offers));
for (const transports of [["websocket"], ["polling", "websocket"]]) {
  for (const perMessageDeflate of [{ threshold: 1024 }, { threshold: 0 }]) {
    const options = { transports, perMessageDeflate };
    const extensions = await converse({ io, url, texts: texts(60), noise, options });
    assert.ok(transports.length > 1 || extensions.every((extension) => extension.includes("permessage-deflate")));
  }
}
await inBrowser();
console.log("all offers, the client and a browser agree");
