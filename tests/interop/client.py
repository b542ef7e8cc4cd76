"""The Python client over each transport, against the server of main.rs."""

import sys
import threading

import socketio

URL = sys.argv[1]


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


def check(transports):
    client = socketio.Client()
    client.connect(URL, transports=transports, namespaces=["/"])
    assert len(client.get_sid("/")) == 20

    echo = Waiter(client, "echo")
    client.emit("echo", (1, "héllo €😀", {"a": [None, True]}))
    assert echo.wait() == (1, "héllo €😀", {"a": [None, True]}), echo.args

    assert client.call("ack", ("a", 2), timeout=5) == ("a", 2) or client.call("ack", ("a", 2), timeout=5) == ["a", 2]
    assert client.call("ack", b"\x01\x02\xff", timeout=5) == b"\x01\x02\xff"
    file = {"name": "é", "content": b"abc", "parts": [b"", b"\x07" * 70000]}
    assert client.call("file", file, timeout=5) == file
    assert client.call("number", "x", timeout=5)["error"]["message"].startswith("invalid arguments: ")

    client.on("question", lambda question: ("re: " + question, 42))
    answer = Waiter(client, "answer")
    client.emit("ask", "why?")
    assert answer.wait() == ("re: why?", 42), answer.args

    said = Waiter(client, "said")
    client.call("join", "python", timeout=5)
    client.emit("say", ("python", "hi"))
    assert said.wait() == ("hi", b"\x01\x02\x03"), said.args

    numbers = []
    complete = threading.Event()

    def number(n):
        numbers.append(n)
        if len(numbers) == 1000:
            complete.set()

    client.on("n", number)
    client.emit("count", 1000)
    assert complete.wait(10), f"{len(numbers)} of 1000 arrived"
    assert sorted(numbers) == list(range(1000))

    gone = Waiter(client, "disconnect")
    client.emit("kick all")
    gone.wait()
    client.disconnect()

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
    guarded.connect(URL, transports=transports, namespaces=["/guarded"], auth={"token": "secret"})
    assert guarded.call("ack", 1, namespace="/guarded", timeout=5) == 1
    guarded.disconnect()


for transports in (["polling"], ["websocket"], ["polling", "websocket"]):
    check(transports)
    print("python-socketio", socketio.__name__, "over", transports, "passed")
