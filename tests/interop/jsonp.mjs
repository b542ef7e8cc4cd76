// Clients of several generations on a browser's page that polls by script elements and forms alone.
import assert from "node:assert/strict";
import { chromium } from "playwright-core";

const url = process.argv[2];
const clients = {
  1.3: "socket.io-client-1.3/socket.io.js",
  1.7: "socket.io-client-1.7/dist/socket.io.js",
  2.5: "socket.io-client-2.5/dist/socket.io.js",
  3.1: "socket.io-client-3.1/dist/socket.io.js",
};

/** Runs in the page: connects by JSONP, and gives back what came back. */
async function talk() {
  const socket = io(location.origin, { transports: ["polling"], forceJSONP: true, forceNew: true });
  const once = (event) =>
    new Promise((resolve, reject) => {
      setTimeout(() => reject(new Error(`no "${event}" in time`)), 60_000);
      socket.on(event, (...args) => resolve(args));
    });
  await once("connect");
  const echoed = once("echo");
  const text = "a b+c&d=e%41 \\n \n \\ 'é€😀' \u2028\u2029 </script>";
  socket.emit("echo", text, { list: [1, null] });
  const [echo, object] = await echoed;
  const binary = await new Promise((resolve) => socket.emit("ack", new Uint8Array([0, 1, 254, 255]).buffer, resolve));
  const scripts = document.querySelectorAll("script[src*='j=']").length;
  const transport = socket.io.engine.transport.name;
  socket.disconnect();
  return { same: echo === text, echo, object, binary: [...new Uint8Array(binary)], scripts, transport };
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"],
});
try {
  for (const [version, file] of Object.entries(clients)) {
    const page = await browser.newPage();
    page.on("pageerror", (error) => assert.fail(`${version}: ${error}`));
    await page.goto(url);
    await page.addScriptTag({ url: `${url}/clients/${file}` });
    const result = await page.evaluate(talk);
    assert.ok(result.same, `${version}: ${JSON.stringify(result.echo)}`);
    assert.deepEqual(result.object, { list: [1, null] });
    assert.deepEqual(result.binary, [0, 1, 254, 255]);
    assert.ok(result.scripts > 0, `${version} polls by script elements`);
    assert.equal(result.transport, "polling");
    await page.close();
    console.log(`socket.io-client ${version} by JSONP in a browser`);
  }
} finally {
  await browser.close();
}
