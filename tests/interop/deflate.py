"""Python's `websockets` with different offers, against the server of main.rs."""

import json
import sys

from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.sync.client import connect

URL = sys.argv[1].replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket"
ACCEPTED = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
# For hangs, in seconds.
PATIENCE = 60

OFFERS = [
    ({}, ""),
    ({"client_max_window_bits": True}, ""),
    ({"client_max_window_bits": 9}, "; client_max_window_bits=9"),
    ({"server_max_window_bits": 10}, "; server_max_window_bits=10"),
    ({"server_max_window_bits": 15, "client_max_window_bits": 15}, "; server_max_window_bits=15; client_max_window_bits=15"),
    ({"server_no_context_takeover": True, "client_no_context_takeover": True}, ""),
    (None, None),
]


def check(offer, answer):
    extensions = [] if offer is None else [ClientPerMessageDeflateFactory(**offer)]
    # All that the client sends is compressed.
    with connect(URL, extensions=extensions, compression=None, open_timeout=PATIENCE) as socket:
        accepted = socket.response.headers.get("Sec-WebSocket-Extensions")
        assert accepted == (None if answer is None else ACCEPTED + answer), accepted

        def receive():
            while (message := socket.recv(PATIENCE)) == "2":
                socket.send("3")
            return message

        assert receive().startswith("0{")
        socket.send("40")
        assert receive().startswith("40{")
        for number in range(100):
            text = f"{number} héllo €😀 " * (1 + number * 3)
            event = "42" + json.dumps(["echo", text], ensure_ascii=False, separators=(",", ":"))
            # In fragments, too.
            socket.send(event if number % 2 else [event[:5], event[5:50], event[50:]])
            assert receive() == event, number
        socket.send('451-["echo",{"_placeholder":true,"num":0}]')
        socket.send(bytes(range(256)) * 40)
        receive()
        assert receive() == bytes(range(256)) * 40


for offer, answer in OFFERS:
    check(offer, answer)
print(f"websockets: {len(OFFERS)} offers")
