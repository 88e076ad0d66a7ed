"""The nodes of scripts/bench spark: their disks, Spark's own shuffle services, and what all of it costs.

For the Python that has Spark.
"""

import contextlib
import os
import re
import socket
import subprocess
import tempfile
import threading
import time

from emulated_disk import IOPS, Disk, Forgetting
from service_sides import Processes
from shuffle_cluster import end, until

SERVICE_PORT = 7337
BYTES_PER_SECOND = 100_000_000
IMAGE_BYTES = 16 << 30  # sparse
SERVICE_HEAP = "512m"
QUIET_SECONDS = 2.0
ESTABLISHED = "01"


class Disks:
    """One for each node, or none: then everything lies on the machine's own disk and stays in its page cache."""

    def __init__(self, words, stack):
        self.words = words
        self.stack = stack
        self.disks = []

    def prepare(self, directory):
        """node<i>/data in the directory becomes a disk."""
        if self.words["no_disks"]:
            return
        for node in range(1, self.words["nodes"] + 1):
            disk = self.stack.enter_context(Disk(self.words["directory"], IMAGE_BYTES, BYTES_PER_SECOND, writes=True))
            os.makedirs(f"{directory}/node{node}")
            os.symlink(disk.directory, f"{directory}/node{node}/data")
            self.disks.append(disk)

    def throttle(self, on):
        for disk in self.disks:
            disk.throttle(on)

    def reads(self):
        """[(completed reads, their bytes)] of each disk."""
        return [disk.reads() for disk in self.disks]

    def written_bytes(self):
        return sum(disk.written_bytes() for disk in self.disks)

    def settle(self):
        """Until nothing more is written; returns for how many seconds something was."""
        begin = last = time.monotonic()
        before = None
        while self.disks and time.monotonic() - last < QUIET_SECONDS:
            for disk in self.disks:
                subprocess.run(["sync", "-f", disk.directory], check=True)
            now = self.written_bytes()
            if before is None or now - before > 256 << 10:
                last = time.monotonic()
            before = now
            time.sleep(0.2)
        return last - begin

    def forgetting(self):
        stack = contextlib.ExitStack()
        for disk in self.disks:
            stack.enter_context(Forgetting(disk))
        return stack


def reads_between(before, after):
    """What was read, from what reads() has said, and how long the busiest disk needs for it at least: that does not depend on who else uses
    the machine."""
    counts = [(late[0] - early[0], late[1] - early[1]) for early, late in zip(before, after)]
    count, size = sum(one for one, _ in counts), sum(one for _, one in counts)
    return {"reads": count, "mean_kb": size / 1024 / max(1, count), "read_mb": size / 1e6,
            "disk_s": max((one / IOPS + its_size / BYTES_PER_SECOND for one, its_size in counts), default=0.0)}


class JvmServices:
    """Spark's own shuffle service, once on each node's address. Has of a Cluster what ClientApp asks for."""

    def __init__(self, words, prepare, home):
        self.words = words
        self.home = home
        self.prepare = prepare
        self.processes = []
        self.nodes = []

    def __enter__(self):
        self.directory = tempfile.mkdtemp(prefix="shufflefs-jvm-", dir=self.words["directory"])
        self.prepare(self.directory)
        try:
            for number in range(self.words["nodes"]):
                self._start(number)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self, number):
        address = f"127.0.0.{11 + number}"
        os.makedirs(f"{self.directory}/node{number + 1}/data", exist_ok=True)
        command = ["java", f"-Xmx{SERVICE_HEAP}", "-Djava.net.preferIPv4Stack=true", "-Dspark.shuffle.service.enabled=true",
                   f"-Dspark.shuffle.service.port={SERVICE_PORT}",
                   f"-Dlog4j2.configurationFile={self.words['root']}/tests/spark/log4j2.properties", "-cp", f"{self.home}/jars/*",
                   "org.apache.spark.deploy.ExternalShuffleService"]
        environment = os.environ | {"LD_PRELOAD": f"{self.words['build']}/tests/bench/bind_here.so", "BIND_HERE": address}
        with open(f"{self.directory}/node{number + 1}.log", "w", encoding="utf-8") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        self.processes.append(process)
        self.nodes.append({"name": f"node{number + 1}", "address": address, "pid": process.pid})
        until(lambda: process.poll() is not None or answers(address), "Spark's shuffle service listens")
        assert process.poll() is None, f"Spark's shuffle service has ended: {self.directory}"

    def path(self, node, *parts):
        return os.path.join(self.directory, self.nodes[node]["name"], "data", *parts)

    def __exit__(self, *_):
        for process in self.processes:
            end(process)
        subprocess.run(["rm", "-rf", "--one-file-system", self.directory], check=False)


def answers(address):
    with socket.socket() as one:
        return one.connect_ex((address, SERVICE_PORT)) == 0


def service_costs(app):
    """(CPU seconds so far, MB at most) of the services, a list of both for each node."""
    services = [Processes(node["pid"]) for node in app.cluster.nodes]
    return (sum(service.cpu_seconds() for service in services),
            sum(service.resident_mb("VmHWM") for service in services))


def service_heap_mb(app):
    """(used, committed) heap of Spark's own services, together; None if they are no JVMs."""
    used = committed = 0.0
    for node in app.cluster.nodes:
        done = subprocess.run(["jcmd", str(node["pid"]), "GC.heap_info"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                              check=False)
        found = re.search(r"heap\s+total (\d+)K, used (\d+)K", done.stdout)
        if not found:
            return None
        committed += int(found[1]) / 1024
        used += int(found[2]) / 1024
    return round(used), round(committed)


def executor_cpu_seconds(app):
    """Of the executors and their Python workers. What has ended is not in it."""
    return sum(Processes(pid).cpu_seconds() for pid in app.spark_cluster.executors())


def executor_memory(app):
    """The largest that Spark has seen of each kind, in MB, over all executors; and their largest resident size."""
    context = app.context()
    found = context.statusStore().executorList(False)
    kinds = {"heap": ("JVMHeapMemory",), "off_heap": ("JVMOffHeapMemory", "DirectPoolMemory", "MappedPoolMemory")}
    peaks = dict.fromkeys(kinds, 0.0)
    for number in range(found.size()):
        one = found.apply(number)
        if one.id() == "driver" or one.peakMemoryMetrics().isEmpty():
            continue
        metrics = one.peakMemoryMetrics().get()
        for kind, names in kinds.items():
            peaks[kind] = max(peaks[kind], sum(metrics.getMetricValue(name) for name in names) / 1e6)
    resident = max(Processes(pid).resident_mb("VmHWM") for pid in app.spark_cluster.executors())
    return round(peaks["heap"]), round(peaks["off_heap"]), round(resident)


class Connections:
    """The most connections that were open to the services' port at a time, by the kernel's table; for the time of a with
    statement. `ports` are the ports that count."""

    def __init__(self, ports=(SERVICE_PORT,)):
        self.ports = set(ports)
        self.most = 0
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        while not self.stop.wait(0.25):
            count = 0
            for path in ("/proc/net/tcp", "/proc/net/tcp6"):
                with open(path, encoding="ascii") as file:
                    rows = [line.split() for line in file.readlines()[1:]]
                count += sum(row[3] == ESTABLISHED and int(row[1].rsplit(":", 1)[1], 16) in self.ports for row in rows)
            self.most = max(self.most, count)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()
