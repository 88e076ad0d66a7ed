"""Real daemons that know each other from strangers, and users who are kept apart, over three nodes."""

import os
import resource
import socket
import subprocess
import tempfile
import threading
import unittest

from credentials import SECRET, make_certificates, write_secret
from shuffle_cluster import PATIENCE, PROGRAM, Cluster, make_blocks, maps_in, until

SHUFFLE = "app-1/0"
ALICE, BOB = 20001, 20002
STRANGERS = 10_000


def read_text(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def as_user(uid, script):
    return subprocess.run(["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "sh", "-ec", script],
                          capture_output=True, text=True, timeout=PATIENCE, check=False)


class SecurityCase(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory(prefix="shufflefs-security-", dir="/var/tmp")
        self.addCleanup(self.directory.cleanup)

    def shuffle(self, cluster, maps, all_merged=True):
        """Every block is there on every node, merged or not."""
        sizes = [0, 100, 5000, 300_000]
        for map_id in range(maps):
            cluster.write_directory(map_id % 3, SHUFFLE, map_id, make_blocks(map_id, sizes))
        if all_merged:
            cluster.wait_for_maps(0, SHUFFLE, maps)
        for node in range(3):
            for partition in (1, 2, 3):
                found = maps_in(cluster.read_partition(node, SHUFFLE, partition), partition)
                self.assertEqual(sorted(found), list(range(maps)))


class Strangers(SecurityCase):
    """With a secret and TLS."""

    def check_nothing_tells_the_secret(self, cluster):
        texts = [cluster.log(node) for node in range(3)]
        for node in range(3):
            for pid in [cluster.nodes[node]["pid"], *cluster.workers(node)]:
                for name in ("cmdline", "environ"):
                    with open(f"/proc/{pid}/{name}", "rb") as file:
                        texts.append(file.read().decode(errors="replace"))
            for name in os.listdir(cluster.path(node, ".shufflefs")):
                path = cluster.path(node, ".shufflefs", name)
                if os.path.isfile(path):
                    with open(path, encoding="utf-8", errors="replace") as file:
                        texts.append(file.read())
        self.assertFalse([text for text in texts if SECRET in text])

    def check_privileges(self, cluster):
        for pid in [cluster.nodes[0]["pid"], *cluster.workers(0)]:
            with open(f"/proc/{pid}/status", encoding="utf-8") as file:
                status = dict(line.split(":\t", 1) for line in file.read().splitlines() if ":\t" in line)
            self.assertEqual(status["NoNewPrivs"], "1")
            self.assertEqual(status["Seccomp"], "2")
            for name in ("CapEff", "CapPrm", "CapBnd"):
                # CAP_SYS_MODULE 16, CAP_SYS_RAWIO 17, CAP_SYS_PTRACE 19, CAP_SYS_BOOT 22, CAP_NET_ADMIN 12, CAP_BPF 39
                for capability in (12, 16, 17, 19, 22, 39):
                    self.assertFalse(int(status[name], 16) >> capability & 1, f"{name} {capability}")

    def test_a_job_with_secret_and_tls_while_strangers_knock(self):
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, STRANGERS + 500), hard))
        flags = write_secret(self.directory.name)
        flags += make_certificates(self.directory.name, ["node1", "node2", "node3"])
        held = []
        stop = threading.Event()

        def knock(address):
            while len(held) < STRANGERS and not stop.is_set():
                stranger = socket.socket()
                try:
                    stranger.connect((address, 7338))
                    if len(held) % 3 == 0:
                        stranger.sendall(b"\x16\x03\x01")  # half a TLS record
                except OSError:
                    pass
                held.append(stranger)

        with Cluster(3, *flags) as cluster:
            thread = threading.Thread(target=knock, args=(cluster.nodes[1]["address"],))
            thread.start()
            try:
                # On a slow machine a push may find no place among the strangers and be given up: the job goes on.
                self.shuffle(cluster, 9, all_merged=False)
                thread.join(PATIENCE)
                self.assertEqual(len(held), STRANGERS)
                # While all of them are still there, as far as they have not been closed.
                cluster.write_directory(0, "app-2/0", 1, make_blocks(1, [100, 100]))
                until(lambda: maps_in(cluster.read_partition(2, "app-2/0", 1), 1) == [1], "its block is read on node3")
                self.assertGreater(cluster.metric(1, "shufflefs_peer_handshakes_crowded_out_total"), STRANGERS / 2)
            finally:
                stop.set()
                thread.join(PATIENCE)
                for stranger in held:
                    stranger.close()
            self.check_nothing_tells_the_secret(cluster)
            self.check_privileges(cluster)

    def test_a_node_without_the_secret_is_none(self):
        with Cluster(3, *write_secret(self.directory.name), leave_down=("node3",)) as cluster:
            members = ",".join(f"{node['name']}={node['address']}:7338" for node in cluster.nodes)
            address = cluster.nodes[2]["address"]
            mount, data, log_path = (f"{self.directory.name}/{name}" for name in ("mnt", "data", "log"))
            os.mkdir(mount)
            with open(log_path, "w", encoding="utf-8") as log:
                impostor = subprocess.Popen(
                    [PROGRAM, "serve", "--node", "node3", "--mount", mount, "--data", data, "--peer-listen",
                     f"{address}:7338", "--members", members, "--http-listen", f"{address}:7340", "--spark-listen", ""],
                    stdout=log, stderr=log)
            try:
                until(lambda: cluster.metric(0, "shufflefs_peer_handshakes_refused_total") > 0, "it has been refused")
                self.assertIn("peer.refused", cluster.log(0))
                until(lambda: "--secret-file" in read_text(log_path), "it is told what is missing")
            finally:
                impostor.terminate()
                impostor.wait(PATIENCE)

    def test_beyond_this_machine_it_must_be_said(self):
        done = subprocess.run([PROGRAM, "serve", "--node", "n", "--mount", f"{self.directory.name}/m", "--data",
                               f"{self.directory.name}/d", "--peer-listen", "192.0.2.1:7338"],
                              capture_output=True, text=True, timeout=PATIENCE, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("--insecure", done.stderr)


class Users(SecurityCase):
    def test_another_user_reads_nothing_on_any_node(self):
        with Cluster(3) as cluster:
            os.chmod(cluster.directory, 0o755)
            for node in range(3):
                os.chmod(os.path.join(cluster.directory, cluster.nodes[node]["name"]), 0o755)
                script = ""
                maps = cluster.path(node, "shuffles", "alice/0/maps")
                for map_id in range(node, 6, 3):
                    script += f"mkdir -p {maps}/.t{map_id}; printf 'alice{map_id}.' > {maps}/.t{map_id}/0; "
                    script += f"mv {maps}/.t{map_id} {maps}/{map_id}; "
                done = as_user(ALICE, script)
                self.assertEqual((done.returncode, done.stderr), (0, ""), f"node {node}")
                cluster.wait_for_maps(node, "alice/0", sum(len(range(n, 6, 3)) for n in range(node + 1)))
            for node in range(3):
                app = cluster.path(node, "shuffles", "alice")
                partition = f"{app}/0/partitions/0"
                info = os.stat(partition)
                self.assertEqual((info.st_uid, info.st_mode & 0o7777), (ALICE, 0o440))
                own = as_user(ALICE, f"cat {partition}; ls {app} > /dev/null")
                self.assertEqual(sorted(own.stdout.split(".")[:-1]), [f"alice{n}" for n in range(6)], own.stderr)
                for path in (app, f"{app}/0/partitions"):
                    done = as_user(BOB, f"ls {path}")
                    self.assertIn("Permission denied", done.stderr, path)
                for name in ("0", "0.merged", "0.index"):
                    done = as_user(BOB, f"cat {app}/0/partitions/{name}")
                    self.assertEqual(done.stdout, "")
                    self.assertIn("Permission denied", done.stderr)
                self.assertIn("Permission denied", as_user(BOB, f"rmdir {app}/0").stderr)
                # By the disk below neither.
                data = os.path.join(cluster.directory, cluster.nodes[node]["name"], "data")
                self.assertNotEqual(as_user(BOB, f"ls {data}/merged").returncode, 0)
                with open(partition, "rb") as file:
                    self.assertEqual(len(file.read()), 6 * len("alice0."))
            # Whose it is survives a worker, and a node that was told nothing since.
            for pid in cluster.workers(1):
                os.kill(pid, 9)
            app = cluster.path(1, "shuffles", "alice")
            self.assertIn("Permission denied", as_user(BOB, f"ls {app}").stderr)
            until(lambda: as_user(ALICE, f"cat {app}/0/partitions/0").returncode == 0, "its owner reads it")


if __name__ == "__main__":
    unittest.main()
