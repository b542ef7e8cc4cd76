"""The Python client over each transport, against the server of main.rs."""

import sys
import threading
from importlib.metadata import version

import socketio

URL = sys.argv[1]
TRANSPORTS = (["polling"], ["websocket"], ["polling", "websocket"])
SECRET = "sé€ret & 😀"
TEXT = 'héllo €😀 \u2028 日本語 "\\\n'
EVENT = "événement €😀"


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
        assert self.arrived.wait(5), "the event did not arrive"
        return self.args


def check_events(client, empty=b"", heartbeats=0.7):
    """What clients of each generation can do.

    `empty` is what they make of empty binary, `heartbeats` how many seconds bring some.
    """
    for event in ("echo", EVENT):
        echo = Waiter(client, event)
        client.emit(event, (1, TEXT, {TEXT: [None, True]}, b"\x01\xff"))
        assert echo.wait() == (1, TEXT, {TEXT: [None, True]}, b"\x01\xff"), echo.args

    assert tuple(client.call("ack", (TEXT, 2), timeout=5)) == (TEXT, 2)
    assert client.call("ack", b"\x01\x02\xff", timeout=5) == b"\x01\x02\xff"
    file = {"name": TEXT, "content": b"abc", "parts": [b"", b"\x07" * 70000]}
    assert client.call("file", file, timeout=5) == {**file, "parts": [empty, b"\x07" * 70000]}
    assert client.call("number", "x", timeout=5)["error"]["message"].startswith("invalid arguments: ")

    client.on("question", lambda question: ("re: " + question, b"\x04\x05"))
    answer = Waiter(client, "answer")
    client.emit("ask", TEXT)
    assert answer.wait() == ("re: " + TEXT, b"\x04\x05"), answer.args

    said = Waiter(client, "said")
    client.call("join", "python", timeout=5)
    client.emit("say", ("python", TEXT))
    assert said.wait() == (TEXT, b"\x01\x02\x03"), said.args

    numbers = []
    complete = threading.Event()

    def number(n):
        numbers.append(n)
        if len(numbers) == 1000:
            complete.set()

    client.on("n", number)
    client.emit("count", 1000)
    assert complete.wait(10), f"{len(numbers)} of 1000 arrived"
    # Each event has a thread of its own.
    assert sorted(numbers) == list(range(1000))

    client.sleep(heartbeats)
    assert client.call("ack", "alive", timeout=5) == "alive"

    gone = Waiter(client, "disconnect")
    client.emit("kick all")
    gone.wait()
    client.disconnect()


def check(transports):
    client = socketio.Client()
    client.connect(URL, transports=transports, namespaces=["/"])
    assert len(client.get_sid("/")) == 20
    assert client.call("id", timeout=5) == client.get_sid("/")
    check_events(client)

    refused = socketio.Client()
    reasons = Waiter(refused, "connect_error", namespace="/guarded")
    try:
        refused.connect(URL, transports=transports, namespaces=["/guarded"], auth={"token": "wrong"})
        raise AssertionError("the client was not refused")
    except socketio.exceptions.ConnectionError:
        pass
    assert reasons.wait()[0] == {"message": "no entry", "data": {"code": 7}}, reasons.args
    refused.disconnect()

    guarded = socketio.Client()
    guarded.connect(URL, transports=transports, namespaces=["/guarded"], auth={"token": SECRET})
    assert guarded.call("ack", 1, namespace="/guarded", timeout=5) == 1
    guarded.disconnect()


def main(check):
    for transports in TRANSPORTS:
        check(transports)
        print("python-socketio", version("python-socketio"), "over", transports, "passed")


if __name__ == "__main__":
    main(check)
