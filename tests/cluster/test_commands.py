"""The commands against a live three-node cluster: what is right, what was damaged, what is down. Real daemons."""

import glob
import json
import os
import pty
import select
import signal
import subprocess
import termios
import time
import unittest

from shuffle_cluster import PATIENCE, PROGRAM, Cluster, make_blocks, runs, until

SHUFFLE = "app-1/0"
SIZES = [100, 0, 5000, 40_000, 300_000, 60]
MAPS = 6


def json_of(done):
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


class Commands(unittest.TestCase):
    """One cluster for all; every test has its own shuffle."""

    number = 0

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(3)

    @classmethod
    def tearDownClass(cls):
        cls.cluster.down()

    def setUp(self):
        Commands.number += 1
        self.shuffle = f"app-{Commands.number}/0"
        for map_id in range(MAPS):
            self.cluster.write_files(map_id % 3, self.shuffle, map_id, make_blocks(map_id, SIZES))
        self.cluster.wait_for_maps(0, self.shuffle, MAPS)

    def merged_file(self, partition):
        """The merged file of a partition, on whichever node's disk it is."""
        found = glob.glob(f"{self.cluster.directory}/node*/data/merged/{self.shuffle}-*/{partition}.data")
        self.assertEqual(len(found), 1)
        return found[0]

    def test_ls_and_show(self):
        names = self.cluster.run(1, "ls", "--names").stdout.split()
        self.assertIn(self.shuffle, names)
        app = self.shuffle.split("/", maxsplit=1)[0]
        listed = json_of(self.cluster.run(2, "ls", app, "--json"))["shuffles"]
        self.assertEqual([(one["app"], one["maps"], one["maps_settled"]) for one in listed], [(app, MAPS, MAPS)])
        self.assertIn(self.shuffle, self.cluster.run(0, "ls").stdout)

        shown = json_of(self.cluster.run(0, "show", self.shuffle, "--json"))
        # A block is at least its header; a partition without bytes is listed, too.
        self.assertEqual([p["bytes"] > 0 for p in shown["partitions"]], [size > 0 for size in SIZES])
        self.assertEqual(shown["partitions"][4]["bytes"], MAPS * SIZES[4])
        self.assertEqual(shown["shuffle"]["merged_bytes"], shown["shuffle"]["bytes"])
        text = self.cluster.run(0, "show", self.shuffle)
        self.assertEqual(text.returncode, 0)
        self.assertIn("Sizes of partitions: median", text.stdout)

        one = json_of(self.cluster.run(0, "show", f"{self.shuffle}/4", "--json"))
        self.assertEqual(sorted(block["map"] for block in one["list"]), list(range(MAPS)))
        self.assertEqual({block["origin"] for block in one["list"]}, {"node1", "node2", "node3"})
        self.assertEqual(self.cluster.run(0, "show", "nobody/0").returncode, 1)
        self.assertEqual(self.cluster.run(0, "show", "app/0/x").returncode, 2)

    def test_verify_finds_the_damaged_copy(self):
        good = self.cluster.run(0, "verify", self.shuffle)
        self.assertEqual(good.returncode, 0, good.stdout + good.stderr)
        path = self.merged_file(4)
        with open(path, "r+b") as file:
            file.seek(SIZES[4] * 2 + 1000)
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 1]))
        bad = self.cluster.run(1, "verify", self.shuffle, "--json")
        self.assertEqual(bad.returncode, 3, bad.stdout + bad.stderr)
        findings = json_of(bad)["findings"]
        self.assertEqual(len(findings), 1)
        finding = findings[0]
        self.assertEqual((finding["partition"], finding["copy"], finding["code"]), (4, "merged", "corrupt_data"))
        self.assertTrue(path.endswith(finding["file"]), finding)
        self.assertIn(f"/{finding['node']}/", path)
        self.assertEqual(finding["offset"], SIZES[4] * 2)
        self.assertEqual(json_of(bad)["origins_right"], json_of(bad)["blocks"])
        text = self.cluster.run(1, "verify", f"{self.shuffle}/4")
        self.assertEqual(text.returncode, 3)
        self.assertIn("the merged copy on", text.stdout)
        # A reader on another node gets the right bytes, and the log says where the wrong ones are.
        reader = (int(finding["node"][-1])) % 3
        self.cluster.read_partition(reader, self.shuffle, 4)
        line = next(line for line in self.cluster.log(reader).splitlines() if "read.fallback" in line)
        for field in (f"app={self.shuffle.split('/', maxsplit=1)[0]}", "shuffle=0", "partition=4",
                      f"node={finding['node']}", f"file={finding['file']}", "offset=", "errno="):
            self.assertIn(field, line)

    def test_top(self):
        once = self.cluster.run(0, "top", "--once", "--interval", "200ms")
        self.assertEqual(once.returncode, 0, once.stderr)
        for word in ("node1", "Memory", "node3", "merged", self.shuffle):
            self.assertIn(word, once.stdout)
        answer = json_of(self.cluster.run(0, "top", "--json", "--interval", "200ms"))
        self.assertIn("merged", [rate["name"] for rate in answer["rates"]])
        self.assertEqual(self.cluster.run(0, "top").returncode, 2)  # no terminal

    def test_top_in_a_terminal_draws_without_clearing_and_gives_the_terminal_back(self):
        master, slave = pty.openpty()
        before = termios.tcgetattr(slave)
        node = self.cluster.nodes[0]
        with subprocess.Popen([PROGRAM, "top", "--interval", "100ms", "--http",
                               f"{node['http_address']}:{node['http_port']}"], stdin=slave, stdout=slave, stderr=slave,
                              env={**os.environ, "TERM": "xterm"}) as process:
            shown = b""

            def read_some():
                nonlocal shown
                if select.select([master], [], [], 0.05)[0]:
                    shown += os.read(master, 65536)
                return shown.count(b"\x1b[H") >= 3
            until(read_some, "it has drawn three times")
            os.write(master, b"q")
            until(lambda: read_some() and process.poll() is not None, "it has ended")
            self.assertEqual(process.returncode, 0)
        text = shown.decode()
        self.assertEqual(text.count("\x1b[2J"), 1)  # once, at the beginning: no flicker
        self.assertIn("\x1b[?1049l", text)
        self.assertEqual(termios.tcgetattr(slave)[3], before[3])
        os.close(slave)
        os.close(master)

    def test_log_level_lasts_beyond_the_worker(self):
        self.assertEqual(self.cluster.run(2, "log-level").stdout, "info\n")
        self.assertEqual(json_of(self.cluster.run(2, "log-level", "debug", "--json")), {"level": "debug"})
        self.cluster.write_files(2, self.shuffle, 50, make_blocks(50, SIZES))
        until(lambda: "map.committed" in self.cluster.log(2), "an event of level debug is logged")
        worker = self.cluster.workers(2)[0]
        os.kill(worker, signal.SIGKILL)
        until(lambda: not runs(worker), "the worker is gone")
        until(lambda: self.cluster.run(2, "log-level").stdout == "debug\n", "the next worker logs as much")
        self.assertEqual(self.cluster.run(2, "log-level", "loud").returncode, 2)
        self.assertEqual(self.cluster.run(2, "log-level", "info").stdout, "info\n")

    def test_wait_drop_and_version_in_json(self):
        waited = self.cluster.run(0, "wait", self.shuffle, "--maps", str(MAPS), "--json")
        self.assertEqual(json_of(waited)["state"], "merged")
        late = self.cluster.run(0, "wait", self.shuffle, "--maps", "99", "--timeout", "200ms", "--json")
        self.assertEqual((late.returncode, json_of(late)["state"]), (4, "timeout"))
        self.assertEqual(json_of(self.cluster.run(0, "drop", self.shuffle, "--json")),
                         {"name": self.shuffle, "dropped": True})
        version = subprocess.run([PROGRAM, "version", "--json"], capture_output=True, text=True, check=True)
        self.assertIn("version", json.loads(version.stdout))

    def test_pages_of_the_api_go_on_where_they_ended(self):
        node = self.cluster.nodes[0]
        base = f"http://{node['http_address']}:{node['http_port']}"

        def get(path):
            done = subprocess.run(["curl", "-sS", base + path], capture_output=True, text=True, timeout=PATIENCE,
                                  check=True)
            return json.loads(done.stdout)
        seen, start = [], 0
        while start is not None:
            page = get(f"/api/v1/partitions/{self.shuffle}?from={start}&count=2")
            self.assertLessEqual(len(page["partitions"]), 2)
            seen += [one["partition"] for one in page["partitions"]]
            start = page.get("next")
        self.assertEqual(seen, list(range(len(SIZES))))
        first = get("/api/v1/names?count=1")
        rest = get(f"/api/v1/names?after={first['next']}") if "next" in first else {"shuffles": []}
        names = [f"{one['app']}/{one['shuffle']}" for one in first["shuffles"] + rest["shuffles"]]
        self.assertEqual(names, self.cluster.run(0, "ls", "--names").stdout.split())
        for path in ("/api/v1/partitions/x", f"/api/v1/partitions/{self.shuffle}?from=-1",
                     f"/api/v1/verify/{self.shuffle}", "/api/v1/names?after=x"):
            self.assertEqual(get(path)["error"]["code"], "invalid_argument", path)
        self.assertLess(abs(get("/api/v1/clock")["unix_ms"] / 1000 - time.time()), PATIENCE)


