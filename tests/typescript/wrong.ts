// What does not compile, each line with what the compiler says of it.

import { io, type Socket } from "socket.io-client";
import type { ClientToServerEvents, ServerToClientEvents } from "./events";

const socket: Socket<ServerToClientEvents, ClientToServerEvents> = io();
const here = { x: 4, y: 1 };

socket.emit("jump"); // TS2345: '"jump"' is not assignable to parameter of type '"distance" | "join" | "move"'
socket.emit("join", "Ada"); // TS2554: Expected 1 arguments, but got 2
socket.emit("move", here, "e4", () => {}); // TS2345: 'string' is not assignable to parameter of type 'Position'
socket.emit("distance", here, here); // TS2554: Expected 4 arguments, but got 3
socket.emit("distance", here, here, (answer: string) => {}); // TS2345: Type 'number' is not assignable to type 'string'
socket.emitWithAck("move", here, here).then((answer) => answer.error); // TS2339: Property 'error' does not exist on type
socket.on("left", () => {}); // TS2345: Argument of type '"left"' is not assignable
socket.on("joined", (user: number) => {}); // TS2345: Type 'string' is not assignable to type 'number'
socket.on("who are you", (callback) => callback(7)); // TS2345: 'number' is not assignable to parameter of type 'string'
