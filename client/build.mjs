// Puts the browser files of socket.io-client, and compressed copies of them, where build.rs embeds them.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const source = new URL("node_modules/socket.io-client/dist/", import.meta.url);
const target = new URL("dist/", import.meta.url);

rmSync(target, { recursive: true, force: true });
mkdirSync(target);
for (const name of ["socket.io.js", "socket.io.min.js", "socket.io.esm.min.js", "socket.io.msgpack.min.js"]) {
  for (const file of [name, `${name}.map`]) {
    const content = readFileSync(new URL(file, source));
    writeFileSync(new URL(file, target), content);
    writeFileSync(new URL(`${file}.gz`, target), gzipSync(content, { level: 9 }));
    const params = { [constants.BROTLI_PARAM_QUALITY]: 11 };
    writeFileSync(new URL(`${file}.br`, target), brotliCompressSync(content, { params }));
  }
}
