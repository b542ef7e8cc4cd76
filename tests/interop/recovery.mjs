// A client that is cut off again and again, against the server of recovery.rs.
//
//     node recovery.mjs URL polling|websocket|upgrade
//
// Prints what it received, and whether it was recovered each time it connected, once the server says that this was all.
import { io } from "socket.io-client-4";

const [url, transport] = process.argv.slice(2);
const transports = { polling: ["polling"], websocket: ["websocket"], upgrade: ["polling", "websocket"] }[transport];
const socket = io(url, {
  transports,
  reconnectionDelay: 5,
  reconnectionDelayMax: 20,
  randomizationFactor: 0,
});

const received = [];
const connects = [];
socket.on("connect", () => {
  connects.push({ id: socket.id, recovered: socket.recovered, transport: socket.io.engine.transport.name });
  if (connects.length === 1) socket.emit("ready");
});
socket.on("n", (number) => received.push(number));
socket.on("there?", (answer) => answer());
socket.on("end", () => {
  process.stdout.write(JSON.stringify({ received, connects }), () => process.exit());
});
