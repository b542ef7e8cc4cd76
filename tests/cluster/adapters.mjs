// The adapters by their names in the tests.

import { createAdapter as createPostgresAdapter } from "@socket.io/postgres-adapter";
import { createAdapter as createRedisAdapter, createShardedAdapter } from "@socket.io/redis-adapter";
import { createAdapter as createStreamsAdapter } from "@socket.io/redis-streams-adapter";

import { postgres, redis } from "./brokers.mjs";

/** Requests to unsubscribe that are not answered. A subscription that is made meanwhile gets lost in node-redis. */
export const unsubscribing = new Set();

async function subscriber(broker) {
  const client = await redis(broker);
  for (const method of ["unsubscribe", "pUnsubscribe", "sUnsubscribe"]) {
    const unsubscribe = client[method].bind(client);
    client[method] = (...args) => {
      const request = unsubscribe(...args).finally(() => unsubscribing.delete(request));
      unsubscribing.add(request);
      return request;
    };
  }
  return client;
}

const pubSub = async (broker, create, options) => create(await redis(broker), await subscriber(broker), options);
const sharded = (broker, subscriptionMode) => pubSub(broker, createShardedAdapter, { subscriptionMode });
const adapters = {
  redis: (broker) => pubSub(broker, createRedisAdapter),
  "redis-specific": (broker) => pubSub(broker, createRedisAdapter, { publishOnSpecificResponseChannel: true }),
  "redis-sharded-static": (broker) => sharded(broker, "static"),
  "redis-sharded-dynamic": (broker) => sharded(broker, "dynamic"),
  "redis-sharded-dynamic-private": (broker) => sharded(broker, "dynamic-private"),
  "redis-streams": async (broker) => createStreamsAdapter(await redis(broker)),
  "redis-streams-recovery": async (broker) => createStreamsAdapter(await redis(broker)),
  postgres: async (broker) => createPostgresAdapter(await postgres(broker, 2), { heartbeatInterval: 500 }),
};

/** Connects an adapter to a broker. */
export const createAdapter = (name, broker) => adapters[name](broker);
