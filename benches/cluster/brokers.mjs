// Brokers, each a process on a free port with a folder for its data.

import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";

import { postgres } from "../../tests/cluster/brokers.mjs";

const isRoot = process.getuid() === 0;

/** The arguments that run a program of the newest PostgreSQL. It refuses to run as root. */
function postgresql(program) {
  const versions = readdirSync("/usr/lib/postgresql").map(Number).sort((a, b) => b - a);
  const path = `/usr/lib/postgresql/${versions[0]}/bin/${program}`;
  return isRoot ? ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--", path] : [path];
}

const redis = {
  command: (folder, port) => ["redis-server", "--bind", "127.0.0.1", "--port", port, "--dir", folder, "--save", ""],
  url: (port) => `redis://127.0.0.1:${port}`,
};
const kinds = {
  redis,
  "redis-sharded": redis,
  "redis-streams": redis,
  postgres: {
    prepare(folder) {
      const data = join(folder, "data");
      mkdirSync(data);
      if (isRoot) chownSync(data, ...["-u", "-g"].map((flag) => Number(execFileSync("id", [flag, "postgres"]))));
      const [program, ...args] = postgresql("initdb");
      const options = ["--no-sync", "--no-locale", "--encoding=UTF8", "--username=postgres", "--auth=trust"];
      execFileSync(program, [...args, ...options, "--pgdata", data], { cwd: "/" });
    },
    command: (folder, port) => [
      ...postgresql("postgres"),
      ...["-D", join(folder, "data"), "-p", port, "-k", "", "-F", "-c", "listen_addresses=127.0.0.1"],
    ],
    url: (port) => `postgres://postgres@127.0.0.1:${port}/postgres`,
    async started(url) {
      const pool = await postgres(url);
      // Node's adapter expects it.
      const columns = "id bigserial UNIQUE, created_at timestamptz DEFAULT NOW(), payload bytea";
      await pool.query(`CREATE TABLE IF NOT EXISTS socket_io_attachments (${columns})`);
      await pool.end();
    },
    // An immediate shutdown, which also ends the processes of sessions.
    signal: "SIGQUIT",
  },
  nats: {
    command: (_, port) => ["/usr/sbin/nats-server", "--addr", "127.0.0.1", "--port", port],
    url: (port) => `nats://127.0.0.1:${port}`,
  },
};

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  await new Promise((closed) => server.close(closed));
  return port;
}

async function accepts(port) {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/** Starts the broker of an adapter. Returns its URL, and a function that ends it. */
export async function startBroker(adapter) {
  const { prepare, command, url, started, signal = "SIGKILL" } = kinds[adapter];
  const folder = mkdtempSync(join(tmpdir(), "bench-cluster-"));
  chmodSync(folder, 0o755);
  prepare?.(folder);
  const port = await freePort();
  const [program, ...args] = command(folder, String(port));
  const child = spawn(program, args, { cwd: "/", stdio: "ignore" });
  const exited = once(child, "exit");
  const stop = async () => {
    child.kill(signal);
    await exited;
    rmSync(folder, { recursive: true, force: true });
  };
  for (let attempt = 0; attempt < 300; attempt++) {
    if (child.exitCode !== null) break;
    if (await accepts(port)) {
      try {
        await started?.(url(port));
        return { url: url(port), stop };
      } catch {
        // It does not serve yet.
      }
    }
    await setTimeout(100);
  }
  await stop();
  throw new Error(`${program} does not start`);
}
