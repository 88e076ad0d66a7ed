"""The metrics of live daemons: their form, their page in docs/, the alert rules and the dashboard over them.

  test_metrics.py --write    writes docs/metrics.md anew
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import unittest

from metrics_page import families, page
from openapi_check import ask
from shuffle_cluster import Cluster, make_blocks, until

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
PAGE = os.path.join(ROOT, "docs", "metrics.md")
MONITORING = os.path.join(ROOT, "charts", "monitoring")
PROMTOOL = os.environ.get("PROMTOOL", "/opt/shufflefs/bin/promtool")
SHUFFLE = "app-1/0"
SIZES = [3000, 2000, 5000, 40_000, 30_000, 6000]


def promtool(*arguments, text=None, directory=None):
    try:
        return subprocess.run([PROMTOOL, *arguments], input=text, capture_output=True, text=True, timeout=300,
                              check=False, cwd=directory)
    except FileNotFoundError as error:
        raise AssertionError(f"{PROMTOOL} is missing: run scripts/setup") from error


def scrape(cluster, node=0):
    return ask(f"http://{cluster.nodes[node]['http_address']}:{cluster.nodes[node]['http_port']}", "/metrics").text


def used_cluster():
    """Every kind of thing that is counted by label has happened at least once."""
    cluster = Cluster(3)
    try:
        for map_id in range(6):
            cluster.write_files(map_id % 3, SHUFFLE, map_id, make_blocks(map_id, SIZES))
        cluster.wait_for_maps(0, SHUFFLE, 6)
        for partition in range(len(SIZES)):
            cluster.read_partition(0, SHUFFLE, partition)
    except BaseException:
        cluster.down()
        raise
    return cluster


def names_in(expression):
    return set(re.findall(r"\b((?:shufflefs|process)_\w+)", expression))


class Metrics(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = used_cluster()
        cls.addClassCleanup(cls.cluster.down)
        cls.text = scrape(cls.cluster)
        cls.families = families(cls.text)

    def test_prometheus_finds_nothing_wrong_with_them(self):
        done = promtool("check", "metrics", text=self.text)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        spoiled = promtool("check", "metrics", text=self.text.replace("# TYPE shufflefs_peers gauge", "# TYPE x y"))
        self.assertNotEqual(spoiled.returncode, 0, "promtool finds what is wrong")

    def test_every_metric_is_documented(self):
        with open(PAGE, encoding="utf-8") as file:
            self.assertEqual(file.read(), page(self.families), "docs/metrics.md is old: "
                             "SHUFFLEFS_BUILD=$PWD/build PYTHONPATH=tests/support tests/cluster/test_metrics.py --write")
        for family in self.families.values():
            with self.subTest(family.name):
                self.assertTrue(family.help.endswith("."))
                self.assertIn(family.type, ("counter", "gauge", "histogram"))
                self.assertEqual(family.type == "counter", family.name.endswith("_total"))

    def test_they_count_what_happens(self):
        def value(series):
            for line in scrape(self.cluster).splitlines():
                if line.startswith(series + " "):
                    return float(line.rsplit(" ", 1)[1])
            self.fail(f"no {series}")
        # On a slow machine a deadline may pass now and then.
        for series, wanted in (('shufflefs_peers{state="up"}', 2), ("shufflefs_mount_answers", 1),
                               ('shufflefs_disk_answers{disk="disk0"}', 1)):
            until(lambda series=series, wanted=wanted: value(series) == wanted, f"{series} is {wanted}")
        self.assertGreater(value('shufflefs_disk_free_bytes{disk="disk0"}'), 0)
        self.assertEqual(value("shufflefs_workers_started_total"), 1)
        self.assertGreater(value('shufflefs_peer_pushed_bytes_total{peer="node2"}'), 0)
        self.assertGreater(value('shufflefs_peer_request_seconds_count{type="push"}'), 0)
        lookups = value('shufflefs_mount_request_seconds_count{operation="lookup"}')
        self.assertGreater(lookups, 0)
        self.assertLess(value('shufflefs_mount_request_seconds_sum{operation="lookup"}'), lookups * 60)
        # A request is counted when its answer is on its way: who has the answer may look too early.
        mkdirs = 'shufflefs_mount_request_seconds_count{operation="mkdir"}'
        before = value(mkdirs)
        os.mkdir(self.cluster.path(0, "local", "disk0", "counted"))
        until(lambda: value(mkdirs) == before + 1, "the mkdir is counted")
        # The answers of virtual files come from other threads, and are timed all the same.
        reads = 'shufflefs_mount_request_seconds_count{operation="read"}'
        before_reads = value(reads)
        self.cluster.metric(0, "shufflefs_shuffles")  # .shufflefs/metrics, answered by the reactor
        until(lambda: value(reads) > before_reads, "the read is counted")
        before = value('shufflefs_mount_errors_total{errno="EROFS"}')
        with self.assertRaises(OSError):
            os.mkdir(self.cluster.path(0, ".shufflefs", "no"))
        self.assertEqual(value('shufflefs_mount_errors_total{errno="EROFS"}'), before + 1)
        self.assertEqual(value("shufflefs_reactor_disk_waits_total"), 0)
        # The worker dies: another one serves the same mount.
        [worker] = self.cluster.workers(0)
        os.kill(worker, 9)
        until(lambda: b"ok" in self.ready(), "another worker serves")
        self.assertEqual(value("shufflefs_workers_started_total"), 2)

    def ready(self):
        node = self.cluster.nodes[0]
        try:
            return ask(f"http://{node['http_address']}:{node['http_port']}", "/readyz").text.encode()
        except OSError:
            return b""


class Monitoring(unittest.TestCase):
    """What lies in charts/monitoring, against docs/metrics.md."""

    @classmethod
    def setUpClass(cls):
        with open(PAGE, encoding="utf-8") as file:
            documented = re.findall(r"^- `(\w+)`( \(histogram\))?:", file.read(), re.MULTILINE)
        cls.names = {name for name, _ in documented}
        for name, histogram in documented:
            if histogram:
                cls.names |= {name + suffix for suffix in ("_bucket", "_sum", "_count")}
        with open(os.path.join(MONITORING, "alerts.yaml"), encoding="utf-8") as file:
            cls.rules = file.read()
        with open(os.path.join(MONITORING, "dashboard.json"), encoding="utf-8") as file:
            cls.dashboard = json.load(file)

    def test_the_alerts_fire_when_they_should_and_only_then(self):
        checked = promtool("check", "rules", "alerts.yaml", directory=MONITORING)
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)
        tested = promtool("test", "rules", "alerts_test.yaml", directory=MONITORING)
        self.assertEqual(tested.returncode, 0, tested.stdout + tested.stderr)
        expressions = re.findall(r"^ +expr: (.*)$", self.rules, re.MULTILINE)
        self.assertGreater(len(expressions), 10)
        for expression in expressions:
            self.assertLessEqual(names_in(expression), self.names, expression)
        with open(os.path.join(MONITORING, "alerts_test.yaml"), encoding="utf-8") as file:
            test = file.read()
        with open(os.path.join(ROOT, "docs", "monitoring.md"), encoding="utf-8") as file:
            advice = file.read()
        for alert in re.findall(r"- alert: (\w+)", self.rules):
            self.assertIn(f'alertname="{alert}"', test, "it has a test")
            self.assertIn(f"`{alert}`", advice, "docs/monitoring.md says what to do")

    def test_the_dashboard_asks_for_what_there_is(self):
        expressions = [target["expr"] for panel in self.dashboard["panels"] for target in panel["targets"]]
        self.assertGreater(len(expressions), 20)
        for expression in expressions:
            self.assertLessEqual(names_in(expression), self.names, expression)
        # Prometheus parses them: as recording rules, with a node in place of Grafana's variable.
        rules = [{"record": f"panel:{number}", "expr": expression.replace("$instance", "node1")}
                 for number, expression in enumerate(expressions)]
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            json.dump({"groups": [{"name": "dashboard", "rules": rules}]}, file)  # JSON is YAML
            file.flush()
            done = promtool("check", "rules", file.name)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in self.dashboard["panels"]]
        self.assertEqual(len(places), len(set(places)), "no panel lies on another")


def write():
    cluster = used_cluster()
    try:
        text = page(families(scrape(cluster)))
    finally:
        cluster.down()
    with open(PAGE, "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    if "--write" in sys.argv:
        write()
    else:
        unittest.main()
