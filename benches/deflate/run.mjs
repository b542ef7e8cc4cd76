// Measures the CPU time of a server that compresses, and the bytes of its messages: run.mjs BINARY.
//
// The clients are as cheap as possible: they compress their messages once, in advance, and do not decompress those that they get.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { deflateRawSync, constants } from "node:zlib";

const [binary] = process.argv.slice(2);
const node = [process.execPath, fileURLToPath(new URL("node.mjs", import.meta.url))];
const SERVERS = {
  "no compression": [binary, "off"],
  "level 1": [binary, "1"],
  "level 3": [binary, "3"],
  "Node, no compression": [...node, "off"],
  "Node, `true`": [...node, "on"],
};
/** Above the threshold. */
const SIZES = { "1 kB": 1024, "10 kB": 10_240 };
/** The unit of /proc, which Linux has fixed. */
const TICKS_PER_SECOND = 100;
const MEMBERS = 500;

/** Numbers without a pattern, the same in each run. */
let state = 88172645463325252n;
function random(limit) {
  state = BigInt.asUintN(64, state ^ (state << 13n));
  state ^= state >> 7n;
  state = BigInt.asUintN(64, state ^ (state << 17n));
  return Number(state % BigInt(limit));
}

/** JSON as applications have it: numbers, words, times and coordinates. */
function json(size) {
  const words = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel"];
  const users = [];
  while (JSON.stringify(users).length < size) {
    const name = `${words[random(8)]} ${words[random(8)]}`;
    const time = new Date(1_700_000_000_000 + random(10_000_000_000));
    users.push({ id: random(100_000), name, lat: random(180_000_000) / 1e6, lon: random(180_000_000) / 1e6, time, ok: random(2) === 1 });
  }
  return JSON.stringify(users);
}

/** The frame of a text, compressed if the client may do so. The mask is zero. */
function frame(text, compressed) {
  let payload = Buffer.from(text);
  if (compressed) payload = deflateRawSync(payload, { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4);
  const header = payload.length < 126 ? Buffer.alloc(6) : Buffer.alloc(8);
  header[0] = compressed ? 0xc1 : 0x81;
  header[1] = 0x80 | (payload.length < 126 ? payload.length : 126);
  if (payload.length >= 126) header.writeUInt16BE(payload.length, 2);
  return Buffer.concat([header, payload]);
}

/** A client that counts frames. */
class Client {
  frames = 0;
  bytes = 0;
  onFrame = () => {};
  #rest = Buffer.alloc(0);

  async join(port) {
    this.socket = connect(port, "127.0.0.1").setNoDelay();
    this.socket.write(
      "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n",
    );
    let head = Buffer.alloc(0);
    while (!head.includes("\r\n\r\n")) head = Buffer.concat([head, (await once(this.socket, "data"))[0]]);
    this.compresses = head.toString("latin1").toLowerCase().includes("\r\nsec-websocket-extensions: permessage-deflate");
    this.socket.on("data", (data) => this.#read(data));
    this.#read(head.subarray(head.indexOf("\r\n\r\n") + 4));
    this.socket.write(frame("40", false));
    while (this.frames < 2) await new Promise((resolve) => (this.onFrame = resolve));
  }

  #read(data) {
    let rest = this.#rest.length > 0 ? Buffer.concat([this.#rest, data]) : data;
    while (rest.length >= 2) {
      const [start, length] =
        rest[1] < 126 ? [2, rest[1]] : rest.length < 10 ? [10, 0] : rest[1] === 126 ? [4, rest.readUInt16BE(2)] : [10, Number(rest.readBigUInt64BE(2))];
      if (rest.length < start + length) break;
      this.bytes += start + length;
      this.frames++;
      rest = rest.subarray(start + length);
      this.onFrame();
    }
    this.#rest = rest;
  }
}

/** Returns the CPU time of a process in microseconds, user and system. */
function cpu({ pid }) {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return ((Number(fields[11]) + Number(fields[12])) * 1_000_000) / TICKS_PER_SECOND;
}

function memory({ pid }) {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "latin1"))[1]) / 1024;
}

/** Each client sends a message, and another one when that has been answered. */
async function echo(server, clients, texts, rounds) {
  const frames = texts.map((text) => frame(`420["echo",${text}]`, clients[0].compresses));
  const run = (rounds) =>
    Promise.all(
      clients.map(async (client) => {
        for (let round = 0; round < rounds; round++) {
          const answered = new Promise((resolve) => (client.onFrame = resolve));
          client.socket.write(frames[round % frames.length]);
          await answered;
        }
      }),
    );
  await run(50);
  const [time, bytes] = [cpu(server), total(clients)];
  await run(rounds);
  const count = rounds * clients.length;
  return [(cpu(server) - time) / count, (total(clients) - bytes) / count];
}

/** One client asks for a broadcast, and for another one when all have got it. */
async function broadcast(server, clients, texts, rounds) {
  const frames = texts.map((text) => frame(`42["broadcast",${text}]`, clients[0].compresses));
  let missing;
  let done;
  for (const client of clients) client.onFrame = () => --missing === 0 && done();
  const run = async (rounds) => {
    for (let round = 0; round < rounds; round++) {
      missing = clients.length;
      const all = new Promise((resolve) => (done = resolve));
      clients[0].socket.write(frames[round % frames.length]);
      await all;
    }
  };
  await run(20);
  const [time, bytes] = [cpu(server), total(clients)];
  await run(rounds);
  return [(cpu(server) - time) / rounds, (total(clients) - bytes) / rounds / clients.length];
}

const total = (clients) => clients.reduce((sum, client) => sum + client.bytes, 0);

console.log("| server | message | echo: CPU | bytes | broadcast to 500: CPU | bytes for each | memory |");
console.log("|---|---|--:|--:|--:|--:|--:|");
for (const [name, size] of Object.entries(SIZES)) {
  const texts = Array.from({ length: 50 }, () => json(size));
  for (const [server, [program, ...args]] of Object.entries(SERVERS)) {
    const process_ = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, NODE_ENV: "production" } });
    const [port] = await once(createInterface({ input: process_.stdout }), "line");
    const clients = Array.from({ length: MEMBERS }, () => new Client());
    for (const client of clients) await client.join(Number(port));
    const echoed = await echo(process_, clients.slice(0, 16), texts, size < 5000 ? 400 : 150);
    const cast = await broadcast(process_, clients, texts, size < 5000 ? 200 : 100);
    const times = [`${echoed[0].toFixed(0)} µs`, echoed[1].toFixed(0), `${(cast[0] / 1000).toFixed(1)} ms`, cast[1].toFixed(0)];
    console.log(`| ${server} | ${name} | ${times.join(" | ")} | ${memory(process_).toFixed(0)} MB |`);
    for (const client of clients) client.socket.destroy();
    process_.kill("SIGKILL");
    await once(process_, "exit");
  }
}
