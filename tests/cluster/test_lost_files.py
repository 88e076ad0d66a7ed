"""Map output files that are lost, cut, replaced or unreadable at their origin, behind the daemon's back.

A missing file is not a removal: each partition is whole, by what is merged elsewhere, or its read fails with EIO. `verify`
names what is lost at its origin. Each form of map output times each damage is a shuffle of its own; all share a cluster.
"""

import glob
import json
import os
import shutil
import signal
import unittest

from ess_client import Connection, register
from shuffle_cluster import Cluster, make_blocks, until, what_is_wrong
from spark_files import Executor

SIZES = [100, 3000, 0, 40_000, 70, 900]
PARTITIONS = range(len(SIZES))
INDEX_RECORD_BYTES = 56  # docs/formats.md
MAPS = range(3)  # map n is written on node n
FORMS = ("directory", "pair", "spark")
DAMAGES = ("lost", "cut", "replaced", "unreadable")
# An unmerged block has no checksum yet: nobody can tell its bytes from others of the same length.
UNMERGED_DAMAGES = ("lost", "cut", "unreadable")


def expected(partition):
    return [(map_id, make_blocks(map_id, SIZES)[partition]) for map_id in MAPS]


def files_below(places):
    return [os.path.join(root, name) for place in places for root, _, names in os.walk(place) for name in names]


