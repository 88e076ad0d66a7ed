"""What readers get of a shuffle that is dropped, was never there, or goes away under an open file.

What is not known is ENOENT, at once and on every node; an empty file with exit code 0 is never the answer. A partition that is
open while its shuffle is dropped or evicted, or while a node goes, is read to its end, or the read fails with EIO.
"""

import errno
import os
import shutil
import signal
import subprocess
import tempfile
import unittest

from ess_client import Connection, register
from shuffle_cluster import Cluster, make_blocks, until, what_is_wrong
from spark_files import Executor

SIZES = [100, 3000, 0, 20_000]
PARTITIONS = range(len(SIZES))
NODES = range(3)
MIB = 1 << 20


class DropCase(unittest.TestCase):
    def fail_if(self, wrong, when):
        with self.subTest(when):
            if wrong:
                self.fail(f"{len(wrong)} wrong, {when}:\n" + "\n".join(wrong[:30]))

    def commit(self, cluster, form, shuffle, node, map_id, attempt=0, sizes=None):
        blocks = make_blocks(map_id, sizes or SIZES, attempt)
        if form == "spark":
            app, number = shuffle.split("/")
            executor = Executor([cluster.path(node, "local", "disk0", f"{app}-{map_id}")])
            with Connection(cluster.spark_address(node)) as connection:
                connection.rpc(register(app, str(map_id), executor.local_dirs))
            executor.commit(int(number), map_id, blocks)
        else:
            (cluster.write_directory if form == "directory" else cluster.write_files)(node, shuffle, map_id, blocks)

    def not_unknown(self, cluster, shuffle, errors=("ENOENT",), nodes=NODES):
        """Everything that can be opened of a shuffle that is not there, as texts."""
        wrong = []
        for suffix in ("", ".merged", ".index"):
            for (node, partition), outcome in cluster.outcomes(nodes, shuffle, PARTITIONS, suffix).items():
                if outcome not in errors:
                    what = outcome if isinstance(outcome, str) else f"{len(outcome)} bytes and no error"
                    wrong.append(f"{shuffle}, {partition}{suffix} on node{node + 1}: {what}")
        return wrong


class AfterDrop(DropCase):
    def ways_to_drop(self, cluster):
        """By name: each gives up a shuffle on some node."""
        return {
            "rmdir": lambda node, shuffle: os.rmdir(cluster.path(node, "shuffles", shuffle)),
            "rm": lambda node, shuffle: subprocess.run(["rm", "-r", cluster.path(node, "shuffles", shuffle)], check=True,
                                                       timeout=60),
            "app": lambda node, shuffle: os.rmdir(cluster.path(node, "shuffles", shuffle.split("/", maxsplit=1)[0])),
            "command": lambda node, shuffle: self.assertEqual(
                cluster.run(node, "drop", shuffle.split("/", maxsplit=1)[0]).returncode, 0),
        }

    def test_at_once_on_every_node(self):
        with Cluster(3) as cluster:
            wrong = []
            for form in ("directory", "pair", "spark"):
                for way, drop in self.ways_to_drop(cluster).items():
                    for dropper in NODES:
                        shuffle = f"{form}-{way}-{dropper}/0"
                        self.commit(cluster, form, shuffle, 1, 0)
                        cluster.wait_for_maps(0, shuffle, 1)
                        for (node, partition), outcome in cluster.outcomes(NODES, shuffle, PARTITIONS).items():
                            what = what_is_wrong(outcome, partition, [(0, make_blocks(0, SIZES)[partition])])
                            wrong += [f"{shuffle} before the drop, node{node + 1}: {what}"] if what else []
                        drop(dropper, shuffle)
                        wrong += self.not_unknown(cluster, shuffle)
            self.fail_if(wrong, "after a drop")

    def test_what_was_never_there(self):
        with Cluster(3) as cluster:
            self.commit(cluster, "pair", "there/0", 1, 0)
            cluster.wait_for_maps(0, "there/0", 1)
            for shuffle in ("nobody/0", "there/1", "there/2147483647"):
                self.fail_if(self.not_unknown(cluster, shuffle), "never there")
                for node in NODES:
                    done = subprocess.run(["cat", cluster.path(node, "shuffles", shuffle, "partitions", "0")],
                                          capture_output=True, text=True, timeout=60, check=False)
                    self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
            for node in NODES:
                self.assertEqual(cluster.outcome(node, "there/0", len(SIZES)), "ENOENT", "beyond the last partition")

    def test_a_node_that_was_away_while_a_shuffle_was_dropped(self):
        """What it wrote itself does not come back with it, whether the name is used again or not."""
        with Cluster(3, "--read.lost-patience=100ms") as cluster:
            shuffles = [f"{form}-{use}/0" for form in ("directory", "pair", "spark") for use in ("gone", "again")]
            for shuffle in shuffles:
                for node in NODES:
                    self.commit(cluster, shuffle.split("-", maxsplit=1)[0], shuffle, node, node)
                cluster.wait_for_maps(0, shuffle, 3)
            cluster.signal(2, signal.SIGKILL)
            for shuffle in shuffles:
                os.rmdir(cluster.path(0, "shuffles", shuffle))
                if "again" in shuffle:
                    self.commit(cluster, "pair", shuffle, 0, 7, attempt=1)
            cluster.restart(2)
            wrong = []
            for shuffle in shuffles:
                if "gone" in shuffle:
                    wrong += self.not_unknown(cluster, shuffle, ("ENOENT", "EIO"))
                else:
                    for (node, partition), outcome in cluster.outcomes(NODES, shuffle, PARTITIONS).items():
                        what = what_is_wrong(outcome, partition, [(7, make_blocks(7, SIZES, 1)[partition])])
                        wrong += [f"{shuffle}, partition {partition} on node{node + 1}: {what}"] if what else []
            self.fail_if(wrong, "when the node is back")
            gone = [shuffle for shuffle in shuffles if "gone" in shuffle]
            until(lambda: not any(self.not_unknown(cluster, shuffle) for shuffle in gone), f"{gone} are gone for all", 20)


