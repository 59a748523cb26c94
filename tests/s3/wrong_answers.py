"""A proxy in front of an S3 store that passes everything on, and changes the answers to some requests on the way back."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

PAGE = b"<html><head><title>Welcome</title></head><body><form action='/login'>Log in to this network</form></body></html>"
NO_SUCH_KEY = b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>"


@dataclass(frozen=True)
class Answer:
    """What the store says; `length` is what the header claims where that is not the truth."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    length: int | None = None

    def having(self, **headers: str | None) -> Answer:
        """With these headers (underscores are dashes), or without those that are None."""
        names = {name.replace("_", "-").lower(): value for name, value in headers.items()}
        kept = [(name, value) for name, value in self.headers if name.lower() not in names]
        return replace(self, headers=(*kept, *((name, value) for name, value in names.items() if value is not None)))


Change = Callable[[Answer], Answer]


@dataclass
class Fault:
    """Changes the next `times` answers to requests of these methods whose path and query hold `where`."""

    methods: tuple[str, ...]
    where: str
    change: Change
    times: int
    hits: int = 0


@dataclass
class Proxy:
    """A running proxy: the requests that came, and what is to be done to the answers."""

    url: str
    requests: list[str] = field(default_factory=list)
    fault: Fault | None = None

    @contextmanager
    def answering(self, fault: Fault) -> Iterator[Fault]:
        """In the block the answers are changed."""
        self.fault = fault
        try:
            yield fault
        finally:
            self.fault = None

    @contextmanager
    def counted(self) -> Iterator[list[str]]:
        """Methods of the requests that are made in the block."""
        before, found = len(self.requests), list[str]()
        yield found
        found += [request.partition(" ")[0] for request in self.requests[before:]]


@contextmanager
def proxy(endpoint: str) -> Iterator[Proxy]:
    """A proxy in front of the store at `endpoint`; its own address can be used as AWS_ENDPOINT_URL."""
    target = urlsplit(endpoint)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            said.requests.append(f"{self.command} {self.path}")
            connection = http.client.HTTPConnection(target.hostname or "", target.port, timeout=60)
            headers = {name: value for name, value in self.headers.items() if name.lower() not in ("expect", "connection")}
            connection.request(self.command, self.path, body or None, headers)
            got = connection.getresponse()
            skipped = ("connection", "transfer-encoding", "date")
            answer = Answer(got.status, tuple((n, v) for n, v in got.getheaders() if n.lower() not in skipped), got.read())
            connection.close()
            fault = said.fault
            if fault and fault.hits < fault.times and self.command in fault.methods and fault.where in unquote(self.path):
                fault.hits += 1
                answer = fault.change(answer)
            self.answer(answer)

        def answer(self, answer: Answer) -> None:
            self.send_response(answer.status)
            of_head = self.command == "HEAD" and answer.length is None
            for name, value in answer.headers:
                if of_head or name.lower() != "content-length":
                    self.send_header(name, value)
            length = len(answer.body) if answer.length is None else answer.length
            if not of_head:
                self.send_header("Content-Length", str(length))
            if length != len(answer.body) or answer.status >= 300:
                self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: what matters is in `requests`."""

    for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.pass_on)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    said = Proxy(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield said
    finally:
        server.shutdown()
        server.server_close()


def flipped(answer: Answer) -> Answer:
    """One bit of the body is another."""
    place = len(answer.body) // 2
    return replace(answer, body=answer.body[:place] + bytes([answer.body[place] ^ 1]) + answer.body[place + 1 :])


def halved(answer: Answer) -> Answer:
    """Half of the body, and a header that says so."""
    return replace(answer, body=answer.body[: len(answer.body) // 2])


def broken_off(answer: Answer) -> Answer:
    """Half of the body, where the header promises the whole."""
    return replace(halved(answer), length=len(answer.body))


def not_there(answer: Answer) -> Answer:
    """What the store says of an object that it does not have."""
    return Answer(404, (("Content-Type", "application/xml"),), NO_SUCH_KEY)


def not_found(answer: Answer) -> Answer:
    """A page of a web server that knows no such address."""
    return Answer(404, (("Content-Type", "text/html"),), b"<html>Not found</html>")


def login_page(answer: Answer) -> Answer:
    """The page of a network that wants a login."""
    return Answer(200, (("Content-Type", "text/html"),), PAGE, length=len(PAGE))


def disguised_page(answer: Answer) -> Answer:
    """The same under the headers of the object."""
    return replace(answer, body=PAGE)


def elsewhere(answer: Answer) -> Answer:
    """A redirection to another host."""
    return Answer(302, (("Location", "http://login.example/"),), b"")


def other_etag(answer: Answer) -> Answer:
    """The right body under the ETag of another object."""
    return answer.having(etag='"00000000000000000000000000000000"')


def part(answer: Answer) -> Answer:
    """A part of the object, called so, where the whole was asked for."""
    size, half = len(answer.body), len(answer.body) // 2
    return replace(answer, status=206, body=answer.body[:half]).having(content_range=f"bytes 0-{half - 1}/{size}")


def forbidden(answer: Answer) -> Answer:
    """A proxy that lets nobody through at the moment."""
    return Answer(403, (("Content-Type", "text/html"),), b"<html>Forbidden</html>")


def empty_listing(answer: Answer) -> Answer:
    """A listing, in right form, in which nothing is."""
    start, end = answer.body.find(b"<Contents>"), answer.body.rfind(b"</Contents>")
    return replace(answer, body=answer.body[:start] + answer.body[end + len(b"</Contents>") :]) if start > 0 else answer
