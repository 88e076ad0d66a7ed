"""The two External Shuffle Services that scripts/bench service compares, each for the time of a with statement."""

import glob
import os
import subprocess
import tempfile
import time

from served_mount import ServedMount, end, free_ports

START_SECONDS = 60
TICKS = os.sysconf("SC_CLK_TCK")


def spark_jars(root):
    found = glob.glob(f"{root}/.cache/spark-3.5.7/lib/python*/site-packages/pyspark/jars")
    if not found:
        raise SystemExit("bench: Spark is not there; run scripts/spark-setup")
    return found[0]


def listens(port):
    """Whether somebody does, by the kernel's table: a connection would count as a client."""
    with open("/proc/net/tcp", encoding="ascii") as v4, open("/proc/net/tcp6", encoding="ascii") as v6:
        rows = [line.split() for line in [*v4.readlines()[1:], *v6.readlines()[1:]]]
    return any(row[3] == "0A" and int(row[1].rsplit(":", 1)[1], 16) == port for row in rows)


def tree(pid):
    """A process and all below it: a supervisor and its worker are one service."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as children:
            below = [int(child) for child in children.read().split()]
    except FileNotFoundError:  # a helper that has just ended
        return []
    return [pid, *(one for child in below for one in tree(child))]


class Processes:
    """What /proc says of a running service, all its processes together."""

    def __init__(self, pid):
        self.pids = tree(pid)

    def cpu_seconds(self):
        return sum(self._cpu_seconds(pid) for pid in self.pids)

    @staticmethod
    def _cpu_seconds(pid):
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def status(self, key):
        """The sum of a number of /proc/PID/status: kB for memory, else a count."""
        total = 0
        for pid in self.pids:
            with open(f"/proc/{pid}/status", encoding="utf-8") as status:
                total += int(next(line for line in status if line.startswith(key + ":")).split()[1])
        return total

    def resident_mb(self, key="VmRSS"):
        return self.status(key) / 1024

    def forget_peak(self):
        """VmHWM starts again."""
        for pid in self.pids:
            with open(f"/proc/{pid}/clear_refs", "w", encoding="ascii") as reset:
                reset.write("5")


class JvmService:
    """org.apache.spark.deploy.ExternalShuffleService as Spark's script starts it, with its default heap (1 GiB)."""

    name = "JVM"

    def __init__(self, root, java_options=()):
        [self.port] = free_ports(1)
        self.command = ["java", "-Xmx1g", *java_options, "-Djava.net.preferIPv4Stack=true", "-Dspark.shuffle.service.enabled=true",
                        f"-Dspark.shuffle.service.port={self.port}",
                        f"-Dlog4j2.configurationFile={root}/tests/spark/log4j2.properties", "-cp", f"{spark_jars(root)}/*",
                        "org.apache.spark.deploy.ExternalShuffleService"]

    def __enter__(self):
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(self.command, stdout=self.log, stderr=self.log)
        wait_until_it_listens(self.process, self.port, self.log)
        return self

    def measured(self):
        return Processes(self.process.pid)

    def __exit__(self, *_):
        end(self.process)
        self.log.close()


class OurService:
    """shufflefs serve with its service on; it serves files beside its mount, which --spark-allow-dir lets it."""

    name = "shufflefs"

    def __init__(self, program, build, base, allowed, more=()):
        [self.port] = free_ports(1)
        self.mounted = ServedMount(program or f"{build}/shufflefs", build, base,
                                   [f"--spark-listen=127.0.0.1:{self.port}", f"--spark-allow-dir={allowed}", *more])

    def __enter__(self):
        self.mounted.__enter__()
        wait_until_it_listens(self.mounted.process, self.port, self.mounted.log)
        return self

    def measured(self):
        return Processes(self.mounted.process.pid)

    def __exit__(self, *_):
        self.mounted.__exit__()


def wait_until_it_listens(process, port, log):
    deadline = time.monotonic() + START_SECONDS
    while not listens(port):
        if process.poll() is not None or time.monotonic() > deadline:
            end(process)
            log.seek(0)
            raise SystemExit(f"bench: a service did not start:\n{log.read()}")
        time.sleep(0.05)
