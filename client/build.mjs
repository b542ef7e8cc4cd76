// Puts the browser files of socket.io-client, and compressed copies of the scripts, where the crate embeds them.
// With `--check` it only compares: the bytes of a compressed copy depend on the version of Node.js, its content does not.
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { brotliCompressSync, brotliDecompressSync, constants, gunzipSync, gzipSync } from "node:zlib";

const source = new URL("node_modules/socket.io-client/dist/", import.meta.url);
const target = new URL("dist/", import.meta.url);
const scripts = ["socket.io.js", "socket.io.min.js", "socket.io.esm.min.js", "socket.io.msgpack.min.js"];

function build() {
  rmSync(target, { recursive: true, force: true });
  mkdirSync(target);
  for (const script of scripts) {
    const content = readFileSync(new URL(script, source));
    writeFileSync(new URL(script, target), content);
    writeFileSync(new URL(`${script}.gz`, target), gzipSync(content, { level: 9 }));
    const params = { [constants.BROTLI_PARAM_QUALITY]: 11 };
    writeFileSync(new URL(`${script}.br`, target), brotliCompressSync(content, { params }));
    writeFileSync(new URL(`${script}.map`, target), readFileSync(new URL(`${script}.map`, source)));
  }
}

function check() {
  const decoders = { "": (content) => content, ".gz": gunzipSync, ".br": brotliDecompressSync };
  const expected = new Set();
  for (const script of scripts) {
    for (const [name, ending] of [[script, ""], [script, ".gz"], [script, ".br"], [`${script}.map`, ""]]) {
      expected.add(name + ending);
      const content = decoders[ending](readFileSync(new URL(name + ending, target)));
      if (!content.equals(readFileSync(new URL(name, source)))) {
        throw new Error(`client/dist/${name}${ending} is not that of socket.io-client: run \`make client\``);
      }
    }
  }
  const others = readdirSync(target).filter((name) => !expected.has(name));
  if (others.length > 0) {
    throw new Error(`client/dist holds other files: ${others}`);
  }
}

process.argv.includes("--check") ? check() : build();
