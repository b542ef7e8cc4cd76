// Every kind of type, as a client uses it.

import { io, type Socket } from "socket.io-client";
import type { ClientToServerEvents, EventError, File, JsonValue, ServerToClientEvents } from "./events";

const socket: Socket<ServerToClientEvents, ClientToServerEvents> = io();

socket.on("file", (file, count, raw) => {
  const tag: string | undefined = file.tags[0];
  const parent: File<string> | null = file.parent;
  const more: JsonValue = file.more;
  const bytes: Uint8Array = raw instanceof ArrayBuffer ? new Uint8Array(raw) : raw;
  const next: number = count + 1;
  console.log(tag, parent, more, bytes, next);
});
socket.on("anything", (value, pair, callback) => {
  const unknown: string = typeof value === "string" ? value : "";
  const [number, bool]: [number, boolean] = pair;
  callback(number, `${unknown}${bool}`);
});
socket.on("done?", (callback) => callback());

const file: File<number> = { content: new Uint8Array(3), tags: [1], parent: null, more: { a: [null, 1, "x"] } };
socket.emit("upload", new ArrayBuffer(3), file, (error) => console.log(error?.error.message));
socket.emit("two", (...answer) => console.log(answer.length === 1 ? answer[0].error.message : answer[1].length));
socket.emit("done", () => {});

async function ask(): Promise<void> {
  const error: EventError | undefined = await socket.emitWithAck("upload", new Uint8Array(1), file);
  const first: number | EventError = await socket.emitWithAck("two");
  await socket.emitWithAck("done");
  console.log(error, first);
}
ask();
