"""Nodes whose lists of members differ: one that was started when the cluster was smaller, one that nobody lists, lists that
overlap. Who is asked for a partition, and who is told of a drop, is everybody, or the read fails and says why."""

import os
import unittest

from shuffle_cluster import Cluster, make_blocks, until, what_is_wrong

SHUFFLE = "split/0"
PARTITIONS = 64
SIZES = [120] * PARTITIONS


def address(cluster, node):
    return f"{cluster.nodes[node]['name']}={cluster.nodes[node]['address']}:{cluster.nodes[node]['peer_port']}"


class MemberLists(unittest.TestCase):
    def start_with_lists(self, cluster, lists):
        """Restarts nodes with other lists: {node: [the nodes in its list]}."""
        for node in lists:
            cluster.stop(node)
        for node, members in lists.items():
            cluster.set_option(node, "--members", ",".join(address(cluster, member) for member in members))
            cluster.restart(node)

    def commit(self, cluster, writers):
        for map_id, node in enumerate(writers):
            write = cluster.write_directory if map_id % 2 else cluster.write_files
            write(node, SHUFFLE, map_id, make_blocks(map_id, SIZES))

    def check_reads(self, cluster, readers, maps, when):
        blocks = [make_blocks(map_id, SIZES) for map_id in range(maps)]
        wrong, failed = [], set()
        for (node, partition), outcome in cluster.outcomes(readers, SHUFFLE, range(PARTITIONS)).items():
            what = what_is_wrong(outcome, partition, [(map_id, blocks[map_id][partition]) for map_id in range(maps)])
            if what:
                wrong.append(f"partition {partition} on node{node + 1}: {what}")
            if outcome == "EIO":
                failed.add(node)
        with self.subTest(when):
            if wrong:
                self.fail(f"{len(wrong)} reads are wrong, {when}:\n" + "\n".join(wrong[:20]))
            for node in failed:
                self.assertIn("partition.", cluster.log(node), f"the log of node{node + 1} says why reads fail")

    def check_drop(self, cluster, node, when):
        """The drop at this node reaches everybody: in what they show, and on their disks."""
        with self.subTest(when):
            os.rmdir(cluster.path(node, "shuffles", SHUFFLE))
            for other in range(len(cluster.nodes)):
                self.assertEqual(cluster.outcome(other, SHUFFLE, 0), "ENOENT", f"node{other + 1} has it")
                for kind in ("maps", "merged"):
                    place = f"{cluster.nodes[other]['data']}/{kind}/{SHUFFLE}"
                    left = os.listdir(place) if os.path.isdir(place) else []
                    self.assertEqual(left, [], f"on the disk of node{other + 1}")

    def test_a_node_with_an_old_list(self):
        """It was started with two members of six."""
        with Cluster(6, "--memory=64M", "--read.lost-patience=100ms") as cluster:
            self.start_with_lists(cluster, {0: [0, 1]})
            self.commit(cluster, [1, 2, 4])
            self.check_reads(cluster, range(6), 3, "while it is merged")
            for node in range(1, 6):
                cluster.wait_for_maps(node, SHUFFLE, 3)
            self.check_reads(cluster, range(6), 3, "when all is merged")
            self.check_drop(cluster, 0, "dropped at the node with the old list")

    def test_what_the_node_with_the_old_list_wrote(self):
        with Cluster(6, "--memory=64M", "--read.lost-patience=100ms") as cluster:
            self.start_with_lists(cluster, {0: [0, 1]})
            self.commit(cluster, [0, 0, 3])
            self.check_reads(cluster, range(6), 3, "while it is merged")
            cluster.wait_for_maps(3, SHUFFLE, 3)
            self.check_reads(cluster, range(6), 3, "when all is merged")
            self.check_drop(cluster, 5, "dropped at another node")

    def test_a_node_that_nobody_lists(self):
        """Adding a node is starting it: all take it for a member as soon as it has said hello."""
        with Cluster(4, "--memory=64M", "--read.lost-patience=100ms") as cluster:
            self.start_with_lists(cluster, {node: [0, 1, 2] for node in range(3)})
            self.start_with_lists(cluster, {3: [0, 3]})
            # A file below .shufflefs/owners names the owners by this node's view.
            until(lambda: all(3 in {owner for owner, _ in cluster.owners("split/0", PARTITIONS, node)} for node in range(4)),
                  "the new node is a member for all", 20)
            self.commit(cluster, [3, 1, 3])
            self.check_reads(cluster, range(4), 3, "with a new node")
            cluster.wait_for_maps(2, SHUFFLE, 3)
            self.check_reads(cluster, range(4), 3, "when all is merged")
            self.check_drop(cluster, 2, "dropped at a node that had not listed it")

    def test_lists_that_overlap(self):
        """A chain: each node lists itself and the next."""
        with Cluster(4, "--memory=64M", "--read.lost-patience=100ms") as cluster:
            self.start_with_lists(cluster, {node: sorted({node, (node + 1) % 4}) for node in range(4)})
            self.commit(cluster, [0, 1, 2, 3])
            self.check_reads(cluster, range(4), 4, "soon after the start")
            for node in range(4):
                cluster.wait_for_maps(node, SHUFFLE, 4, 30)
            self.check_reads(cluster, range(4), 4, "when all is merged")
            self.check_drop(cluster, 1, "dropped at one of them")


if __name__ == "__main__":
    unittest.main()
