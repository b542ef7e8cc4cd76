// The JavaScript client on a page in Chromium, over WebTransport.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { chromium } from "playwright-core";

const [url, blocked, certificate, example] = process.argv.slice(2);
const hash = [...createHash("sha256").update(Buffer.from(certificate, "base64")).digest()];
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"],
});
const context = await browser.newContext();

/** Opens a page with the functions that the tests call in it. */
async function visit(address = url) {
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  await page.goto(address);
  await page.evaluate((hash) => {
    /** Creates a client that remembers what happens to it. */
    window.connect = (name, transports, options = {}) => {
      const value = new Uint8Array(options.hash ?? hash);
      const serverCertificateHashes = [{ algorithm: "sha-256", value }];
      const socket = io({
        forceNew: true,
        reconnection: false,
        transports,
        auth: { name },
        transportOptions: { webtransport: { serverCertificateHashes } },
        ...options,
      });
      socket.upgraded = new Promise((resolve) => {
        socket.io.on("open", () => socket.io.engine.on("upgrade", (transport) => resolve(transport.name)));
      });
      socket.upgradeError = new Promise((resolve) => {
        socket.io.on("open", () => socket.io.engine.on("upgradeError", () => resolve("upgrade error")));
      });
      window.socket = socket;
      return socket;
    };
    window.once = (socket, event) => new Promise((resolve) => socket.once(event, (...args) => resolve(args)));
    window.connected = async (...args) => {
      const socket = connect(...args);
      const error = new Promise((_, reject) => socket.once("connect_error", reject));
      await Promise.race([once(socket, "connect"), error]);
      return socket;
    };
    /** Sends binary of different lengths, and returns whether it came back. */
    window.echoes = async (socket, lengths) => {
      for (const length of lengths) {
        const data = new Uint8Array(length).fill(7);
        const echo = once(socket, "echo");
        socket.emit("echo", length, data);
        for (const [number, back] of [await echo, await socket.emitWithAck("ack", [length, data])]) {
          const bytes = new Uint8Array(back);
          if (number !== length || bytes.length !== length || !bytes.every((byte) => byte === 7)) return false;
        }
      }
      return true;
    };
  }, hash);
  return page;
}

/** Returns the server's reason for the end of a client. */
const reason = async (name, address = url) => (await fetch(`${address}/reason/${name}`)).text();

/** Runs a test, and prints how long it took. */
async function test(name, run) {
  const begun = performance.now();
  const page = await visit();
  await run(page);
  await page.close();
  console.log(`${name}: ${Math.round(performance.now() - begun)} ms`);
}

