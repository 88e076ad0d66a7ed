"""The HTTP API of live daemons against docs/openapi.yaml, and who may ask what."""

import http.client
import json
import os
import re
import signal
import tempfile
import unittest

from openapi_check import Answer, ask, description
from shuffle_cluster import Cluster, make_blocks, until

SHUFFLE = "app-1/0"
SIZES = [100, 0, 5000, 40_000, 300_000, 60]
TOKEN = "a token for tests"


def base_of(cluster, node):
    return f"http://{cluster.nodes[node]['http_address']}:{cluster.nodes[node]['http_port']}"


class Api(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.description = description()
        cls.cluster = Cluster(3, "--push.max-retries", "0")
        cls.addClassCleanup(cls.cluster.down)
        for map_id in range(6):
            cls.cluster.write_files(map_id % 3, SHUFFLE, map_id, make_blocks(map_id, SIZES))
        cls.cluster.wait_for_maps(0, SHUFFLE, 6)

    def get(self, target, node=0, status=200, method="GET"):
        answer = ask(base_of(self.cluster, node), target, method)
        body = self.description.check(method, target, answer)
        self.assertEqual(answer.status, status, answer.text)
        return body

    def settled_cluster(self, node=0, is_good=lambda cluster: True):
        """The cluster as the node sees it, once every node that is up has reported that it is well."""
        seen = []

        def well():
            cluster = self.get("/api/v1/cluster", node)
            seen.append(cluster)
            reports = [n["report"] for n in cluster["nodes"] if n["up"] or n["self"]]
            return all(report and report["ready"] and report["current"] for report in reports) and is_good(cluster)
        # On a slow machine a deadline may pass now and then.
        until(well, "every node reports that it is well")
        return seen[-1]

    def test_1_everything_that_is_described_is_served_as_described(self):
        def ready():
            answer = ask(base_of(self.cluster, 0), "/readyz")
            self.description.check("GET", "/readyz", answer)
            return answer.status == 200
        until(ready, "the mount answers in time")
        for target in ("/healthz", "/metrics", "/", "/api/v1/openapi.yaml", "/api/v1/status",
                       "/api/v1/events", f"/api/v1/shuffles/{SHUFFLE}"):
            with self.subTest(target):
                self.get(target)
        self.get("/api/v1/shuffles/nobody/7", status=404)
        self.get("/api/v1/shuffles/nobody/7/partitions", status=404)
        self.get("/api/v1/shuffles/app-1/x", status=400)
        for query in ("first=6", "cells=0", "cells=5000", "count=0", "first=-1", "first=a"):
            self.get(f"/api/v1/shuffles/{SHUFFLE}/partitions?{query}", status=400)

    def test_1_what_the_commands_ask_is_served_as_described(self):
        self.assertEqual(self.get("/api/v1/names?count=1")["shuffles"], [{"app": "app-1", "shuffle": 0}])
        self.assertEqual(self.get(f"/api/v1/names?after={SHUFFLE}")["shuffles"], [])
        self.get("/api/v1/names?count=x", status=400)
        total = sum(len(make_blocks(m, SIZES)[p]) for m in range(6) for p in range(len(SIZES)))
        paged = self.get(f"/api/v1/partitions/{SHUFFLE}?count=2")
        self.assertEqual((len(paged["partitions"]), paged["next"], paged["partition_count"]), (2, 2, len(SIZES)))
        pages = paged["partitions"] + self.get(f"/api/v1/partitions/{SHUFFLE}?from=2")["partitions"]
        self.assertEqual((sum(p["bytes"] for p in pages), sum(p["merged_bytes"] for p in pages)), (total, total))
        blocks = self.get(f"/api/v1/partitions/{SHUFFLE}/4?from=1")
        self.assertEqual([b["bytes"] for b in blocks["list"]], [SIZES[4]] * 5)
        verified = self.get(f"/api/v1/verify/{SHUFFLE}/4")
        self.assertEqual((verified["blocks"], verified["merged_right"], verified["findings"]), (6, 6, []))
        for target in ("/api/v1/partitions/nobody/7", "/api/v1/partitions/nobody/7/0"):
            self.get(target, status=404)
        for target in (f"/api/v1/partitions/{SHUFFLE}?count=257", f"/api/v1/partitions/{SHUFFLE}/x",
                       f"/api/v1/verify/{SHUFFLE}/-1"):
            self.get(target, status=400)
        self.assertGreater(self.get("/api/v1/clock")["unix_ms"], 1_700_000_000_000)
        before = self.get("/api/v1/log-level")["level"]
        self.assertEqual(self.get("/api/v1/log-level?level=debug", method="POST")["level"], "debug")
        self.assertEqual(self.get(f"/api/v1/log-level?level={before}", method="POST")["level"], before)
        self.get("/api/v1/log-level?level=loud", method="POST", status=400)

    def test_1_every_route_is_described(self):
        main = os.path.join(os.path.dirname(__file__), "../../main")
        routes = set()
        for name in os.listdir(main):
            if name.startswith("api"):
                with open(f"{main}/{name}", encoding="utf-8") as source:
                    routes |= set(re.findall(r'"(/(?:api/v1/[\w.-]+|healthz|readyz|metrics))"', source.read()))
        self.assertGreater(len(routes), 10)
        for route in routes:
            self.assertTrue(any(path == route or path.startswith(route + "/") for path in self.description.root["paths"]), route)

    def test_2_the_cluster_is_the_sum_of_its_nodes(self):
        for node in range(3):
            cluster = self.settled_cluster(node, lambda cluster: all(n["report"] for n in cluster["nodes"]))
            self.assertEqual(cluster["node"], f"node{node + 1}")
            self.assertEqual([n["name"] for n in cluster["nodes"]], ["node1", "node2", "node3"])
            [shuffle] = [s for s in cluster["shuffles"] if s["app"] == "app-1"]
            self.assertEqual((shuffle["maps"], shuffle["maps_settled"], shuffle["partitions"], shuffle["pushing"]),
                             (6, 6, 6, False))
            self.assertEqual(shuffle["merged_bytes"], shuffle["bytes"])
            self.assertIn("serve.ready", {event["code"] for event in cluster["events"]})
            self.assertEqual({event["node"] for event in cluster["events"]}, {"node1", "node2", "node3"})
            # What was pushed over the network is what the peers have counted.
            pushed = sum(peer["pushed_bytes"] for n in cluster["nodes"] for peer in n["report"]["traffic"])
            self.assertGreater(pushed, 0)
            self.assertLess(pushed, shuffle["bytes"])  # some partitions are owned where they were written

    def test_3_partition_sizes_are_those_of_the_blocks(self):
        sizes = self.get(f"/api/v1/shuffles/{SHUFFLE}/partitions")
        expected = [sum(len(make_blocks(m, SIZES)[p]) for m in range(6)) for p in range(len(SIZES))]
        self.assertEqual(sizes["committed_bytes"], expected)
        self.assertEqual(sizes["merged_bytes"], expected)
        self.assertEqual((sizes["width"], sizes["maps"], sizes["maps_counted"]), (1, 6, 6))
        paired = self.get(f"/api/v1/shuffles/{SHUFFLE}/partitions?first=1&count=4&cells=2")
        self.assertEqual(paired["committed_bytes"], [expected[1] + expected[2], expected[3] + expected[4]])
        self.assertEqual((paired["first"], paired["count"], paired["width"]), (1, 4, 2))

    def test_4_nothing_else_is_served_and_no_page_of_another_site_can_do_anything(self):
        base = base_of(self.cluster, 0)
        self.assertEqual(ask(base, "/nothing").status, 404)
        self.assertEqual(ask(base, "/api/v1/clusterX").status, 404)
        self.assertEqual(ask(base, "/api/v1/cluster", "POST").status, 405)
        self.assertEqual(ask(base, "/", "DELETE").status, 405)
        self.assertEqual(ask(base, f"/api/v1/shuffles/{SHUFFLE}", "OPTIONS").status, 405)
        target = f"/api/v1/shuffles/{SHUFFLE}"
        for headers in ({"Origin": "http://elsewhere.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
                        {"Sec-Fetch-Site": "same-site"}, {"Host": "elsewhere.example:7340"}):
            answer = ask(base, target, "DELETE", headers)
            self.assertEqual(answer.status, 403, headers)
            self.description.check("DELETE", target, answer)
        # DNS rebinding: a name of somebody else's that points here reads nothing.
        for path in ("/api/v1/cluster", "/metrics", "/api/v1/status"):
            self.assertEqual(ask(base, path, headers={"Host": "elsewhere.example"}).status, 403)
        answer = ask(base, "/api/v1/cluster")
        self.assertNotIn("Access-Control-Allow-Origin", answer.headers)
        self.assertEqual(answer.headers["X-Content-Type-Options"], "nosniff")
        page = ask(base, "/")
        self.assertIn("default-src 'none'", page.headers["Content-Security-Policy"])
        self.assertNotIn("unsafe", page.headers["Content-Security-Policy"])
        self.get(target)  # it is still there

    def test_5_a_drop_by_who_may(self):
        self.cluster.write_files(0, "app-2/0", 0, make_blocks(0, SIZES))
        self.cluster.wait_for_maps(0, "app-2/0", 1)
        self.get("/api/v1/shuffles/app-2/0", method="DELETE")
        self.get("/api/v1/shuffles/app-2", method="DELETE")
        self.get("/api/v1/shuffles/%2e%2e%2fx", method="DELETE", status=400)
        self.get("/api/v1/shuffles/app-2/0", status=404)

    def test_6_a_node_that_is_down_is_shown_as_down_with_the_reason(self):
        self.cluster.signal(2, signal.SIGKILL)
        cluster = self.settled_cluster(0, lambda cluster: not cluster["nodes"][2]["up"])
        node = cluster["nodes"][2]
        self.assertIsNone(node["report"])
        self.assertIn("refused", node["reason"])
        self.assertIn("node3", node["report_reason"])
        self.assertTrue(cluster["nodes"][0]["report"]["ready"])
        until(lambda: "peer.down" in {event["code"] for event in self.get("/api/v1/cluster")["events"]},
              "the event is in a report, which may be a second old")
        sizes = self.get(f"/api/v1/shuffles/{SHUFFLE}/partitions")
        self.assertEqual([n["node"] for n in sizes["unreachable"]], ["node3"])
        self.get("/api/v1/shuffles/app-9", method="DELETE", status=503)

    def test_6_only_a_member_that_is_down_is_forgotten(self):
        self.get("/api/v1/members/node2", method="DELETE", status=409)
        self.get("/api/v1/members/node9", method="DELETE", status=404)

    def test_6_drain(self):
        """Switched on and off again: whether everything gets elsewhere is another test's business."""
        for method, draining in (("POST", True), ("GET", True), ("DELETE", False)):
            self.assertEqual(self.get("/api/v1/drain", method=method)["draining"], draining)

    def test_7_the_description_itself(self):
        """It finds what is wrong, and every operation of it has been compared with an answer."""
        self.assertTrue(self.get("/api/v1/members/node3", method="DELETE")["forgotten"])
        answer = Answer(200, ask(base_of(self.cluster, 0), "/api/v1/cluster").headers,
                        json.dumps(self.settled_cluster(), separators=(",", ":")))
        for spoil in (lambda c: c.replace('"nodes":[', '"nodes":[7,', 1), lambda c: c.replace('"time_ms":', '"t":', 1),
                      lambda c: c.replace('"ready":true', '"ready":1', 1)):
            with self.assertRaises(AssertionError):
                self.description.check("GET", "/api/v1/cluster",
                                       Answer(200, answer.headers, spoil(answer.text)))
        for path, method, operation in self.description.operations():
            good = next(iter(operation["responses"]))
            self.assertIn((path, method, good), self.description.seen)


class Token(unittest.TestCase):
    def test_a_token_guards_changes_and_beyond_loopback_everything(self):
        with tempfile.NamedTemporaryFile("w", suffix=".token") as file:
            file.write(TOKEN + "\n")
            file.flush()
            with Cluster(1, "--http-token-file", file.name) as cluster:
                base = base_of(cluster, 0)
                good = {"Authorization": f"Bearer {TOKEN}"}
                self.assertEqual(ask(base, "/api/v1/status").status, 200)
                for headers in ({}, {"Authorization": "Bearer a token"}, {"Authorization": "Bearer "},
                                {"Authorization": TOKEN}, {"Authorization": f"Basic {TOKEN}"}):
                    answer = ask(base, "/api/v1/shuffles/app-1", "DELETE", headers)
                    self.assertEqual((answer.status, answer.headers["WWW-Authenticate"]), (401, "Bearer"), headers)
                self.assertEqual(ask(base, "/api/v1/shuffles/app-1", "DELETE", good).status, 200)
                # With it, the name that the server is reached by does not matter.
                self.assertEqual(ask(base, "/metrics", headers={**good, "Host": "proxy.example"}).status, 200)
                # The commands take it from the environment.
                done = cluster.run(0, "drop", "app-1")
                self.assertNotEqual(done.returncode, 0, done.stdout)
                self.assertIn("token", done.stderr)
                os.environ["SHUFFLEFS_HTTP_TOKEN_FILE"] = file.name
                try:
                    done = cluster.run(0, "drop", "app-1")
                finally:
                    del os.environ["SHUFFLEFS_HTTP_TOKEN_FILE"]
                self.assertEqual(done.returncode, 0, done.stderr)


class Slow(unittest.TestCase):
    def test_who_sends_slowly_or_much_is_cut_off_and_others_are_served(self):
        with Cluster(1) as cluster:
            node = cluster.nodes[0]
            slow = []
            for _ in range(300):  # more than are served at a time
                connection = http.client.HTTPConnection(node["http_address"], node["http_port"], timeout=60)
                connection.connect()
                connection.sock.sendall(b"GET /api/v1/status HTTP/1.1\r\nX: ")
                slow.append(connection)
            self.assertEqual(ask(base_of(cluster, 0), "/healthz").status, 200)
            until(lambda: ask(base_of(cluster, 0), "/readyz").status == 200, "the mount answers in time")
            for connection in slow:  # all are closed, the last by the deadline for a whole request
                try:
                    self.assertEqual(connection.sock.recv(1), b"")
                except ConnectionResetError:
                    pass
                connection.close()
            self.assertEqual(ask(base_of(cluster, 0), "/healthz", headers={"X": "x" * 9000}).status, 431)


class PageFiles(unittest.TestCase):
    """What can be seen of the page without a browser; scripts/page-test uses one."""

    def test_they_fit_together(self):
        described = description()
        with Cluster(1) as cluster:
            base = base_of(cluster, 0)
            html = ask(base, "/").text
            files = set(re.findall(r'(?:src|href)="(/[\w.]+)"', html))
            self.assertGreaterEqual(files, {"/page.css", "/page.js", "/icon.svg"})
            script = ""
            todo = sorted(files - {"/metrics"})
            while todo:
                path = todo.pop()
                answer = ask(base, path)
                self.assertEqual(answer.status, 200, path)
                self.assertIn("default-src 'none'", answer.headers["Content-Security-Policy"], path)
                kind = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}[path.rsplit(".", 1)[1]]
                self.assertTrue(answer.headers["Content-Type"].startswith(kind), path)
                if kind == "text/javascript":
                    script += answer.text
                    for name in re.findall(r'from "\./([\w.]+)"', answer.text):
                        if "/" + name not in files:
                            files.add("/" + name)
                            todo.append("/" + name)
            # Nothing inline, which the policy would refuse, and nothing from elsewhere.
            self.assertNotRegex(html, r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=")
            self.assertNotRegex(html + script, r"https?://")
            self.assertNotRegex(script, r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(")
            ids = set(re.findall(r'id="([\w-]+)"', html))
            self.assertLessEqual(set(re.findall(r'place\("([\w-]+)"\)', script)), ids)
            for path in re.findall(r'ask\([`"](/api/[\w/]+)', script):
                self.assertTrue(any(known.startswith(path.rstrip("/")) for known in described.root["paths"]), path)
            actions = set(re.findall(r'"data-action": "([\w-]+)"', script)) | set(re.findall(r'data-action="([\w-]+)"', html))
            body = script[script.index("const ACTIONS"):]
            for action in actions:
                self.assertRegex(body, rf'\n  "?{action}"?\(', action)


if __name__ == "__main__":
    unittest.main()
