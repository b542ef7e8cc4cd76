// The same server in Node.js: node.mjs off|on. Prints its port.
import { createRequire } from "node:module";

const require = createRequire(new URL("../../tests/cluster/package.json", import.meta.url));
const { Server } = require("socket.io");
const io = new Server({ perMessageDeflate: process.argv[2] === "on" });
io.on("connection", (socket) => {
  socket.on("echo", (argument, ack) => ack(argument));
  socket.on("broadcast", (argument) => io.emit("b", argument));
});
io.listen(0);
console.log(io.httpServer.address().port);
