"""The Python client over each transport, against the server of main.rs."""

import os
import sys
import threading
import traceback
import uuid
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version

import socketio

URL = sys.argv[1]
TRANSPORTS = (["polling"], ["websocket"], ["polling", "websocket"])
SECRET = "sé€ret & 😀"
TEXT = 'héllo €😀 \u2028 日本語 "\\\n'
EVENT = "événement €😀"
# For hangs: the machine may have other work. In seconds.
PATIENCE = 60


class Waiter:
    """Waits for one event of a client."""

    def __init__(self, client, event, namespace="/"):
        self.args = None
        self.arrived = threading.Event()
        client.on(event, self.handle, namespace=namespace)

    def handle(self, *args):
        self.args = args
        self.arrived.set()

    def wait(self):
        assert self.arrived.wait(PATIENCE), "the event did not arrive"
        return self.args


def check_events(client, empty=b"", heartbeats=0.7):
    """What clients of each generation can do.

    `empty` is what they make of empty binary, `heartbeats` how many seconds bring some.
    """
    for event in ("echo", EVENT):
        echo = Waiter(client, event)
        client.emit(event, (1, TEXT, {TEXT: [None, True]}, b"\x01\xff"))
        assert echo.wait() == (1, TEXT, {TEXT: [None, True]}, b"\x01\xff"), echo.args

    assert tuple(client.call("ack", (TEXT, 2), timeout=PATIENCE)) == (TEXT, 2)
    assert client.call("ack", b"\x01\x02\xff", timeout=PATIENCE) == b"\x01\x02\xff"
    file = {"name": TEXT, "content": b"abc", "parts": [b"", b"\x07" * 70000]}
    assert client.call("file", file, timeout=PATIENCE) == {**file, "parts": [empty, b"\x07" * 70000]}
    assert client.call("number", "x", timeout=PATIENCE)["error"]["message"].startswith("invalid arguments: ")

    client.on("question", lambda question: ("re: " + question, b"\x04\x05"))
    answer = Waiter(client, "answer")
    client.emit("ask", TEXT)
    assert answer.wait() == ("re: " + TEXT, b"\x04\x05"), answer.args

    said = Waiter(client, "said")
    room = str(uuid.uuid4())
    client.call("join", room, timeout=PATIENCE)
    client.emit("say", (room, TEXT))
    assert said.wait() == (TEXT, b"\x01\x02\x03"), said.args

    numbers = []
    complete = threading.Event()

    def number(n):
        numbers.append(n)
        if len(numbers) == 1000:
            complete.set()

    client.on("n", number)
    client.emit("count", 1000)
    assert complete.wait(PATIENCE), f"{len(numbers)} of 1000 arrived"
    # Each event has a thread of its own.
    assert sorted(numbers) == list(range(1000))

    client.sleep(heartbeats)
    assert client.call("ack", "alive", timeout=PATIENCE) == "alive"

    gone = Waiter(client, "disconnect")
    client.emit("kick all")
    gone.wait()
    client.disconnect()


def check(transports):
    client = socketio.Client(request_timeout=PATIENCE, reconnection=False)
    client.connect(URL, transports=transports, namespaces=["/"], wait_timeout=PATIENCE)
    assert len(client.get_sid("/")) == 20
    assert client.call("id", timeout=PATIENCE) == client.get_sid("/")
    check_events(client)

    refused = socketio.Client(request_timeout=PATIENCE, reconnection=False)
    reasons = Waiter(refused, "connect_error", namespace="/guarded")
    refused.connect(URL, transports=transports, namespaces=["/guarded"], auth={"token": "wrong"}, wait=False)
    assert reasons.wait()[0] == {"message": "no entry", "data": {"code": 7}}, reasons.args
    assert "/guarded" not in refused.namespaces
    refused.disconnect()

    guarded = socketio.Client(request_timeout=PATIENCE, reconnection=False)
    guarded.connect(URL, transports=transports, namespaces=["/guarded"], auth={"token": SECRET}, wait_timeout=PATIENCE)
    assert guarded.call("ack", 1, namespace="/guarded", timeout=PATIENCE) == 1
    guarded.disconnect()


def main(check):
    """Runs a check over each transport, all at once, and ends the process."""

    def run(transports):
        try:
            check(transports)
        except BaseException:
            print("python-socketio", version("python-socketio"), "over", transports, "failed", flush=True)
            traceback.print_exc()
            # Threads of clients would keep the process.
            os._exit(1)
        print("python-socketio", version("python-socketio"), "over", transports, "passed", flush=True)

    with ThreadPoolExecutor() as executor:
        list(executor.map(run, TRANSPORTS))
    os._exit(0)


if __name__ == "__main__":
    main(check)
