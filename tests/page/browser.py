"""Headless Chromium over its debugging pipe: NUL-separated JSON on two descriptors, nothing to install beside it."""

import base64
import json
import os
import queue
import shutil
import subprocess
import tempfile
import threading

PATIENCE = 120  # seconds for any answer, on a busy machine


def find_browser():
    for name in ("chromium-headless-shell", "chromium"):
        if path := shutil.which(name):
            return path
    raise AssertionError("no Chromium: run scripts/page-test, which installs it")


class Browser:
    """One browser with one page. Use as a context manager."""

    def __init__(self):
        self.profile = tempfile.mkdtemp(prefix="shufflefs-browser-")
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()

        def as_chromium_wants():  # it reads descriptor 3 and writes 4
            # Out of the way first: one of ours may be 3 or 4.
            source, target = os.dup2(to_read, 60), os.dup2(to_write, 61)
            os.dup2(source, 3)
            os.dup2(target, 4)
        command = [find_browser(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                   "--hide-scrollbars", "--remote-debugging-pipe", f"--user-data-dir={self.profile}", "about:blank"]
        self.process = subprocess.Popen(command, close_fds=False, preexec_fn=as_chromium_wants,  # pylint: disable=W1509
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_read)
        os.close(to_write)
        self._messages = queue.Queue()
        self.events = []  # of the page: what it logged, requested, was refused
        self._number = 0
        self._session = None
        threading.Thread(target=self._receive, daemon=True).start()
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(domain + ".enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        os.close(self._write)
        shutil.rmtree(self.profile, ignore_errors=True)

    def _receive(self):
        rest = b""
        while piece := os.read(self._read, 1 << 16):
            *messages, rest = (rest + piece).split(b"\0")
            for message in messages:
                self._messages.put(json.loads(message))
        self._messages.put(None)

    def call(self, method, **parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session and not method.startswith("Target."):
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._write, data):]
        while True:
            answer = self._messages.get(timeout=PATIENCE)
            assert answer is not None, "the browser has ended"
            if "id" not in answer:
                self.events.append(answer)
            elif answer["id"] == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def evaluate(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, f"{expression}: {result}"
        return result["result"].get("value")

    def wait_for(self, expression, what):
        """Until the expression is true on the page."""
        found = self.evaluate(f"""(async () => {{
            for (let i = 0; i < {PATIENCE * 10 - 100}; ++i) {{
              if ({expression}) return true;
              await new Promise((resolve) => setTimeout(resolve, 100));
            }}
            return false;
          }})()""")
        assert found, f"waited in vain until {what}; the page: {self.text()[:2000]}"

    def open(self, url, width=1280, height=900, scale=1, touch=False):
        self.resize(width, height, scale, touch)
        self.call("Page.navigate", url=url)
        self.wait_for("document.readyState === 'complete'", f"{url} is loaded")

    def resize(self, width, height, scale=1, mobile=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale,
                  mobile=mobile)

    def colours(self, scheme):
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def text(self, selector="body"):
        return self.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")

    def press(self, key, shift=False):
        codes = {"Tab": 9, "Enter": 13, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39,
                 "ArrowDown": 40}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=codes[key],
                      text="\r" if key == "Enter" and kind == "keyDown" else "", modifiers=8 if shift else 0)

    def type(self, text):
        self.call("Input.insertText", text=text)

    def screenshot(self, path, full=True):
        if full:
            height = self.evaluate("document.documentElement.scrollHeight")
            width = self.evaluate("innerWidth")
            clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
            data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)["data"]
        else:
            data = self.call("Page.captureScreenshot", format="png")["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))

    def complaints(self):
        """What the page or the browser found wrong: errors, exceptions, what the policy refused."""
        bad = []
        for event in self.events:
            if event["method"] == "Runtime.exceptionThrown":
                bad.append(event["params"]["exceptionDetails"]["exception"].get("description", ""))
            if event["method"] == "Log.entryAdded" and event["params"]["entry"]["level"] in ("error", "warning"):
                bad.append(event["params"]["entry"]["text"])
            if event["method"] == "Runtime.consoleAPICalled" and event["params"]["type"] in ("error", "warning"):
                bad.append(str(event["params"]["args"]))
        return bad

    def requested(self):
        return {event["params"]["request"]["url"] for event in self.events
                if event["method"] == "Network.requestWillBeSent"}
