// Clients of Engine.IO, of each generation and over each transport, against an echo server without Socket.IO.

import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const [origin] = process.argv.slice(2);

const clients = {
  "6.6": (options) => new (require("engine.io-client-6").Socket)(origin, options),
  3.5: (options) => require("engine.io-client-3")(origin, options),
  1.8: (options) => require("engine.io-client-1")(origin, options),
};
const transports = { polling: ["polling"], websocket: ["websocket"], upgrade: ["polling", "websocket"] };
const messages = ["ascii", "hé€😀", "", "ÿ \u0000 \u2028", Buffer.from([0, 1, 2, 254, 255]), Buffer.alloc(0), "中文".repeat(40_000)];

// To its parser, a message without data is one of no type.
const toBuffer = (data) => (data instanceof ArrayBuffer ? Buffer.from(data) : (data ?? ""));
const same = (a, b) => (typeof a === "string" ? a === b : Buffer.isBuffer(b) && a.equals(b));

async function echo(version, transport) {
  const socket = clients[version]({ path: "/engine.io/", transports: transports[transport] });
  const failed = (what) => new Error(`${version} over ${transport}: ${what}`);
  const received = [];
  await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(failed(`silence after ${received.length} messages`)), 60_000);
    let expected = messages.length;
    socket.on("error", (error) => reject(failed(error.description ?? error)));
    socket.on("close", (reason) => reject(failed(`closed: ${reason}`)));
    const send = () => messages.forEach((message) => socket.send(message));
    socket.on("open", () => (transport === "upgrade" ? undefined : send()));
    socket.on("upgrade", send);
    socket.on("message", (data) => {
      received.push(toBuffer(data));
      if (received.length === expected) {
        clearTimeout(timer);
        resolve();
      }
    });
  });
  messages.forEach((message, index) => {
    if (!same(message, received[index])) throw failed(`message ${index} came back as ${received[index]?.slice?.(0, 40)}`);
  });
  await new Promise((resolve) => {
    socket.removeAllListeners("close");
    socket.on("close", resolve);
    socket.close();
  });
}

for (const version of Object.keys(clients)) {
  for (const transport of Object.keys(transports)) {
    await echo(version, transport);
    console.log(`${version} over ${transport}: ${messages.length} messages`);
  }
}
process.exit(0);
