"""A name that is no text, and one that would move a cursor or fake a line, reaches people and programs escaped: on the
terminal, in JSON, in the log of each format, in the metrics. Needs root."""

import json
import os
import re
import unittest
import urllib.request

from one_node import ADDRESS, Daemon, PROGRAM, read, run_bytes, until, write

NAME = b"\xff\n\x1b[2J\"quoted\" \xc2\x9b1m"  # the last is a control sequence too, of one character
SHOWN = '\\xff\\x0a\\x1b[2J'  # what is left of its beginning wherever it is shown
BASE = f"http://{ADDRESS}:7340"
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f\x80-\x9f]")


def fetch(path):
    with urllib.request.urlopen(BASE + path, timeout=30) as answer:
        return answer.read()


def texts_in(value):
    """All the texts in a JSON value, names of members included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, member in value.items():
            yield name
            yield from texts_in(member)
    elif isinstance(value, list):
        for item in value:
            yield from texts_in(item)


class EscapeCase:
    """One node with one refused commit."""

    FLAGS = ()

    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon(*cls.FLAGS)
        cls.addClassCleanup(cls.daemon.stop)
        os.makedirs(f"{cls.daemon.mount}/shuffles/app/0")
        maps = f"{cls.daemon.mount}/shuffles/app/0/maps"
        for map_id, name in ((1, NAME), (2, b"0")):
            os.mkdir(f"{maps}/.tmp-{map_id}")
            write(os.path.join(os.fsencode(f"{maps}/.tmp-{map_id}"), name), b"a block")
        os.rename(f"{maps}/.tmp-2", f"{maps}/2")
        try:
            os.rename(f"{maps}/.tmp-1", f"{maps}/1")
        except OSError:
            pass  # refused at once
        until(lambda: b"commit.refused" in read(cls.daemon.log_path), "the commit is refused")

    def checked(self, content, *, lines=True):
        """It is UTF-8 without control characters but the ends of lines."""
        text = content.decode("utf-8")
        self.assertIsNone(CONTROL.search(text), text)
        if lines:
            for line in text.splitlines():
                self.assertFalse(line.startswith("[2J"), text)
        return text

    def command(self, *arguments):
        done = run_bytes(PROGRAM, *arguments, "--http", f"{ADDRESS}:7340")
        self.assertEqual(done.returncode, 0, done)
        return self.checked(done.stdout)


class TestEscapes(EscapeCase, unittest.TestCase):
    def test_commands(self):
        self.assertIn(SHOWN, self.command("status"))
        self.assertIn(SHOWN, self.command("show", "app/0"))
        self.assertIn(SHOWN, self.command("ls"))
        self.command("top", "--once")

    def test_json(self):
        for command in (("status",), ("show", "app/0"), ("ls",), ("top", "--once")):
            json.loads(self.command(*command, "--json"))
        for path in ("/api/v1/status", "/api/v1/cluster", "/api/v1/shuffles/app/0", "/api/v1/events"):
            answer = json.loads(self.checked(fetch(path)))
            found = [text for text in texts_in(answer) if "[2J" in text]
            self.assertTrue(found, path)
            for text in found:
                self.assertIn("\\xff", text)
        json.loads(self.checked(read(f"{self.daemon.mount}/.shufflefs/status.json")))

    def test_metrics(self):
        self.checked(fetch("/metrics"))

    def test_status_of_the_shuffle(self):
        self.assertIn("\\xff", self.checked(read(f"{self.daemon.mount}/shuffles/app/0/status"), lines=False))

    def test_log(self):
        self.assertIn(SHOWN, self.checked(read(self.daemon.log_path)))


class TestJsonLog(EscapeCase, unittest.TestCase):
    FLAGS = ("--log-format", "json")

    def test_log(self):
        for line in self.checked(read(self.daemon.log_path)).splitlines():
            event = json.loads(line)
            if event["event"] == "commit.refused":
                self.assertIn("\\xff", event["reason"])


if __name__ == "__main__":
    unittest.main()
