// Two headless browsers hold a chat on the example's page, through a proxy that the test can cut. With a folder as the second argument,
// screenshots are saved there.
import assert from "node:assert/strict";
import { connect, createServer } from "node:net";
import { chromium } from "playwright-core";

const target = new URL(process.argv[2]);
const folder = process.argv[3];

/** A proxy that can be cut. */
const open = new Set();
const proxy = createServer((client) => {
  const server = connect(target.port, target.hostname);
  for (const [from, to] of [[client, server], [server, client]]) {
    open.add(from);
    from.pipe(to);
    from.on("error", () => {});
    from.on("close", () => { open.delete(from); to.destroy(); });
  }
});
const listen = (port) => new Promise((resolve) => proxy.listen(port, "127.0.0.1", resolve));
await listen(0);
const { port } = proxy.address();
const url = `http://127.0.0.1:${port}`;
const cut = () => new Promise((resolve) => {
  proxy.close(resolve);
  for (const socket of open) socket.destroy();
});

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"],
});

/** A visitor with cookies of its own. */
async function visit(name, options) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  page.on("pageerror", (error) => assert.fail(`${name}: ${error}`));
  page.on("request", (request) => assert.ok(/^(http:\/\/127\.0\.0\.1:|data:)/.test(request.url()), request.url()));
  await page.goto(url);
  await shot(page, `welcome of ${name}`);
  await page.fill("#name", name);
  await page.click("#login button");
  await page.waitForSelector("#rooms button[aria-pressed=true]");
  return page;
}

const shot = async (page, name) => folder && page.screenshot({ path: `${folder}/${name}.png` });
const text = (page, selector, expected) =>
  page.waitForFunction(
    ([selector, expected]) => document.querySelector(selector).textContent.includes(expected),
    [selector, expected],
  );
const say = async (page, message) => {
  await page.fill("#text", message);
  await page.press("#text", "Enter");
};

try {
  const ada = await visit("Ada", { viewport: { width: 1200, height: 800 }, colorScheme: "light" });
  await text(ada, "#names", "here: Ada");
  assert.ok(await ada.isVisible("#alone"));
  const bob = await visit("Bob", { viewport: { width: 390, height: 844 }, colorScheme: "dark", hasTouch: true, isMobile: true });
  await text(ada, "#names", "here: Ada, Bob");
  await text(bob, "#names", "here: Ada, Bob");
  await text(ada, "#messages .note", "Bob joined");
  await ada.waitForSelector("#alone", { state: "hidden" });

  await bob.type("#text", "héllo");
  await text(ada, "#typing", "Bob is typing");
  await bob.press("#text", "Enter");
  await text(ada, "#messages", "Bob héllo");
  await text(bob, "#messages", "Bob héllo");
  assert.equal(await ada.textContent("#typing"), "");
  assert.equal(await bob.locator(".own:not(.pending)").count(), 1);
  assert.equal(await ada.locator(".own").count(), 0);
  assert.match(await ada.getAttribute("#messages time", "datetime"), /^20\d\d-.*Z$/);

  await ada.fill("#text", "<b>not markup</b> 😀");
  await ada.click("#send button");
  await text(bob, "#messages", "Ada <b>not markup</b> 😀");
  await shot(ada, "desktop, light");

  // Another room: the messages of the first one are counted meanwhile, and are still there afterwards.
  await bob.click("#rooms button:has-text('garden')");
  await text(ada, "#names", "here: Ada");
  await text(ada, "#messages", "Bob left");
  await say(bob, "alone in the garden");
  await text(bob, "#messages", "alone in the garden");
  await ada.waitForSelector("#rooms button[aria-label='garden, 1 unread']");
  assert.match(await ada.title(), /^\(1\) lobby/);
  assert.ok(!(await ada.textContent("#messages")).includes("garden"));
  await say(ada, "are you still there?");
  await bob.waitForSelector("#rooms button[aria-label='lobby, 1 unread']");
  await shot(bob, "phone, dark, unread");
  await ada.click("#rooms button:has-text('garden')");
  await text(ada, "#messages", "Bob alone in the garden");
  await ada.waitForSelector("#rooms button[aria-label='garden']");
  for (const page of [ada, bob]) {
    await page.click("#rooms button:has-text('lobby')");
    await text(page, "#messages", "are you still there?");
  }

  // The keyboard suffices.
  await ada.focus("#invite");
  await ada.keyboard.press("Enter");
  await text(ada, "#address", "can only be reached from this computer");
  await shot(ada, "invitation");
  await ada.keyboard.press("Escape");
  await ada.waitForSelector("#invitation", { state: "hidden" });
  await ada.focus("#rooms button:nth-child(2)");
  await ada.keyboard.press("Enter");
  await ada.waitForSelector("#rooms button:nth-child(2)[aria-pressed=true]");
  await ada.focus("#rooms button:nth-child(1)");
  await ada.keyboard.press("Enter");
  await text(ada, "#names", "here: Ada, Bob");

  // The network fails. A message that is sent meanwhile waits, and arrives.
  await cut();
  await text(ada, "#state", "Connection lost");
  await text(bob, "#state", "Connection lost");
  await say(ada, "from a tunnel");
  await ada.waitForSelector(".pending");
  await shot(ada, "lost, desktop");
  await shot(bob, "lost, phone");
  await listen(port);
  await text(bob, "#messages", "Ada from a tunnel");
  await ada.waitForSelector(".pending", { state: "detached" });
  await ada.waitForFunction(() => document.querySelector("#state").textContent === "");
  assert.equal(await ada.locator(".own", { hasText: "from a tunnel" }).count(), 1);

  // On a phone everything is on the screen, and large enough for fingers.
  const { width, heights } = await bob.evaluate(() => ({
    width: document.documentElement.scrollWidth,
    heights: [...document.querySelectorAll("#chat button")].map((button) => button.offsetHeight).filter(Boolean),
  }));
  assert.ok(width <= 390, `the page is ${width} pixels wide`);
  assert.ok(Math.min(...heights) >= 44, `${heights}`);

  // Every control has a name, for screen readers.
  const nameless = await ada.evaluate(() =>
    [...document.querySelectorAll("button, input, nav, ol")].filter((element) =>
      !(element.ariaLabel || element.textContent.trim() || element.labels?.length)).map((element) => element.outerHTML));
  assert.deepEqual(nameless, []);

  // A long history: who reads above is not moved.
  for (let number = 0; number < 25; number++) await say(ada, `line ${number}`);
  await text(bob, "#messages", "line 24");
  await bob.evaluate(() => (document.querySelector("main").scrollTop = 0));
  await say(ada, "the newest");
  await bob.waitForSelector("#newer", { state: "visible" });
  assert.equal(await bob.evaluate(() => document.querySelector("main").scrollTop), 0);
  await shot(bob, "phone, newer");
  await bob.click("#newer");
  await bob.waitForSelector("#newer", { state: "hidden" });
  await shot(ada, "desktop, long");

  // The cookie outlives the page.
  await bob.reload();
  await text(ada, "#names", "here: Ada, Bob");
  await text(bob, "#messages", "the newest");
  await bob.click("#logout");
  await bob.waitForSelector("#login", { state: "visible" });
  await text(ada, "#names", "here: Ada");
  console.log("two browsers held a chat");
} finally {
  await browser.close();
  await cut();
}
