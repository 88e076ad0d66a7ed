"""Inputs at the edge of what is allowed: the largest partition number, names that are no UTF-8 or would end a string, a name
that is replaced while others open it. Nobody else notices them."""

import errno
import json
import os
import re
import subprocess
import unittest
import unittest.mock
import urllib.parse

from shuffle_cluster import Cluster, make_blocks, until

LAST = 16777215
MIB = 1 << 20
SECONDS = 20  # for what has to end soon, also under a sanitizer
NODES = range(3)


def resident(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as status:
        fields = dict(line.split(":", maxsplit=1) for line in status)
    return int(fields["VmHWM"].split()[0]) * 1024  # the most that it ever had


class LargestPartitionNumber(unittest.TestCase):
    def commit(self, cluster, shuffle):
        maps = cluster.path(0, "shuffles", shuffle, "maps")
        os.makedirs(f"{maps}/.tmp-1")
        with open(f"{maps}/.tmp-1/{LAST}", "wb") as file:
            file.write(b"x")
        os.rename(f"{maps}/.tmp-1", f"{maps}/1")

    # What the address sanitizer keeps of freed memory would be counted too.
    @unittest.mock.patch.dict(os.environ, ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1")
    def test_one_map_output_with_one_byte_in_it(self):
        with Cluster(3, "--memory=64M") as cluster:
            workers = [cluster.workers(node)[0] for node in NODES]
            before = [resident(pid) for pid in workers]
            self.commit(cluster, "wide/0")
            cluster.wait_for_maps(0, "wide/0", 1)
            for node in NODES:
                with self.subTest(f"reads on node{node + 1}"):
                    self.assertEqual(cluster.outcome(node, "wide/0", LAST), b"x")
                    self.assertEqual(cluster.outcome(node, "wide/0", 0), b"")
                    self.assertEqual(cluster.outcome(node, "wide/0", LAST + 1), "ENOENT")
                    self.assertEqual(os.stat(cluster.path(node, "shuffles/wide/0/partitions", str(LAST))).st_size, 1)
            for command in (["show", "wide/0"], ["show", "wide/0", "--json"], ["show", f"wide/0/{LAST}"], ["verify", "wide/0"],
                            ["verify", "wide/0", "--json"], ["status"], ["status", "--json"], ["ls"]):
                with self.subTest(" ".join(command)):
                    try:
                        done = cluster.run(1, *command, timeout=SECONDS)
                        self.assertEqual(done.returncode, 0, done.stdout[-500:] + done.stderr)
                        self.assertLess(len(done.stdout), MIB)
                    except subprocess.TimeoutExpired:
                        self.fail(f"not within {SECONDS} s")
            for node in NODES:
                with self.subTest(f"ls and du on node{node + 1}"):
                    partitions = cluster.path(node, "shuffles/wide/0/partitions")
                    self.assertEqual(sorted(os.listdir(partitions)), [str(LAST), f"{LAST}.index", f"{LAST}.merged"])
                    subprocess.run(["du", "-a", partitions], capture_output=True, timeout=SECONDS, check=True)
            for path in ("/metrics", "/api/v1/status", "/api/v1/cluster", "/api/v1/shuffles/wide/0/partitions"):
                with self.subTest(path):
                    self.assertEqual(cluster.ask(2, path, SECONDS)[0], 200)
            with self.subTest("memory"):
                self.assertEqual([cluster.workers(node)[0] for node in NODES], workers, "a worker has died")
                grown = [(resident(pid) - was) / MIB for pid, was in zip(workers, before)]
                self.assertLess(max(grown), 64, f"MiB of each worker: {grown}")
            cluster.kill_worker(0)
            self.assertEqual(cluster.outcome(1, "wide/0", LAST), b"x")
            os.rmdir(cluster.path(1, "shuffles/wide/0"))
            self.assertEqual(cluster.outcome(0, "wide/0", LAST), "ENOENT")


# In a file's name, where a partition's number should be. Each has a part by which its escaped form can be found.
NAMES = {
    "not UTF-8": b"mark1\xff\xfe",
    "cut UTF-8": b"mark2\xe2\x82",
    "a quote": b'mark3"}],"x":["',
    "a backslash": b"mark4\\",
    "a newline": b"mark5\n2026-01-01T00:00:00.000Z error forged.line node=x",
    "an escape sequence": b"mark6\x1b[2J\x1b]0;title\x07",
    "a carriage return": b"mark7\rgone",
    "a control character of Latin-1": b"mark8\xc2\x9b2J",
    "long": b"mark9" + b"\xff" * 240,
}
BAD_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # control characters that no text for people may have


class OddNames(unittest.TestCase):
    """A commit with such a name in it is refused, and the reason shows the name; a person may look at it with any tool."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(3)
        try:
            cls.cluster.write_files(0, "good/0", 0, make_blocks(0, [100, 200]))
            for number, name in enumerate(NAMES.values()):
                cls.refuse(f"odd{number}/0", name)
            cls.cluster.wait_for_maps(0, "good/0", 1)
        except BaseException:
            cls.cluster.down()
            raise

    @classmethod
    def tearDownClass(cls):
        cls.cluster.down()

    @classmethod
    def refuse(cls, shuffle, name):
        """A good map output, and one whose commit is refused for a file of this name."""
        cls.cluster.write_directory(0, shuffle, 0, make_blocks(0, [100, 200]))
        maps = os.fsencode(cls.cluster.path(0, "shuffles", shuffle, "maps"))
        os.mkdir(maps + b"/.tmp-1")
        with open(maps + b"/.tmp-1/" + name, "wb"):
            pass
        try:
            os.rename(maps + b"/.tmp-1", maps + b"/1")
        except OSError as error:
            assert error.errno == errno.EINVAL, error
        else:
            raise AssertionError(f"the name {name} was taken")

    def check_text(self, text, what):
        """Valid UTF-8 without control characters."""
        with self.subTest(what):
            try:
                decoded = text.decode() if isinstance(text, bytes) else text
            except UnicodeDecodeError as error:
                self.fail(str(error))
            found = BAD_TEXT.search(decoded)
            self.assertIsNone(found, found and decoded[max(0, found.start() - 60):found.end() + 20])
            self.assertNotIn("\n2026-01-01T00:00:00.000Z", decoded, "a forged line")

    def run_bytes(self, node, *words):
        http = f"{self.cluster.nodes[node]['http_address']}:{self.cluster.nodes[node]['http_port']}"
        return subprocess.run([self.cluster.commands[node][0], *words, "--http", http], capture_output=True, timeout=60,
                              check=False)

    def test_every_command(self):
        for node in NODES:
            for words in (["status"], ["ls"], ["show", "odd0/0"], ["show", "good/0"], ["verify", "good/0"],
                          ["doctor", "--json"]):
                done = self.run_bytes(node, *words)
                with self.subTest(f"{words} at node{node + 1}"):
                    self.assertIn(done.returncode, (0, 3) if words[0] == "doctor" else (0,), done.stderr)
                self.check_text(done.stdout, f"{words} at node{node + 1}")
            for words in (["status", "--json"], ["ls", "--json"], ["show", "odd1/0", "--json"]):
                with self.subTest(f"{words} at node{node + 1}"):
                    done = self.run_bytes(node, *words)
                    self.assertEqual(done.returncode, 0, done.stderr)
                    json.loads(done.stdout.decode())

    def test_every_answer(self):
        for node in NODES:
            for path in ("/api/v1/status", "/api/v1/cluster", "/api/v1/names", "/api/v1/events",
                         *(f"/api/v1/shuffles/odd{number}/0" for number in range(len(NAMES))), "/api/v1/partitions/odd0/0"):
                with self.subTest(f"{path} at node{node + 1}"):
                    status, body = self.cluster.ask(node, path)
                    self.assertEqual(status, 200, body)
                    json.loads(body.decode())
            self.check_text(self.cluster.ask(node, "/metrics")[1], f"/metrics at node{node + 1}")
            with open(self.cluster.path(node, ".shufflefs/status.json"), "rb") as file:
                json.loads(file.read().decode())

    def test_files_for_people(self):
        for number, (kind, name) in enumerate(NAMES.items()):
            with open(self.cluster.path(0, f"shuffles/odd{number}/0/status"), "rb") as file:
                text = file.read()
            self.check_text(text, f"the file status with {kind}")
            with self.subTest(f"the file status shows {kind}"):
                self.assertIn(name[:5], text)
        path = os.path.join(self.cluster.directory, "node1", "log", "serve.log")
        with open(path, "rb") as file:
            log = file.read()
        self.check_text(log, "the log")
        for kind, name in NAMES.items():
            with self.subTest(f"the log shows {kind}"):
                self.assertIn(name[:5], log)

    def test_names_where_there_is_none(self):
        """Looked for, made and asked for over HTTP."""
        for kind, name in NAMES.items():
            for place in ("shuffles", "shuffles/good", "shuffles/good/0/partitions", ".shufflefs", ".shufflefs/owners"):
                with self.subTest(f"{kind} in {place}"):
                    path = os.fsencode(self.cluster.path(1, place)) + b"/" + name
                    with self.assertRaises(FileNotFoundError):
                        os.stat(path)
                    with self.assertRaises(OSError):
                        os.mkdir(path)
            for route in ("/api/v1/shuffles/", "/api/v1/verify/"):
                with self.subTest(f"{kind} in {route}"):
                    status, body = self.cluster.ask(1, f"{route}{urllib.parse.quote(name, safe='')}/0")
                    self.assertIn(status, (400, 404), body)
                    json.loads(body.decode())
        self.check_text(self.cluster.ask(1, "/api/v1/status")[1], "the report of the node that was asked")

    def test_files_below_local(self):
        """Names of Spark's own directory, which are all allowed there."""
        place = os.fsencode(self.cluster.path(2, "local/disk0"))
        for name in NAMES.values():
            for entry in (name, b"shuffle_0_1_0." + name):
                if len(entry) < 255:
                    with open(place + b"/" + entry, "wb") as file:
                        file.write(b"x")
                    self.assertIn(entry, os.listdir(place))
        json.loads(self.cluster.ask(2, "/api/v1/status")[1].decode())
        self.check_text(self.cluster.ask(2, "/metrics")[1], "/metrics")


class RenameOver(unittest.TestCase):
    """A name that is replaced by another file again and again is there for everybody at each moment."""

    OPENS = 10_000
    # A process of its own, so that it does not wait for the reader's interpreter.
    WRITER = """import os, sys
number = 0
while True:
    number += 1
    temporary = f"{sys.argv[1]}.{number % 2}"
    with open(temporary, "w") as file:
        file.write(str(number))
    os.replace(temporary, sys.argv[1])
"""

    def errors_while_replaced(self, name, call):
        """{error: how often}, of one reader: more of them would leave the writer no time."""
        with open(name, "w", encoding="utf-8") as file:
            file.write("0")
        errors = {}
        with subprocess.Popen(["python3", "-c", self.WRITER, name]) as writer:
            try:
                until(lambda: self.content(name) != "0", "the name is replaced")
                for _ in range(self.OPENS):
                    try:
                        call(name)
                    except OSError as error:
                        kind = errno.errorcode[error.errno]
                        errors[kind] = errors.get(kind, 0) + 1
                self.assertIsNone(writer.poll(), "the writer has ended")
            finally:
                writer.kill()
        return errors

    @staticmethod
    def content(name):
        with open(name, encoding="utf-8") as file:
            return file.read()

    def test_opens_and_stats_while_a_name_is_replaced(self):
        with Cluster(1) as cluster:
            for what, call in (("open", lambda name: os.close(os.open(name, os.O_RDONLY))), ("stat", os.stat)):
                with self.subTest(what):
                    self.assertEqual(self.errors_while_replaced(cluster.path(0, "local/disk0/name"), call), {})


if __name__ == "__main__":
    unittest.main()
