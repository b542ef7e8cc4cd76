// The wire of @socket.io/redis-streams-emitter 0.1.1, which is not in the npm registry.

import { encode } from "@msgpack/msgpack";

const EVENT = 2;
const [BROADCAST, SOCKETS_JOIN, SOCKETS_LEAVE, DISCONNECT_SOCKETS, SERVER_SIDE_EMIT] = [3, 4, 5, 6, 9];

const hasBytes = (value) =>
  value instanceof Uint8Array || (typeof value === "object" && value !== null && Object.values(value).some(hasBytes));

export class StreamsEmitter {
  constructor(redis, options = { nsp: "/", rooms: [], flags: {}, except: [] }) {
    Object.assign(this, { redis, options });
  }

  #with(change) {
    return new StreamsEmitter(this.redis, { ...this.options, ...change });
  }

  of(nsp) {
    return this.#with({ nsp });
  }

  to(rooms) {
    return this.#with({ rooms: this.options.rooms.concat(rooms) });
  }

  except(rooms) {
    return this.#with({ except: this.options.except.concat(rooms) });
  }

  get volatile() {
    return this.#with({ flags: { ...this.options.flags, volatile: true } });
  }

  compress(compress) {
    return this.#with({ flags: { ...this.options.flags, compress } });
  }

  #publish(type, data) {
    const text = hasBytes(data) ? Buffer.from(encode(data)).toString("base64") : JSON.stringify(data);
    const fields = { uid: "emitter", nsp: this.options.nsp, type: String(type), data: text };
    return this.redis.xAdd("socket.io", "*", fields, {
      TRIM: { strategy: "MAXLEN", strategyModifier: "~", threshold: 10_000 },
    });
  }

  #opts() {
    const { rooms, flags, except } = this.options;
    return { rooms, flags, except };
  }

  emit(...data) {
    return this.#publish(BROADCAST, { packet: { type: EVENT, data, nsp: this.options.nsp }, opts: this.#opts() });
  }

  socketsJoin(rooms) {
    return this.#publish(SOCKETS_JOIN, { opts: this.#opts(), rooms: [rooms].flat() });
  }

  socketsLeave(rooms) {
    return this.#publish(SOCKETS_LEAVE, { opts: this.#opts(), rooms: [rooms].flat() });
  }

  disconnectSockets(close) {
    return this.#publish(DISCONNECT_SOCKETS, { opts: this.#opts(), close });
  }

  serverSideEmit(...packet) {
    return this.#publish(SERVER_SIDE_EMIT, { packet });
  }
}
