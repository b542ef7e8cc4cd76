// Two headless browsers exchange private messages on the example's page.
import assert from "node:assert/strict";
import { chromium } from "playwright-core";

const url = process.argv[2];
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"],
});

async function visit(name) {
  const context = await browser.newContext();
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  page.on("pageerror", (error) => assert.fail(`${name}: ${error}`));
  page.on("response", (response) => response.status() === 404 && assert.fail(`${name}: ${response.url()}`));
  await page.goto(url);
  assert.ok(await page.isVisible("#login"));
  assert.ok(!(await page.isVisible("main")));
  await page.fill("#name", name);
  await page.click("#login button");
  await page.waitForSelector("main", { state: "visible" });
  // What a user has joined with is not asked for again.
  await page.waitForSelector("#login", { state: "hidden" });
  return page;
}

try {
  const ada = await visit("Ada");
  assert.equal(await ada.getAttribute("#text", "placeholder"), "choose a user above");
  const bob = await visit("Bob");
  await ada.click("#users button:text('Bob')");
  assert.equal(await ada.getAttribute("#text", "placeholder"), "message to Bob");
  await ada.fill("#text", "hello");
  await ada.press("#text", "Enter");
  await bob.click("#users button:text('Ada')");
  await bob.waitForSelector("#messages div:text('hello')");
  // The session is kept by the browser.
  await bob.reload();
  await bob.waitForSelector("main", { state: "visible" });
  assert.ok(!(await bob.isVisible("#login")));
  console.log("two browsers exchanged private messages");
} finally {
  await browser.close();
}
