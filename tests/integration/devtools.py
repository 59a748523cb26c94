"""A page in Chromium, driven through the DevTools protocol: no package is needed for that but the web sockets that Prefect brings."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

PATIENCE = 120.0  # seconds; a busy machine is no failure
LOOK_SECONDS = 0.2
SIZE = (1400, 900)

# What a property of Prefect's form holds, by the label of the property.
FIELD = """(label, holds) => [...document.querySelectorAll('.schema-form-property__label')]
  .filter(one => one.innerText.replace('(Optional)', '').trim() == label)
  .map(one => one.closest('.p-label').querySelector(holds))[0]"""


class Page:
    """One page of a browser."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self.ask("Page.enable")
        width, height = SIZE
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def ask(self, method: str, **parameters: Any) -> Any:
        """The answer to one command; what the browser tells meanwhile is passed over."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv(timeout=PATIENCE))
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    def before_each(self, script: str) -> None:
        """Run a script in every page before its own."""
        self.ask("Page.addScriptToEvaluateOnNewDocument", source=script)

    def open(self, address: str) -> None:
        """Go to an address."""
        self.ask("Page.navigate", url=address)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Wait until an expression is true in the page."""
        end = time.monotonic() + PATIENCE
        while not self.evaluate(f"Boolean(document.body && ({condition}))"):
            assert time.monotonic() < end, f"{condition}: never in\n{self.evaluate('document.body.innerText')}"
            time.sleep(LOOK_SECONDS)

    def fill(self, label: str, text: str) -> None:
        """Type into the input below a label."""
        field = f"({FIELD})({json.dumps(label)}, 'input, textarea')"
        self.wait_for(field)
        self.evaluate(f"{field}.focus()")
        self.ask("Input.insertText", text=text)
        self.wait_for(f"{field}.value == {json.dumps(text)}")

    def choose(self, text: str) -> None:
        """Click on the button or tab of this text."""
        self._click(f"[...document.querySelectorAll('button')].filter(one => one.innerText.trim() == {json.dumps(text)})[0]")

    def unfold(self, label: str) -> None:
        """Click on the second tab below a label."""
        self._click(f"[...({FIELD})({json.dumps(label)}, '.p-button-group').querySelectorAll('button')][1]")

    def _click(self, element: str) -> None:
        """Click on an element that an expression finds, wherever the page is moving it to."""
        self.wait_for(element)
        self.evaluate(f"{element}.click()")

    def picture(self) -> bytes:
        """The page as PNG."""
        return base64.b64decode(self.ask("Page.captureScreenshot", captureBeyondViewport=True)["data"])


@contextlib.contextmanager
def opened(chromium: str, profile: Path) -> Iterator[Page]:
    """A page in a browser without a window, which ends with the block."""
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    command = [chromium, *options, "--disable-dev-shm-usage", "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"]
    browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with connect(_first_page(profile / "DevToolsActivePort"), max_size=None, proxy=None) as socket:
            yield Page(socket)
    finally:
        browser.terminate()
        browser.wait()


def _first_page(file: Path) -> str:
    """The web socket of the page that a browser starts with; the browser writes its port to the file."""
    end = time.monotonic() + PATIENCE
    while not (file.exists() and file.read_text(encoding="ascii").strip()):
        assert time.monotonic() < end, "the browser did not start"
        time.sleep(LOOK_SECONDS)
    port = file.read_text(encoding="ascii").splitlines()[0]
    pages = httpx.get(f"http://127.0.0.1:{port}/json/list", timeout=PATIENCE).json()
    return str(next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page"))
