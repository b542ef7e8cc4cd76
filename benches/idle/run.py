"""Measures what idle connections cost `bench_server`: the heap of each of them, by what it is for (valgrind's DHAT), its resident memory,
and the CPU time of heartbeats. The argument is the path of the server."""

import collections
import json
import pathlib
import re
import resource
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time

HOST = "127.0.0.1"
REQUEST = (
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
).encode()
JOIN = bytes([0x81, 0x82, 0, 0, 0, 0]) + b"40"
PONG = bytes([0x81, 0x81, 0, 0, 0, 0]) + b"3"
PING = bytes([0x81, 1]) + b"2"
DEADLINE = 120

# Fragments of the functions and types that allocate, and what their memory is for. The innermost function counts.
PURPOSES = [
    ("ScheduledIo", "readiness of the socket (tokio)"),
    ("WebSocketTask", "the task, with its timer (tokio)"),
    ("driver::Driver<T>::new", "the stream and the codec"),
    ("shared::Connection>", "the connection: the session, its outbox, wakers"),
    ("state::Socket>", "the socket"),
    ("state::Client>", "the client: its sockets"),
    ("receive::Inbound", "the reader of packets"),
    ("generate_id", "the two ids"),
    ("state::Slot", "the list of sockets"),
    ("route::open", "the head of the request"),
]
TABLES = [
    ("room::registry", "tables of the namespace"),
    ("ByName<alloc::sync::Arc<tower_socketio::server", "tables of the namespace"),
    ("sessions::", "the table of sessions"),
    ("ByName<alloc::sync::Arc<tower_socketio::engine", "the table of sessions"),
]


def free_port():
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return listener.getsockname()[1]


def start(command):
    """Starts a server, and waits until it accepts connections."""
    port = free_port()
    server = subprocess.Popen([*command, str(port)], stderr=subprocess.DEVNULL)
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        try:
            socket.create_connection((HOST, port)).close()
            return server, port
        except ConnectionRefusedError:
            time.sleep(0.05)
    sys.exit("the server does not start")


def stop(server):
    server.send_signal(signal.SIGTERM)
    server.wait(DEADLINE)


def read_until(client, text):
    received = b""
    while text not in received:
        part = client.recv(4096)
        if not part:
            sys.exit(f"the server has closed a connection: {received}")
        received += part


def connect(port):
    """Opens a connection that has joined the default namespace."""
    client = socket.create_connection((HOST, port), DEADLINE)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.sendall(REQUEST)
    read_until(client, b"pingTimeout")
    client.sendall(JOIN)
    read_until(client, b"40{")
    return client


def heap(binary, connections=1000):
    """Prints the bytes on the heap for each connection."""
    with tempfile.TemporaryDirectory() as folder:
        profile = pathlib.Path(folder, "dhat.json")
        server, port = start(["valgrind", "--tool=dhat", f"--dhat-out-file={profile}", binary])
        clients = [connect(port) for _ in range(connections)]
        stop(server)
        for client in clients:
            client.close()
        sites = json.loads(profile.read_text())
    purposes = collections.Counter()
    for site in sites["pps"]:
        frames = (sites["ftbl"][frame] for frame in site["fs"])
        # Other memory that is allocated once, such as buffers of threads, is not the connections'.
        known = PURPOSES + TABLES if site["ebk"] >= connections // 2 else TABLES
        purpose = next((purpose for frame in frames for fragment, purpose in known if fragment in frame), None)
        if purpose or site["ebk"] >= connections // 2:
            purposes[purpose or "other"] += site["eb"]
    print(f"\n| heap of {connections:,} connections, for | bytes of each |\n|---|--:|")
    for purpose, size in purposes.most_common():
        print(f"| {purpose} | {size / connections:.0f} |")
    print(f"| sum | {sum(purposes.values()) / connections:.0f} |")


def resident(server):
    status = pathlib.Path(f"/proc/{server.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024


def processor_time(server):
    """The CPU time of all threads in seconds, user and system."""
    threads = pathlib.Path(f"/proc/{server.pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def heartbeats(binary, connections=19_900, seconds=60):
    """Prints the resident memory of connections, and the CPU time of each ping and its pong."""
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    connections = min(connections, limit - 50)
    server, port = start([binary])
    selector = selectors.DefaultSelector()
    before = resident(server)
    for _ in range(connections):
        client = connect(port)
        client.setblocking(False)
        selector.register(client, selectors.EVENT_READ)
    size = (resident(server) - before) / connections
    begin, end, pings = processor_time(server), time.monotonic() + seconds, 0
    while (left := end - time.monotonic()) > 0:
        for key, _ in selector.select(left):
            received = key.fileobj.recv(4096)
            if received != PING:
                sys.exit(f"the server has sent {received}")
            key.fileobj.sendall(PONG)
            pings += 1
    spent = processor_time(server) - begin
    stop(server)
    print(f"\n{connections:,} idle connections take {size:.0f} bytes of resident memory each.")
    print(f"{pings:,} pings and pongs in {seconds} s take {spent / pings * 1e6:.1f} µs of CPU time each, {spent / seconds:.1%} of one processor.")


if __name__ == "__main__":
    heap(sys.argv[1])
    heartbeats(sys.argv[1])
