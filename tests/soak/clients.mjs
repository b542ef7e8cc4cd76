// Clients of one generation, behind a network that breaks, against the server of soaked.rs.
//
//     node clients.mjs URL PACKAGE FIRST COUNT
//
// Each prints what it received once the server says that this was all.
import { createRequire } from "node:module";

const [url, name, first, count] = process.argv.slice(2);
const require = createRequire(new URL("../interop/package.json", import.meta.url));
const client = require(name);
const io = client.io ?? client;
process.noDeprecation = true;

const TRANSPORTS = [["polling"], ["websocket"], ["polling", "websocket"]];

/** Numbers in the order in which they came, each run of consecutive ones as its first and its last. */
class Ranges extends Array {
  add(number) {
    const last = this.at(-1);
    if (last?.[1] === number - 1) last[1] = number;
    else this.push([number, number]);
  }
}

function begin(number) {
  const socket = io(url, {
    transports: TRANSPORTS[number % TRANSPORTS.length],
    query: { client: String(number) },
    forceNew: true,
    reconnectionDelay: 20,
    reconnectionDelayMax: 200,
    timeout: 3000,
  });
  // By stream, for each session: a new one begins whenever the client connects and is not recovered.
  const streams = {};
  const report = { client: number, connects: 0, recovered: 0, corrupt: 0, streams, acked: new Ranges(), asked: new Ranges() };
  let session = 0;
  let next = 0;
  let waiting = 0;

  socket.on("connect", () => {
    report.connects += 1;
    waiting = 0;
    if (socket.recovered) report.recovered += 1;
    else session += 1;
  });
  socket.on("said", (stream, n, data) => {
    const sessions = (streams[stream] ??= {});
    (sessions[session] ??= new Ranges()).add(n);
    if (n % 10 === 0) check(data, n, 3000);
    else if (n % 10 === 5 && data.length !== 20000) report.corrupt += 1;
  });
  socket.on("asked", (n, answer) => {
    report.asked.add(n);
    answer(n);
  });
  const check = (data, n, length) => {
    const bytes = new Uint8Array(data);
    if (bytes.length !== length || bytes.some((byte) => byte !== n % 256)) report.corrupt += 1;
  };
  const speaking = setInterval(() => {
    // What is emitted while there is no connection is sent on the next one.
    const n = next++;
    const length = n % 20 === 0 ? 5000 : 10;
    waiting += 1;
    socket.emit("did", n, Buffer.alloc(length, n % 256), (answer, data) => {
      waiting -= 1;
      if (answer !== n) report.corrupt += 1;
      check(data, n, length);
      report.acked.add(n);
    });
  }, 100);
  return new Promise((resolve) => {
    socket.on("end", async (last) => {
      clearInterval(speaking);
      for (let tries = 0; waiting > 0 && tries < 100; tries++) await new Promise((later) => setTimeout(later, 50));
      socket.disconnect();
      resolve({ ...report, sent: next, last });
    });
  });
}

const numbers = Array.from({ length: Number(count) }, (_, index) => Number(first) + index);
const reports = await Promise.all(numbers.map(begin));
process.stdout.write(JSON.stringify(reports) + "\n", () => process.exit());
