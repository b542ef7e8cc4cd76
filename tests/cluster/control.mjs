// A program that is controlled by JSON lines: {id, ..request} on stdin, {id, result} or {id, error} on stdout. Bytes are {"$bytes": hex}.

import { createInterface } from "node:readline";

const isObject = (value) => typeof value === "object" && value !== null;
const mapObject = (value, f) => Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, f(entry)]));

/** Replaces the bytes of a request with buffers. */
export function decode(value) {
  if (Array.isArray(value)) return value.map(decode);
  if (!isObject(value)) return value;
  return "$bytes" in value ? Buffer.from(value.$bytes, "hex") : mapObject(value, decode);
}

/** Replaces the bytes of a result with text. */
function encode(value) {
  if (value instanceof Uint8Array) return { $bytes: Buffer.from(value).toString("hex") };
  if (Array.isArray(value)) return value.map(encode);
  return isObject(value) ? mapObject(value, encode) : value;
}

const print = (line) => process.stdout.write(JSON.stringify(line) + "\n");

/** Says that the program is ready, and answers requests until stdin ends. */
export function serve(ready, run) {
  createInterface({ input: process.stdin })
    .on("line", async (line) => {
      const { id, ...request } = JSON.parse(line);
      try {
        print({ id, result: encode((await run(decode(request))) ?? null) });
      } catch (error) {
        print({ id, error: String(error?.stack ?? error) });
      }
    })
    .on("close", () => process.exit());
  print(ready);
}
