"""A development cluster whose nodes have a network each, as machines have: 10.77.0.1, 10.77.0.2, ... on one bridge, with this
process at 10.77.0.254. For what a node does to its machine's network. REQUIRES: enter_private_network(), and iproute2."""

import contextlib
import os
import subprocess

from shuffle_cluster import Cluster, end, until

HUB = "10.77.0.254"
SOURCES = ("merged_here", "merged_there", "merged_elsewhere", "origin")


def address_of(node):
    return f"10.77.0.{node + 1}"


def ip(*words):
    subprocess.run(["ip", *map(str, words)], check=True)


class Networks:
    """Gone with the processes that hold them."""

    def __init__(self, count):
        self.holders = []
        self.count = count

    def __enter__(self):
        ip("link", "add", "hub", "type", "bridge")
        ip("addr", "add", f"{HUB}/24", "dev", "hub")
        ip("link", "set", "hub", "up")
        own = os.readlink("/proc/self/ns/net")
        for node in range(self.count):
            holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])  # pylint: disable=consider-using-with
            self.holders.append(holder)
            until(lambda pid=holder.pid: os.readlink(f"/proc/{pid}/ns/net") != own, "a network is made")
            ip("link", "add", f"node{node}", "type", "veth", "peer", "name", "eth0", "netns", holder.pid)
            ip("link", "set", f"node{node}", "master", "hub", "up")
            for words in (("link", "set", "lo", "up"), ("addr", "add", f"{address_of(node)}/24", "dev", "eth0"),
                          ("link", "set", "eth0", "up")):
                subprocess.run([*self.prefix(node), "ip", *words], check=True)
        return self

    def __exit__(self, *_):
        for holder in self.holders:
            end(holder)
        subprocess.run(["ip", "link", "del", "hub"], check=False)

    def prefix(self, node):
        """What to put before a command that shall run in the node's network."""
        return ["nsenter", f"--net=/proc/{self.holders[node].pid}/ns/net"]


class SeparateCluster(Cluster):
    def __init__(self, networks, *flags, prepare=None):
        self.networks = networks
        self.moved = False
        super().__init__(networks.count, "--insecure", "true", *flags, prepare=prepare)
        members = ",".join(f"{node['name']}={address_of(i)}:7338" for i, node in enumerate(self.nodes))
        for node in range(len(self.nodes)):
            self.stop(node)
            os.remove(os.path.join(self.directory, self.nodes[node]["name"], "data", "members"))  # it has the old addresses
        self.moved = True
        for i, node in enumerate(self.nodes):
            node["address"] = address_of(i)
            node["spark_port"] = 7337
            for name, value in (("--peer-listen", f"{address_of(i)}:7338"), ("--spark-listen", f"{address_of(i)}:7337"),
                                ("--members", members)):
                self.set_option(i, name, value)
            self.commands[i] = [*networks.prefix(i), *self.commands[i]]
            self.restart(i)
        self.wait_for_peers()

    def run(self, node, *arguments, timeout=120):
        if not self.moved:
            return super().run(node, *arguments, timeout=timeout)
        http = f"{self.nodes[node]['http_address']}:{self.nodes[node]['http_port']}"
        return self.inside(node, os.path.join(os.environ.get("SHUFFLEFS_BUILD", "build"), "shufflefs"), *arguments, "--http", http,
                           timeout=timeout)

    def inside(self, node, *words, timeout=60):
        """Runs a command in the node's network."""
        return subprocess.run([*self.networks.prefix(node), *words], capture_output=True, text=True, timeout=timeout, check=False)

    def relayed(self, nodes=None):
        """{source: bytes} that the relays of these nodes, or of all, have given."""
        found = dict.fromkeys(SOURCES, 0)
        for node in range(len(self.nodes)) if nodes is None else nodes:
            for source in SOURCES:
                with contextlib.suppress(AssertionError):  # not counted yet
                    found[source] += self.metric(node, f'shufflefs_relay_bytes_total{{source="{source}"}}')
        return found

    def wait_for_peers(self, nodes=None, patience=120):
        nodes = range(len(self.nodes)) if nodes is None else nodes
        def see_each_other():
            return all(self.metric(node, 'shufflefs_peers{state="up"}') >= len(nodes) - 1 for node in nodes)
        until(see_each_other, "the nodes see each other", patience)