class OpenFiles(DropCase):
    """Every partition is open on every node, its first bytes read, when it happens."""

    SIZES = [MIB] * 4
    SMALL_WINDOW = "--read.ahead-bytes=128K"  # so that most of it is not yet read when it happens

    def write(self, cluster, shuffle, form="pair"):
        for node in NODES:
            self.commit(cluster, form, shuffle, node, node, sizes=self.SIZES)
        cluster.wait_for_maps(0, shuffle, len(NODES))

    def open_all(self, cluster, shuffle, nodes=NODES):
        files = {}
        for node in nodes:
            for partition in range(len(self.SIZES)):
                for suffix in ("", ".merged"):
                    path = cluster.path(node, "shuffles", shuffle, "partitions", f"{partition}{suffix}")
                    file = files[node, partition, suffix] = os.open(path, os.O_RDONLY)
                    self.addCleanup(os.close, file)
        return files, {key: os.read(file, 1000) for key, file in files.items()}

    def check_rest(self, files, begun, when):
        wrong = []
        blocks = {map_id: make_blocks(map_id, self.SIZES) for map_id in NODES}
        for (node, partition, suffix), file in files.items():
            content = begun[node, partition, suffix]
            try:
                while piece := os.read(file, MIB):
                    content += piece
            except OSError as error:
                content = errno.errorcode[error.errno]
            what = what_is_wrong(content, partition, [(map_id, blocks[map_id][partition]) for map_id in NODES])
            if what:
                wrong.append(f"partition {partition}{suffix} on node{node + 1}: {what}")
        self.fail_if(wrong, when)

    def test_while_the_shuffle_is_dropped(self):
        with Cluster(3, self.SMALL_WINDOW) as cluster:
            for dropper, form in enumerate(("directory", "pair", "spark")):
                self.write(cluster, f"{form}/0", form)
                files, begun = self.open_all(cluster, f"{form}/0")
                os.rmdir(cluster.path(dropper, "shuffles", f"{form}/0"))
                self.check_rest(files, begun, f"{form}, dropped on node{dropper + 1}")

    def test_while_the_shuffle_is_dropped_unmerged(self):
        with Cluster(3, "--push.enabled=false", self.SMALL_WINDOW) as cluster:
            for node in NODES:
                self.commit(cluster, "pair", "app/0", node, node, sizes=self.SIZES)
            files, begun = self.open_all(cluster, "app/0")
            files = {key: file for key, file in files.items() if key[2] == ""}  # nothing is merged
            os.rmdir(cluster.path(1, "shuffles", "app/0"))
            self.check_rest(files, begun, "dropped before it was merged")

    def test_while_the_name_is_used_again(self):
        """No reader sees two lives of a name in one file."""
        with Cluster(3, self.SMALL_WINDOW) as cluster:
            self.write(cluster, "app/0")
            files, begun = self.open_all(cluster, "app/0")
            os.rmdir(cluster.path(0, "shuffles", "app/0"))
            for node in NODES:
                self.commit(cluster, "pair", "app/0", node, node, attempt=1, sizes=self.SIZES)
            cluster.wait_for_maps(0, "app/0", len(NODES))
            self.check_rest(files, begun, "the name is used again")

    def test_while_it_is_evicted(self):
        place = tempfile.mkdtemp(prefix="shufflefs-small-", dir="/var/tmp")
        self.addCleanup(shutil.rmtree, place, ignore_errors=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512m", "tmpfs", place], check=True, timeout=60)
        self.addCleanup(subprocess.run, ["umount", "-l", place], check=False, timeout=60, capture_output=True)
        with Cluster(3, "--disk.reserve=64M", self.SMALL_WINDOW, below=place) as cluster:
            self.write(cluster, "app/0")
            files, begun = self.open_all(cluster, "app/0")
            space = os.statvfs(place)
            filler = os.open(f"{place}/filler", os.O_CREAT | os.O_WRONLY)
            self.addCleanup(os.close, filler)
            os.posix_fallocate(filler, 0, space.f_bavail * space.f_frsize - 40 * MIB)
            owners = {owner for owner, _ in cluster.owners("app/0", len(self.SIZES))}
            until(lambda: all(cluster.metric(node, "shufflefs_merge_evictions_total") > 0 for node in owners),
                  "what is merged gives way")
            self.check_rest(files, begun, "evicted")

    def test_while_a_node_goes(self):
        """Each node in turn: it is the owner of some, the origin of a third, and who is read on for the rest."""
        for victim in NODES:
            with Cluster(3, "--read.lost-patience=100ms", self.SMALL_WINDOW) as cluster:
                self.write(cluster, "app/0")
                others = [node for node in NODES if node != victim]
                files, begun = self.open_all(cluster, "app/0", others)
                cluster.signal(victim, signal.SIGKILL)
                self.check_rest(files, begun, f"node{victim + 1} is gone")
                cluster.restart(victim)
                cluster.wait_for_peers()
                # What the killed process had only in its memory is offered again.
                until(lambda: all(
                    os.getxattr(cluster.path(node, "shuffles", "app/0", "partitions", str(partition)),
                                "user.shufflefs.merged") == b"3"
                    for node in others for partition in range(len(self.SIZES))), "all is merged again")
                files, begun = self.open_all(cluster, "app/0", others)
                cluster.kill_worker(victim)
                self.check_rest(files, begun, f"node{victim + 1} has a new worker")


if __name__ == "__main__":
    unittest.main()
