"""A receiver of push notifications, for checks."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import json
import queue
import threading

TOKEN = "the receiver knows this token"
CREDENTIALS = "the receiver knows these credentials"


class Receiver:
    """Takes what is posted to `url`, in order."""

    def __init__(self):
        self.posted = queue.Queue()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler(self.posted))
        self.url = f"http://127.0.0.1:{self.server.server_port}/push"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def until(self, is_last, patience=20):
        """Every notification up to the one that is the last, with its headers."""
        taken = []
        while not taken or not is_last(taken[-1][1]):
            try:
                taken.append(self.posted.get(timeout=patience))
            except queue.Empty:
                raise AssertionError(f"no more notifications after {taken}") from None
        return taken


def handler(posted):
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            posted.put((headers, json.loads(body)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            """Says nothing: what is posted is what is checked."""

    return Handler
