// Parses an AsyncAPI document, and prints its operations. Fails if the document has a mistake.

import { readFileSync } from "node:fs";
import parser from "@asyncapi/parser";

const { document, diagnostics } = await new parser.Parser().parse(readFileSync(process.argv[2], "utf8"));
const ERROR = 0;
const mistakes = diagnostics.filter(({ severity }) => severity === ERROR);
for (const { path, message } of mistakes) console.error(path.join("."), message);
if (!document || mistakes.length > 0) process.exit(1);

const names = (messages) => messages.all().map((message) => message.name()).join(" | ");
const lines = document.operations().all().map((operation) => {
  const channel = operation.channels().all()[0].id();
  const reply = operation.reply();
  return `${channel} ${operation.action()}: ${names(operation.messages())}${reply ? ` -> ${names(reply.messages())}` : ""}`;
});
console.log(lines.sort().join("\n"));
