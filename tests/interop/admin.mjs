// The admin UI, from npm, in a headless browser. It watches two servers of a cluster, of which the first one also serves it.
import assert from "node:assert/strict";
import { chromium } from "playwright-core";
import { io } from "socket.io-client-4";

const [first, second] = process.argv.slice(2);
const deadline = { timeout: 60_000 };

/** A client of a server, which is connected. */
async function connect(url) {
  const socket = io(url, { transports: ["websocket"], forceNew: true, reconnection: false });
  await new Promise((resolve, reject) => socket.once("connect", resolve).once("connect_error", reject));
  return socket;
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"],
});

try {
  const context = await browser.newContext({ viewport: { width: 1500, height: 1000 } });
  // The UI asks other hosts for fonts and icons.
  await context.route("**/*", (route) => (route.request().url().startsWith(first) ? route.continue() : route.abort()));
  const page = await context.newPage();
  page.setDefaultTimeout(deadline.timeout);
  page.on("pageerror", (error) => assert.fail(`the UI failed: ${error.stack}`));
  const text = (...parts) => Promise.all(parts.map((part) => page.getByText(part).first().waitFor()));
  /** Opens a page, and waits until the one before is gone. */
  const open = async (name) => {
    await page.evaluate((hash) => (location.hash = hash), `#/${name.toLowerCase()}/`);
    await page.waitForFunction((name) => {
      const titles = [...document.querySelectorAll(".v-breadcrumbs")].map((title) => title.innerText.trim());
      return titles.length === 1 && titles[0] === name;
    }, name);
  };
  const row = (...parts) => parts.reduce((rows, hasText) => rows.filter({ hasText }), page.locator("tbody tr:visible")).first();
  const showPages = (parts) => Promise.all(parts.map((part) => row(part).waitFor()));

  const here = await connect(first);
  const there = await connect(second);
  await there.emitWithAck("join", "lobby");

  await page.goto(`${first}/admin-ui`);
  await page.getByLabel("Server URL").fill(first);
  await page.getByLabel("Username").fill("admin");
  await page.getByLabel("Password").fill("wrong");
  await page.click("button[type=submit]");
  await text("Invalid credentials");
  await page.getByLabel("Password").fill("correct horse");
  await page.click("button[type=submit]");
  await page.waitForSelector("form", { state: "hidden" });

  await open("Servers");
  await showPages(["node-1", "node-2"]);
  await text("HEALTHY");
  await page.getByText("Dashboard").click();
  await text("Connection and disconnection events", "Namespaces");

  await open("Sockets");
  await showPages([here.id, there.id]);

  // A socket of the other server joins a room and leaves it.
  await row(there.id).click();
  await text("Initial HTTP request", "lobby", "[redacted]");
  await page.getByLabel("Join a room").fill("garden");
  await page.keyboard.press("Enter");
  await page.locator("button:has(.mdi-tag-plus-outline)").click();
  await row("garden").waitFor();
  await open("Rooms");
  await showPages(["garden", "lobby"]);
  // The button also opens the page of its row.
  await row("garden").locator("button:has(.mdi-tag-off-outline)").click();
  await text("Room details", "Deleted");

  await open("Events");
  here.emit("echo", "héllo");
  there.emit("echo", "there");
  await row(there.id, "echo").waitFor();
  await row(here.id, "echo").locator("button").click();
  await text("héllo");

  // A client disappears when it leaves.
  const visitor = await connect(second);
  const { id } = visitor;
  await open("Sockets");
  await row(id).waitFor();
  visitor.disconnect();
  await row(id).waitFor({ state: "detached" });

  await open("Clients");
  assert.equal(await page.locator("tbody tr").filter({ hasText: "127.0.0.1" }).count(), 3);

  // The session survives a reload.
  await page.reload();
  await open("Sockets");
  await showPages([here.id, there.id]);
  assert.equal(await page.locator("form").count(), 0);

  for (const socket of [here, there]) {
    const { id } = socket;
    const disconnected = new Promise((resolve) => socket.once("disconnect", resolve));
    await open("Sockets");
    await row(id).locator("button:has(.mdi-logout)").click();
    assert.equal(await disconnected, "io server disconnect");
    await open("Sockets");
    await row(id).waitFor({ state: "detached" });
  }
  console.log("the admin UI has shown two servers");
} finally {
  await browser.close();
}
process.exit();
