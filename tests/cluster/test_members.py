"""Who is a member, with real daemons that are started one by one, each with one other node to begin with. Root only."""

import json
import os
import signal
import subprocess
import tempfile
import unittest

from credentials import write_secret
from shuffle_cluster import PATIENCE, PROGRAM, runs, until

BASE = os.environ.get("SHUFFLEFS_TEST_FIRST_ADDRESS", "127.0.0.71").rsplit(".", 1)


class Node:
    """A daemon; `first` is the node that it is told of."""

    def __init__(self, directory, number, first=None, flags=()):
        self.name = f"n{number}"
        self.address = f"{BASE[0]}.{int(BASE[1]) + number - 1}"
        self.directory = os.path.join(directory, self.name)
        os.makedirs(f"{self.directory}/mnt", exist_ok=True)
        self.command = [PROGRAM, "serve", "--node", self.name, "--mount", f"{self.directory}/mnt",
                        "--data", f"{self.directory}/data", "--peer-listen", f"{self.address}:7338",
                        "--http-listen", f"{self.address}:7340", "--spark-listen", f"{self.address}:7337",
                        "--memory", "64M", *flags]
        if first:
            self.command += ["--members", f"{first.name}={first.address}:7338"]
        self.process = None
        self.start()

    def start(self):
        with open(f"{self.directory}/log", "ab") as log:
            # pylint: disable-next=consider-using-with
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(lambda: self.run("status").returncode == 0, f"{self.name} is up")

    def run(self, *arguments):
        return subprocess.run([PROGRAM, *arguments, "--http", f"{self.address}:7340"], capture_output=True, text=True,
                              timeout=PATIENCE, check=False)

    def status(self):
        return json.loads(self.run("status", "--json").stdout)

    def peers(self):
        """The others by name, and whether they are up."""
        return {peer["name"]: peer["up"] for peer in self.status()["peers"] if not peer["self"]}

    def kill(self):
        children = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False)
        workers = [int(pid) for pid in children.stdout.split()]
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)
        until(lambda: not any(runs(pid) for pid in workers), "its worker is gone")

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(PATIENCE)

    def clean(self):
        self.stop()
        subprocess.run(["umount", "-l", f"{self.directory}/mnt"], capture_output=True, check=False)

    def log(self):
        with open(f"{self.directory}/log", encoding="utf-8", errors="replace") as file:
            return file.read()


class Members(unittest.TestCase):
    def setUp(self):
        # pylint: disable-next=consider-using-with
        self.scratch = tempfile.TemporaryDirectory(prefix="shufflefs-members-", dir=os.environ.get("TMPDIR", "/var/tmp"))
        self.addCleanup(self.scratch.cleanup)
        os.mkdir(f"{self.scratch.name}/secrets")
        self.flags = write_secret(f"{self.scratch.name}/secrets")

    def node(self, number, first=None, flags=None):
        node = Node(self.scratch.name, number, first, self.flags if flags is None else flags)
        self.addCleanup(node.clean)
        return node

    def await_peers(self, node, peers):
        until(lambda: node.peers() == peers, f"{node.name} sees {peers}, not {node.peers()}")

    def test_a_chain_comes_together_and_nodes_come_and_go(self):
        n1 = self.node(1)
        n2 = self.node(2, n1)
        n3 = self.node(3, n2)
        n4 = self.node(4, n3)
        for node in (n1, n2, n3, n4):
            self.await_peers(node, {other.name: True for other in (n1, n2, n3, n4) if other is not node})
            self.assertEqual(node.status()["members"], {"count": 4, "differences": []})
        with open(f"{n1.directory}/mnt/.shufflefs/metrics", encoding="utf-8") as file:
            metrics = file.read()
        self.assertIn("shufflefs_members 4\n", metrics)
        self.assertIn("shufflefs_members_views_differ 0\n", metrics)

        # Who is killed stays a member; it is not forgotten while it is up.
        refused = n1.run("forget", "n4")
        self.assertEqual(refused.returncode, 1)
        self.assertIn("n4 is up", refused.stderr)
        n4.kill()
        for node in (n1, n2, n3):
            until(lambda node=node: node.peers().get("n4") is False, f"{node.name} sees n4 down")

        # What is forgotten while n3 is down, it hears of when it is back; its file knows the others.
        n3.kill()
        until(lambda: n1.peers()["n3"] is False, "n1 sees n3 down")
        done = n1.run("forget", "n4", "--json")
        self.assertEqual(json.loads(done.stdout), {"node": "n4", "forgotten": True}, done.stderr)
        self.await_peers(n2, {"n1": True, "n3": False})
        self.assertEqual(n1.run("forget", "n4").returncode, 1)
        n3.start()
        self.await_peers(n3, {"n1": True, "n2": True})
        self.assertEqual(n1.peers(), {"n2": True, "n3": True})

        # It is a member again when it is started again.
        n4.start()
        for node in (n1, n2, n3):
            until(lambda node=node: node.peers().get("n4") is True, f"{node.name} sees n4 again")

        # A drained node that is stopped has left.
        drained = n4.run("drain")
        self.assertEqual(drained.returncode, 0, drained.stdout + drained.stderr)
        n4.stop()
        for node in (n1, n2, n3):
            self.await_peers(node, {other.name: True for other in (n1, n2, n3) if other is not node})
        # One that is only stopped has not.
        n3.stop()
        self.await_peers(n1, {"n2": True, "n3": False})

    def test_a_stranger_is_no_member_and_says_why(self):
        n1 = self.node(1)
        os.mkdir(f"{self.scratch.name}/other")
        other = write_secret(f"{self.scratch.name}/other", "another secret of somebody else")
        n2 = self.node(2, n1, other)
        until(lambda: "peer.refused" in n1.log(), "n1 has refused it")
        self.assertEqual(n1.peers(), {})
        self.assertEqual(n2.peers(), {"n1": False})


if __name__ == "__main__":
    unittest.main()