def damage_file(path, damage):
    if damage == "lost":
        os.remove(path)
    elif damage == "cut":
        os.truncate(path, os.stat(path).st_size // 2)
    elif damage == "replaced":
        with open(path, "r+b") as file:
            file.write(os.urandom(os.stat(path).st_size))
    else:  # root reads whatever the mode is, but not a directory
        os.remove(path)
        os.mkdir(path)


class DamagedCluster(Cluster):
    """Three nodes, the first with two disks."""

    def __init__(self, *flags):
        # Errors come after the patience: a short one, as there are many.
        super().__init__(3, "--read.lost-patience=100ms", *flags)
        self.executors = {}
        self.disks = [self.nodes[0]["data"], os.path.join(self.directory, "second-disk")]
        self.stop(0)
        self.commands[0] += ["--data", self.disks[1]]
        self.restart(0)
        self.wait_for_peers()

    def commit(self, form, shuffle):
        app, number = shuffle.split("/")
        for node in MAPS:
            blocks = make_blocks(node, SIZES)
            if form == "spark":
                roots = sorted(glob.glob(self.path(node, "local", "disk*")))
                executor = self.executors[shuffle, node] = Executor([f"{root}/{app}" for root in roots])
                with Connection(self.spark_address(node)) as connection:
                    connection.rpc(register(app, str(node), executor.local_dirs))
                executor.commit(int(number), node, blocks)
            else:
                write = self.write_directory if form == "directory" else self.write_files
                write(node, shuffle, node, blocks)

    def files(self, shuffle):
        """What the first node has of a shuffle's map output, on any of its disks, below the mount."""
        app = shuffle.split("/", maxsplit=1)[0]
        return files_below(self.generic_directories(shuffle) + [f"{disk}/local/{app}" for disk in self.disks])

    def merged_records(self):
        """Of all indexes on all disks; the first record of each is its header."""
        indexes = glob.glob(f"{self.directory}/**/merged/*/*/*.index", recursive=True)
        return sum(max(0, os.path.getsize(index) // INDEX_RECORD_BYTES - 1) for index in indexes)

    def generic_directories(self, shuffle):
        """One for each life of the name."""
        return [place for disk in self.disks for place in glob.glob(f"{disk}/maps/{shuffle}-*")]

    def damage(self, shuffle, damage):
        files = self.files(shuffle)
        assert files, f"node1 has no files of {shuffle}"
        for path in files:
            is_index = path.endswith(".index") or ".checksum" in path
            if damage == "lost" or not is_index:
                damage_file(path, damage)
        if damage == "lost":  # the directories of generic map outputs as well
            for place in self.generic_directories(shuffle):
                shutil.rmtree(place, ignore_errors=True)


class LostFiles(unittest.TestCase):
    def commit_all(self, cluster, damages):
        self.shuffles = {(form, damage): f"{form}-{damage}/0" for form in FORMS for damage in damages}
        for (form, _), shuffle in self.shuffles.items():
            cluster.commit(form, shuffle)

    def settle(self, cluster):
        for shuffle in self.shuffles.values():
            for node in MAPS:
                cluster.wait_for_maps(node, shuffle, len(MAPS))
        # A killed process takes with it what it has merged within the last moments: then the originals are
        # offered again, and here they are gone.
        blocks = len(self.shuffles) * len(MAPS) * sum(size > 0 for size in SIZES)
        until(lambda: cluster.merged_records() == blocks, "what is merged is in the files")

    def wait_until_known(self, cluster):
        for shuffle in self.shuffles.values():
            until(lambda shuffle=shuffle: all(
                os.getxattr(cluster.path(node, "shuffles", shuffle, "partitions", "0"), "user.shufflefs.maps") == b"3"
                for node in MAPS), f"the map outputs of {shuffle} are known everywhere")
        until(lambda: all(cluster.metric(node, "shufflefs_announce_pending") == 0 for node in MAPS),
              "all announcements have arrived")

    def check(self, cluster, nodes, when, errors=("EIO",)):
        """Every partition of every shuffle, read on each of the nodes. All that is wrong, not the first."""
        wrong = []
        for (form, damage), shuffle in self.shuffles.items():
            for (node, partition), outcome in cluster.outcomes(nodes, shuffle, PARTITIONS).items():
                what = what_is_wrong(outcome, partition, expected(partition), errors)
                if what:
                    wrong.append(f"{form}, {damage}, partition {partition} on node{node + 1}: {what}")
        with self.subTest(when):
            if wrong:
                self.fail(f"{len(wrong)} reads are wrong, {when}:\n" + "\n".join(wrong[:30]))

    def check_with_each_away(self, cluster):
        """Each node is owner of some partition and second choice of another."""
        for away in (1, 2):
            cluster.signal(away, signal.SIGKILL)
            self.check(cluster, [node for node in MAPS if node != away], f"with node{away + 1} away")
            cluster.restart(away)
            cluster.wait_for_peers()

    def check_verify(self, cluster):
        """It names the map output, its origin and the copy."""
        silent = []
        for (form, damage), shuffle in self.shuffles.items():
            done = cluster.run(2, "verify", shuffle, "--json")
            findings = json.loads(done.stdout)["findings"] if done.stdout else []
            if done.returncode != 3 or not any(
                    (found["map"], found["node"], found["copy"]) == (0, "node1", "origin") for found in findings):
                silent.append(f"{form}, {damage}: exit code {done.returncode}, {findings}{done.stderr}")
        with self.subTest("verify says what is lost at its origin"):
            if silent:
                self.fail("\n".join(silent))
        counted = {f"{shuffle['app']}/{shuffle['shuffle']}": shuffle["maps_lost"]
                   for shuffle in json.loads(cluster.run(2, "ls", "--json").stdout)["shuffles"]}
        for (form, damage), shuffle in self.shuffles.items():
            with self.subTest(f"status and ls count what is lost: {form}, {damage}"):
                with open(cluster.path(2, "shuffles", shuffle, "status"), encoding="utf-8") as status:
                    self.assertIn("\nlost at origin 1 map outputs\n", status.read())
                self.assertEqual(counted[shuffle], 1)

    def damage_all(self, cluster):
        for (_, damage), shuffle in self.shuffles.items():
            cluster.damage(shuffle, damage)

    def test_merged_then_damaged_while_the_origin_is_down(self):
        with DamagedCluster() as cluster:
            self.commit_all(cluster, DAMAGES)
            self.settle(cluster)
            cluster.stop(0)
            self.damage_all(cluster)
            self.check(cluster, [1, 2], "while the origin is down")
            cluster.restart(0)
            cluster.wait_for_peers()
            self.check(cluster, MAPS, "when the origin is back: what is merged serves", errors=())
            self.check_verify(cluster)
            self.check_with_each_away(cluster)

    def test_merged_then_damaged_under_a_running_origin(self):
        with DamagedCluster() as cluster:
            self.commit_all(cluster, DAMAGES)
            self.settle(cluster)
            self.damage_all(cluster)
            self.check(cluster, MAPS, "with all up: what is merged serves", errors=())
            self.check_verify(cluster)
            self.check_with_each_away(cluster)
            cluster.kill_worker(0)
            cluster.wait_for_peers()
            self.check(cluster, MAPS, "with a new worker at the origin", errors=())

    def test_damaged_before_it_is_merged_while_the_origin_is_down(self):
        with DamagedCluster("--push.enabled=false") as cluster:
            self.commit_all(cluster, UNMERGED_DAMAGES)
            self.wait_until_known(cluster)
            cluster.stop(0)
            self.damage_all(cluster)
            cluster.restart(0)
            cluster.wait_for_peers()
            self.check(cluster, MAPS, "when the origin is back")
            self.check_verify_fails(cluster)
            self.check_with_each_away(cluster)

    def test_damaged_before_it_is_merged_under_a_running_origin(self):
        with DamagedCluster("--push.enabled=false") as cluster:
            self.commit_all(cluster, UNMERGED_DAMAGES)
            self.wait_until_known(cluster)
            self.damage_all(cluster)
            self.check(cluster, MAPS, "with all up")
            self.check_verify_fails(cluster)
            cluster.kill_worker(0)
            cluster.wait_for_peers()
            self.check(cluster, MAPS, "with a new worker at the origin")

    def check_verify_fails(self, cluster):
        """Without another copy a partition is incomplete; how it says so depends on what is known of the block."""
        for (form, damage), shuffle in self.shuffles.items():
            with self.subTest(f"verify, {form}, {damage}"):
                done = cluster.run(2, "verify", shuffle)
                self.assertEqual(done.returncode, 3, done.stdout + done.stderr)
                self.assertIn("node1", done.stdout)

    def test_one_disk_of_two_comes_back_empty(self):
        with DamagedCluster() as cluster:
            self.shuffles = {(form, f"disk {number}"): f"{form}-{number}/0" for form in FORMS for number in range(4)}
            for (form, _), shuffle in self.shuffles.items():
                cluster.commit(form, shuffle)
            self.settle(cluster)
            lost = next(disk for disk in reversed(cluster.disks) if files_below([f"{disk}/maps", f"{disk}/local"]))
            cluster.stop(0)
            shutil.rmtree(lost)
            os.mkdir(lost)
            cluster.restart(0)
            cluster.wait_for_peers()
            self.check(cluster, MAPS, "with a new, empty disk")
            self.check_with_each_away(cluster)


if __name__ == "__main__":
    unittest.main()
