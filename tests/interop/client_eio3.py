"""The last Python client that speaks Engine.IO 3 over each transport, against the server of main.rs."""

from urllib.parse import quote

import socketio

from client import PATIENCE, SECRET, TEXT, URL, Waiter, check_events, main


def connected(transports, namespace="/"):
    """A client that is connected to a namespace, which is not waited for by `connect` itself."""
    client = socketio.Client(request_timeout=PATIENCE, reconnection=False)
    connection = Waiter(client, "connect", namespace=namespace.partition("?")[0])
    client.connect(URL, transports=transports, namespaces=[namespace])
    connection.wait()
    return client


def refusal(transports, namespace):
    """What a client is told that may not connect to a namespace."""
    client = socketio.Client(request_timeout=PATIENCE, reconnection=False)
    reasons = Waiter(client, "connect_error", namespace=namespace.partition("?")[0])
    client.connect(URL, transports=transports, namespaces=[namespace])
    reasons.wait()
    client.disconnect()
    return reasons.args


def check(transports):
    client = connected(transports)
    assert client.call("id", timeout=PATIENCE) == client.sid
    # It turns empty bytes into None, and gives up if a pong takes longer than the interval, which is 5 s.
    check_events(client, empty=None, heartbeats=11)

    assert refusal(transports, "/guarded?token=wrong") == ({"code": 7},)
    assert refusal(transports, "/closed") == (TEXT,)
    assert refusal(transports, "/unknown") == ({"message": "Invalid namespace"},)

    guarded = connected(transports, "/guarded?token=" + quote(SECRET))
    assert guarded.call("id", namespace="/guarded", timeout=PATIENCE) == "/guarded#" + guarded.sid
    assert guarded.call("ack", TEXT, namespace="/guarded", timeout=PATIENCE) == TEXT
    guarded.disconnect()


main(check)
