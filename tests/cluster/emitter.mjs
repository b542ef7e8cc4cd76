// A program without a server that emits to a cluster: emitter.mjs ADAPTER BROKER.

import { Emitter as PostgresEmitter } from "@socket.io/postgres-emitter";
import { Emitter as RedisEmitter } from "@socket.io/redis-emitter";

import { postgres, redis } from "./brokers.mjs";
import { serve } from "./control.mjs";
import { StreamsEmitter } from "./streams-emitter.mjs";

const [adapterName, broker] = process.argv.slice(2);

const emitters = {
  redis: async () => new RedisEmitter(await redis(broker)),
  "redis-streams": async () => new StreamsEmitter(await redis(broker)),
  postgres: async () => new PostgresEmitter(await postgres(broker, 1)),
};
const emitter = await emitters[adapterName]();

function select({ namespace, to, except, flags }) {
  let target = emitter.of(namespace).to(to).except(except);
  if (flags.volatile) target = target.volatile;
  if (flags.compress !== undefined) target = target.compress(flags.compress);
  return target;
}

const actions = {
  emit: (scope, { args }) => select(scope).emit(...args),
  burst: async (scope, { event, count }) => {
    for (let number = 0; number < count; number++) select(scope).emit(event, number);
  },
  join: (scope, { rooms }) => select(scope).socketsJoin(rooms),
  leave: (scope, { rooms }) => select(scope).socketsLeave(rooms),
  disconnect: (scope, { close }) => select(scope).disconnectSockets(close),
  serverSideEmit: ({ namespace }, { args }) => emitter.of(namespace).serverSideEmit(...args),
};

serve({}, async ({ scope, action, ...parameters }) => void (await actions[action](scope, parameters)));
