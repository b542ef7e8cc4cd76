// Two headless browsers hold a chat on the example's page.
import assert from "node:assert/strict";
import { chromium } from "playwright-core";

const url = process.argv[2];
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"],
});

/** A visitor with cookies of its own. */
async function visit(name, viewport) {
  const context = await browser.newContext({ viewport });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  page.on("pageerror", (error) => assert.fail(`${name}: ${error}`));
  await page.goto(url);
  await page.fill("#name", name);
  await page.click("#login button");
  await page.waitForSelector("#rooms button[aria-pressed=true]");
  return page;
}

const text = (page, selector, expected) =>
  page.waitForFunction(
    ([selector, expected]) => document.querySelector(selector).textContent.includes(expected),
    [selector, expected],
  );

try {
  const ada = await visit("Ada", { width: 1200, height: 800 });
  await text(ada, "#names", "here: Ada");
  const bob = await visit("Bob", { width: 390, height: 844 });
  await text(ada, "#names", "here: Ada, Bob");
  await text(bob, "#names", "here: Ada, Bob");

  await bob.type("#text", "héllo");
  await text(ada, "#typing", "Bob is typing");
  await bob.press("#text", "Enter");
  await text(ada, "#messages", "Bob héllo");
  await text(bob, "#messages", "Bob héllo");
  assert.equal(await ada.textContent("#typing"), "");

  await ada.fill("#text", "<b>not markup</b> 😀");
  await ada.click("#send button");
  await text(bob, "#messages", "Ada <b>not markup</b> 😀");

  await bob.click("#rooms button:text('garden')");
  await text(ada, "#names", "here: Ada");
  await bob.fill("#text", "alone in the garden");
  await bob.press("#text", "Enter");
  await text(bob, "#messages", "alone in the garden");
  assert.ok(!(await ada.textContent("#messages")).includes("garden"));

  // On a phone everything is on the screen.
  const width = await bob.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(width <= 390, `the page is ${width} pixels wide`);

  // The cookie outlives the page.
  await bob.reload();
  await text(ada, "#names", "here: Ada, Bob");
  await bob.click("#logout");
  await bob.waitForSelector("#login", { state: "visible" });
  await text(ada, "#names", "here: Ada");
  console.log("two browsers held a chat");
} finally {
  await browser.close();
}