try {
  await test("a direct connection", async (page) => {
    const [transport, ours, echoed] = await page.evaluate(async () => {
      const socket = await connected("direct", ["webtransport"]);
      const lengths = [0, 1, 125, 126, 65_535, 65_536, 900_000];
      return [await socket.emitWithAck("transport"), socket.io.engine.transport.name, await echoes(socket, lengths)];
    });
    assert.deepEqual([transport, ours, echoed], ["webtransport", "webtransport", true]);
  });

  await test("the last packets before a disconnection", async (page) => {
    const end = await page.evaluate(async () => {
      const socket = await connected("kicked", ["webtransport"]);
      const [last, end] = [once(socket, "last"), once(socket, "disconnect")];
      socket.emit("kick");
      return [(await last)[0], (await end)[0]];
    });
    assert.deepEqual(end, ["words", "io server disconnect"]);
    assert.equal(await reason("kicked"), "server namespace disconnect");
  });

  await test("an upgrade from long-polling", async (page) => {
    const [upgraded, transport, numbers] = await page.evaluate(async () => {
      const socket = await connected("upgraded", ["polling", "webtransport"]);
      const numbers = [];
      const last = new Promise((resolve) => {
        socket.on("echo", (number) => numbers.push(number) === 50 && resolve());
      });
      for (let number = 0; number < 50; number++) {
        socket.emit("echo", number);
        if (number % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
      }
      const upgraded = await socket.upgraded;
      await last;
      return [upgraded, await socket.emitWithAck("transport"), numbers];
    });
    assert.deepEqual([upgraded, transport], ["webtransport", "webtransport"]);
    assert.deepEqual(numbers, Array.from({ length: 50 }, (_, number) => number));
  });

  await test("all transports", async (page) => {
    const [upgraded, transport, echoed] = await page.evaluate(async () => {
      const socket = await connected("all", ["polling", "websocket", "webtransport"]);
      const upgraded = await socket.upgraded;
      return [upgraded, await socket.emitWithAck("transport"), await echoes(socket, [0, 1000])];
    });
    assert.ok(["websocket", "webtransport"].includes(upgraded), upgraded);
    assert.deepEqual([transport, echoed], [upgraded, true]);
  });

  await test("a client that disconnects", async (page) => {
    await page.evaluate(async () => (await connected("leaves", ["webtransport"])).disconnect());
    assert.equal(await reason("leaves"), "client namespace disconnect");
    await page.evaluate(async () => (await connected("closes", ["webtransport"])).io.engine.close());
    assert.equal(await reason("closes"), "transport close");
  });

  await test("a page that is reloaded", async (page) => {
    await page.evaluate(async () => void (await connected("reloads", ["webtransport"])));
    await page.reload();
    assert.equal(await reason("reloads"), "transport close");
  });

  const page = await visit();
  await page.evaluate(async () => void (await connected("tab", ["webtransport"])));
  const begun = performance.now();
  await page.close();
  assert.equal(await reason("tab"), "transport close");
  console.log(`a tab that is closed: noticed after ${Math.round(performance.now() - begun)} ms`);

  await test("a certificate with another hash", async (page) => {
    const failed = await page.evaluate(async (hash) => {
      const socket = connect("wrong", ["webtransport"], { hash });
      return (await once(socket, "connect_error"))[0].message;
    }, hash.map((byte) => byte ^ 1));
    assert.equal(failed, "webtransport error");
    const [error, transport] = await page.evaluate(async (hash) => {
      const socket = await connected("stays", ["polling", "webtransport"], { hash });
      return [await socket.upgradeError, await socket.emitWithAck("transport")];
    }, hash.map((byte) => byte ^ 1));
    assert.deepEqual([error, transport], ["upgrade error", "polling"]);
    const fallback = await page.evaluate(async (hash) => {
      const options = { hash, tryAllTransports: true };
      const socket = await connected("falls back", ["webtransport", "websocket"], options);
      return socket.emitWithAck("transport");
    }, hash.map((byte) => byte ^ 1));
    assert.equal(fallback, "websocket");
  });

  {
    const page = await visit(blocked);
    const [upgraded, transport, echoed] = await page.evaluate(async () => {
      const socket = await connected("blocked", ["polling", "websocket", "webtransport"]);
      const upgraded = await socket.upgraded;
      return [upgraded, await socket.emitWithAck("transport"), await echoes(socket, [1000])];
    });
    assert.deepEqual([upgraded, transport, echoed], ["websocket", "websocket", true]);
    const polling = await page.evaluate(async () => {
      const socket = await connected("blocked too", ["polling", "webtransport"]);
      return [await socket.emitWithAck("transport"), await echoes(socket, [1000])];
    });
    assert.deepEqual(polling, ["polling", true]);
    await page.close();
    console.log("a network that drops UDP");
  }

  {
    const page = await context.newPage();
    page.setDefaultTimeout(60_000);
    for (const address of [example, `${example}?direct`]) {
      await page.goto(address);
      await page.waitForFunction(() => document.querySelector("#transport").textContent === "webtransport");
      await page.click("button");
      await page.waitForFunction(() => document.querySelector("#echo").textContent === "hello");
    }
    await page.close();
    console.log("the example");
  }
} finally {
  await browser.close();
}
