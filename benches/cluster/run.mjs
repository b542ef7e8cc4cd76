// Measures the CPU time of nodes for what they send one another: run.mjs BINARY [ADAPTER..]. Two of our nodes and two of Node.js, each
// pair with a broker, take turns.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { setTimeout } from "node:timers/promises";

import { startBroker } from "./brokers.mjs";

const { WebSocket } = createRequire(new URL("../../tests/cluster/package.json", import.meta.url))("ws");

const [binary, ...selected] = process.argv.slice(2);
const adapters = selected.length > 0 ? selected : ["redis", "redis-sharded", "redis-streams", "postgres", "nats"];
const ROUNDS = Number(process.env.ROUNDS ?? 3);
/** The indices of the workloads that are run, separated by commas. */
const WORKLOADS = process.env.WORKLOADS?.split(",").map(Number);
/** The unit of /proc, which Linux has fixed. */
const TICKS_PER_SECOND = 100;

/** One node, and its CPU time. */
class Node {
  #requests = new Map();
  #next = 0;
  #child;

  constructor(command, adapter, url) {
    const [program, ...args] = command;
    const env = { ...process.env, NODE_ENV: "production" };
    this.#child = spawn(program, [...args, adapter, url], { stdio: ["pipe", "pipe", "inherit"], env });
    const lines = createInterface({ input: this.#child.stdout });
    this.ready = once(lines, "line").then(([line]) => {
      this.port = JSON.parse(line).port;
      lines.on("line", (line) => {
        const { id, error } = JSON.parse(line);
        const { resolve, reject } = this.#requests.get(id);
        this.#requests.delete(id);
        error ? reject(new Error(error)) : resolve();
      });
    });
  }

  run(action) {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#requests.set(id, { resolve, reject });
      this.#child.stdin.write(JSON.stringify({ id, ...action }) + "\n");
    });
  }

  /** The CPU time of the process in microseconds, user and system. */
  cpu() {
    const stat = readFileSync(`/proc/${this.#child.pid}/stat`, "latin1");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return ((Number(fields[11]) + Number(fields[12])) * 1_000_000) / TICKS_PER_SECOND;
  }

  async stop() {
    this.#child.kill("SIGKILL");
    await once(this.#child, "exit");
  }
}

/** Clients in the room of a node, which do as little as possible. */
class Clients {
  received = 0;
  #sockets = [];

  async connect(node, count) {
    while (this.#sockets.length < count) {
      const socket = new WebSocket(`ws://127.0.0.1:${node.port}/socket.io/?EIO=4&transport=websocket`);
      this.#sockets.push(socket);
      await new Promise((connected, failed) => {
        socket.on("error", failed);
        socket.on("message", (data) => {
          const text = data.toString("latin1");
          if (text.startsWith("42[")) this.received++;
          else if (text.startsWith("42")) socket.send(`43${text.slice(2, text.indexOf("["))}["answer"]`);
          else if (text.startsWith("0")) socket.send("40");
          else if (text.startsWith("40")) connected();
          else if (text === "2") socket.send("3");
        });
      });
    }
  }

  async receive(count) {
    const end = performance.now() + 60_000;
    while (this.received < count) {
      if (performance.now() > end) throw new Error(`${this.received} messages of ${count} were received`);
      await setTimeout(5);
    }
  }
}

/** Two nodes, the second of which has clients. */
class Cluster {
  clients = new Clients();

  static async start(command, adapter) {
    const cluster = new Cluster();
    cluster.broker = await startBroker(adapter);
    cluster.nodes = [0, 1].map(() => new Node(command, adapter, cluster.broker.url));
    for (const node of cluster.nodes) await node.ready;
    await cluster.clients.connect(cluster.nodes[1], 1);
    // The nodes have found each other.
    for (let attempt = 0; ; attempt++) {
      try {
        await cluster.nodes[0].run({ action: "serverSideAsk", count: 1 });
        await cluster.nodes[0].run({ action: "fetch", count: 1, sockets: 1 });
        return cluster;
      } catch (error) {
        if (attempt === 50) throw error;
        await setTimeout(100);
      }
    }
  }

