// A client of this example. The server prints `events.ts` with `--export`.

import { io, type Socket } from "socket.io-client";
import type { ClientToServerEvents, Position, ServerToClientEvents } from "./events";

declare const process: { argv: string[] };

const socket: Socket<ServerToClientEvents, ClientToServerEvents> = io(process.argv[2] ?? "http://127.0.0.1:3000");

function where({ x, y }: Position): string {
  return `${"abcdefgh"[x]}${y + 1}`;
}

socket.on("moved", (from, to, next) => console.log(`${where(from)} to ${where(to)}, ${next} is next`));
socket.on("who are you", (callback) => callback("Ada"));
socket.on("joined", async (user) => {
  console.log(`${user} is here`);
  console.log("distance", await socket.emitWithAck("distance", { x: 4, y: 1 }, { x: 4, y: 3 }));
  for (const y of [3, 9]) {
    const answer = await socket.emitWithAck("move", { x: 4, y: 1 }, { x: 4, y });
    console.log(typeof answer === "string" ? `${answer} is next` : answer.error.message);
  }
  socket.disconnect();
});
socket.emit("join");
