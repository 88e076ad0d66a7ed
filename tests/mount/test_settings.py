"""Every key has an effect: a node that is given something else than the default for each of them shows it in
.shufflefs/config, which the worker renders from what it was built from. The keys are those that the program documents, so
that a new one is tried by itself. Needs root."""

import os
import re
import subprocess
import sys
import tempfile
import tomllib
import unittest

from one_node import ADDRESS, Daemon, PROGRAM, SHORT, read, write

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from credentials import make_certificates, write_secret  # noqa: E402  pylint: disable=wrong-import-position

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40, "ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}


def documented_keys(directory):
    """What docs/configuration.md says of each key: its value, default and allowed range."""
    subprocess.run([PROGRAM, "generate-docs", directory], check=True, timeout=SHORT, stdout=subprocess.DEVNULL)
    text = read(f"{directory}/docs/configuration.md").decode()
    rows = re.findall(r"^### `(.*?)`\n\n(.*?); (.*?)(?:; (.*?))?\.$", text, re.MULTILINE)
    return {name: {"Value": value, "Default": default.removeprefix("default "), "Allowed": allowed}
            for name, value, default, allowed in rows}


def number_of(text):
    digits, unit = re.fullmatch(r"(\d+)(\w*)", text).groups()
    return int(digits) * UNITS[unit]


def other_number(facts):
    """Just above the least that is allowed, and not the default."""
    least = number_of(facts["Allowed"].split(" to ")[0])
    default = number_of(facts["Default"].strip("`")) if re.fullmatch(r"`\d+\w*`", facts["Default"]) else None
    return least + 2 if least + 1 == default else least + 1


def flag_and_shown(facts):
    """What to write, and what the worker shows for it, for the kinds that need no thought."""
    kind = facts["Value"].strip("`")
    if facts["Value"] == "`true` or `false`":
        value = facts["Default"] != "`true`"
        return str(value).lower(), value
    number = other_number(facts)
    return {"SIZE": (str(number), str(number)),
            "DURATION": (f"{number}ms", f"{number}ms"),
            "NUMBER": (str(number), number)}[kind]


def flat(table, prefix=""):
    keys = {}
    for name, value in table.items():
        if isinstance(value, dict):
            keys.update(flat(value, f"{prefix}{name}."))
        else:
            keys[prefix + name] = value
    return keys


class TestSettings(unittest.TestCase):
    def given_by_hand(self, directory):
        """Names, places and words, by key."""
        for name in ("client", "allowed", "http-token", "spark-secret"):
            if name in ("client", "allowed"):
                os.mkdir(f"{directory}/{name}")
            else:
                write(f"{directory}/{name}", b"a text of more than thirty-two characters\n")
                os.chmod(f"{directory}/{name}", 0o600)
        flags = [*make_certificates(directory, ["n1"]), *write_secret(directory)]
        given = {flag.removeprefix("--"): value for flag, value in zip(flags[::2], flags[1::2])}
        given.update({
            "http-token-file": f"{directory}/http-token", "spark-secret-file": f"{directory}/spark-secret",
            "client-dir": f"{directory}/client", "spark-allow-dir": f"{directory}/allowed",
            "log-level": "debug", "log-format": "json", "push.replicate": "all", "local-mode": "fuse",
            "spark-relay": "off",  # does not go with the secret: a node of its own, below
            "http-listen": f"{ADDRESS}:7350", "spark-listen": f"{ADDRESS}:7351",
            "peer-listen": f"{ADDRESS}:7352", "members": f"n7={ADDRESS}:7352", "node": "n7",
        })
        return given

    def test_each_key_reaches_the_worker(self):
        with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as directory:
            keys = documented_keys(directory)
            self.assertGreater(len(keys), 40)
            expected = self.given_by_hand(directory)
            written = dict(expected)
            for name in keys.keys() - written.keys() - {"mount", "data"}:
                written[name], expected[name] = flag_and_shown(keys[name])
            expected["spark-allow-dir"] = [expected["spark-allow-dir"]]
            node = OtherDaemon(written)
            try:
                expected.update({"mount": node.mount, "data": [node.data]})
                shown = flat(tomllib.loads(read(f"{node.mount}/.shufflefs/config").decode()))
            finally:
                node.stop()
            self.assertEqual(expected.keys(), keys.keys())
            for name, value in expected.items():
                with self.subTest(key=name):
                    self.assertEqual(shown.get(name), value)
            self.assertEqual(shown.keys(), keys.keys())


    def test_the_relay_reaches_the_worker(self):
        node = RelayingDaemon()
        try:
            self.assertEqual(tomllib.loads(read(f"{node.mount}/.shufflefs/config").decode())["spark-relay"], "redirect")
        finally:
            node.stop()


class RelayingDaemon(Daemon):
    """In a network of its own, whose connections it redirects."""

    def command(self, *more):
        return ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$0" "$@"', *super().command("--spark-relay", "redirect", *more)]


class OtherDaemon(Daemon):
    """With nothing by default but what lies in its own directory."""

    def __init__(self, written):
        self.written = written
        super().__init__()

    def command(self, *more):
        flags = [f"--{name}={value}" for name, value in self.written.items()]
        return [PROGRAM, "serve", "--mount", self.mount, "--data", self.data, *flags, *more]


if __name__ == "__main__":
    unittest.main()