  /** Runs an action on a node. Returns the CPU time of both nodes for each operation, in microseconds. */
  async measure(node, action, operations, deliveries = 0) {
    const expected = this.clients.received + deliveries;
    const before = this.nodes.map((node) => node.cpu());
    await this.nodes[node].run(action);
    await this.clients.receive(expected);
    return this.nodes.map((node, index) => (node.cpu() - before[index]) / operations);
  }

  async stop() {
    for (const node of this.nodes) await node.stop();
    await this.broker.stop();
  }
}

const sum = ([sender, receiver]) => sender + receiver;
const scale = (adapter) => (adapter === "postgres" ? 0.25 : 1);

/** Broadcasts from one node to the clients of the other, and within the latter. The adapter makes the difference. */
async function compareToLocal(cluster, count, rate, clients) {
  const action = { action: "broadcast", count, rate };
  const [, remote] = await cluster.measure(0, { ...action, local: false }, count, count * clients);
  const [, local] = await cluster.measure(1, { ...action, local: true }, count, count * clients);
  return {
    [`received broadcast to ${clients}`]: remote,
    [`local broadcast to ${clients}`]: local,
    [`difference to ${clients}`]: remote - local,
  };
}

/** What is measured, with this number of clients. `run` returns rows of the table with their values. */
const workloads = [
  {
    clients: 1,
    async run(cluster, adapter) {
      const count = 20_000 * scale(adapter);
      const action = { action: "broadcast", count, rate: 5_000 * scale(adapter), local: false };
      const [sender, receiver] = await cluster.measure(0, action, count, count);
      return { "message, sender": sender, "message, receiver": receiver, "message, both": sender + receiver };
    },
  },
  {
    clients: 1,
    async run(cluster) {
      const count = 2_000;
      return {
        emit_with_ack: sum(await cluster.measure(0, { action: "ask", count }, count)),
        server_side_emit_with_ack: sum(await cluster.measure(0, { action: "serverSideAsk", count }, count)),
      };
    },
  },
  {
    clients: 1,
    onlyOurs: true,
    run: (cluster, adapter) => compareToLocal(cluster, 20_000 * scale(adapter), 5_000 * scale(adapter), 1),
  },
  {
    clients: 100,
    async run(cluster) {
      const count = 500;
      return { "fetch_sockets of 100": sum(await cluster.measure(0, { action: "fetch", count, sockets: 100 }, count)) };
    },
  },
  { clients: 100, onlyOurs: true, run: (cluster) => compareToLocal(cluster, 1_000, 500, 100) },
];

function median(values) {
  values.sort((a, b) => a - b);
  const middle = (values.length - 1) / 2;
  return (values[Math.floor(middle)] + values[Math.ceil(middle)]) / 2;
}

async function compare(adapter) {
  const commands = { ours: [binary] };
  if (adapter !== "nats") commands.node = [process.execPath, fileURLToPath(new URL("node.mjs", import.meta.url))];
  const clusters = {};
  const results = {};
  try {
    for (const name in commands) clusters[name] = await Cluster.start(commands[name], adapter);
    for (const { clients, onlyOurs, run } of WORKLOADS?.map((index) => workloads[index]) ?? workloads) {
      const contestants = onlyOurs ? ["ours"] : Object.keys(clusters);
      for (const name of contestants) await clusters[name].clients.connect(clusters[name].nodes[1], clients);
      // The first round warms up.
      for (let round = 0; round <= ROUNDS; round++) {
        for (const name of contestants) {
          for (const [row, value] of Object.entries(await run(clusters[name], adapter))) {
            if (round > 0) ((results[row] ??= {})[name] ??= []).push(value);
          }
        }
      }
    }
  } finally {
    for (const cluster of Object.values(clusters)) await cluster.stop();
  }
  for (const [row, { ours, node }] of Object.entries(results)) {
    const [a, b] = [median(ours), node && median(node)];
    const ratio = node ? (a / b).toFixed(2) : "-";
    console.log(`| ${adapter} | ${row} | ${a.toFixed(1)} | ${node ? b.toFixed(1) : "-"} | ${ratio} |`);
  }
}

console.log("| adapter | operation | ours, µs | Node.js, µs | ratio |\n|---|---|--:|--:|--:|");
for (const adapter of adapters) await compare(adapter);
// The connections of clients would keep the process alive.
process.exit();