class Formats(unittest.TestCase):
    def test_json_lines(self):
        with Cluster(1, "--log-format", "json") as cluster:
            lines = [json.loads(line) for line in cluster.log(0).splitlines()]
            self.assertIn("serve.ready", [line["event"] for line in lines])
            self.assertTrue(all({"time", "level", "event"} <= line.keys() for line in lines))


class NodeDown(unittest.TestCase):
    def test_what_is_lost_is_shown_and_verified_as_lost(self):
        with Cluster(3, "--push.enabled=false") as cluster:
            for map_id in range(3):
                cluster.write_files(map_id, SHUFFLE, map_id, make_blocks(map_id, SIZES))
            until(lambda: all(cluster.metric(node, "shufflefs_announce_pending") == 0 for node in range(3)),
                  "every node has told the others of its map outputs")
            cluster.signal(2, signal.SIGKILL)
            until(lambda: "node3" in cluster.run(0, "verify", SHUFFLE).stdout, "node3 is seen to be down")
            bad = cluster.run(0, "verify", SHUFFLE, "--json")
            self.assertEqual(bad.returncode, 3)
            self.assertTrue(json_of(bad)["incomplete"])
            self.assertIn("incomplete", cluster.run(0, "show", SHUFFLE).stdout)
            self.assertIn("node3", cluster.run(0, "show", f"{SHUFFLE}/3").stdout)


if __name__ == "__main__":
    unittest.main()
