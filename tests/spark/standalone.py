"""Spark's standalone cluster on loopback addresses: a master, one worker for each node, and their executors.

All of them are processes of ours; executors are found as the workers' children. A context manager that ends what it
has started. The Workers themselves start no shuffle service: only the application's settings have it enabled.
"""

import glob
import importlib.util
import os
import pathlib
import re
import signal
import subprocess
import sys
import unittest

from private_network import enter_private_network
from shuffle_cluster import end, until

MASTER = "127.0.0.10"
PATIENCE = 300
EXECUTOR = "CoarseGrainedExecutorBackend"
OPENED = ["java.lang", "java.lang.invoke", "java.lang.reflect", "java.io", "java.net", "java.nio", "java.util",
          "java.util.concurrent", "java.util.concurrent.atomic", "jdk.internal.ref", "sun.nio.ch", "sun.nio.cs",
          "sun.security.action", "sun.util.calendar"]


ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def spark_python():
    """The Python that has Spark; installs it on a machine that has not."""
    done = subprocess.run([ROOT / "scripts" / "spark-setup"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False)
    print(done.stdout, flush=True)
    assert done.returncode == 0, f"scripts/spark-setup failed:\n{done.stdout}"
    return re.search("python: +(.+)", done.stdout)[1]


def main_with_spark():
    """Runs the tests of the program with the Python that has Spark, with the client built, in a private network."""
    if importlib.util.find_spec("pyspark") is None:
        python = spark_python()
        subprocess.run([ROOT / "scripts" / "client"], check=True)
        os.execv(python, [python, *sys.argv])
    enter_private_network()
    unittest.main()


class Node:
    """A worker's address, the local dir of its executors, and what comes before its command."""

    def __init__(self, address, local_dir, prefix=()):
        self.address = address
        self.local_dir = local_dir
        self.prefix = prefix
        self.worker = None


class Standalone:
    def __init__(self, python, nodes, directory, memory_mib=1024, master=MASTER):
        self.home = spark_home(python)
        self.nodes = nodes
        self.directory = directory
        self.memory_mib = memory_mib
        self.master = None
        self.master_address = master
        self.url = f"spark://{master}:7077"

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        self.master = self.java("master", self.master_address, "org.apache.spark.deploy.master.Master", "--host", self.master_address, "--port",
                                "7077", "--webui-port", "8080")
        until(lambda: "I have been elected leader" in self.log("master"), "Spark's master is up", PATIENCE)
        for number, node in enumerate(self.nodes, 1):
            name = f"worker{number}"
            os.makedirs(node.local_dir, exist_ok=True)
            node.worker = self.java(name, node.address, "org.apache.spark.deploy.worker.Worker", "--host", node.address,
                                    "--webui-port", "8081", "--cores", "1", "--memory", f"{self.memory_mib}m",
                                    "--work-dir", os.path.join(self.directory, "work", name), self.url,
                                    local_dir=node.local_dir, prefix=node.prefix)
        for number in range(1, len(self.nodes) + 1):
            until(lambda name=f"worker{number}": "Successfully registered with master" in self.log(name),
                  f"Spark's worker {number} is up", PATIENCE)

    def java(self, name, address, *words, local_dir=None, prefix=()):
        """One of Spark's daemons, with its log in DIR/<name>.log."""
        environment = spark_environment(self.home, address)
        if local_dir:
            environment["SPARK_LOCAL_DIRS"] = local_dir
        command = [*prefix, "java", "-Xmx256m", "-Djava.net.preferIPv4Stack=true", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
                   "-Dspark.deploy.maxExecutorRetries=-1", "-Dspark.shuffle.service.enabled=false",
                   *(f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in OPENED),
                   "-cp", f"{self.home}/jars/*", *words]
        with open(os.path.join(self.directory, f"{name}.log"), "w", encoding="utf-8") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=self.directory)

    def log(self, name):
        with open(os.path.join(self.directory, f"{name}.log"), encoding="utf-8", errors="replace") as log:
            return log.read()

    def executors(self):
        """{pid: address} of the executors that are running now."""
        return {pid: node.address for node in self.nodes if node.worker for pid in children(node.worker.pid)
                if EXECUTOR in command_of(pid)}

    def kill_executors(self):
        """SIGKILL to all; returns how many, when none is left."""
        found = self.executors()
        for pid in found:
            os.kill(pid, signal.SIGKILL)
        until(lambda: not any(EXECUTOR in command_of(pid) for pid in found), "the killed executors are gone", PATIENCE)
        return len(found)

    def stop(self):
        """Workers end their executors when they are ended themselves."""
        processes = [node.worker for node in self.nodes if node.worker] + [self.master] * bool(self.master)
        executors = list(self.executors())
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            end(process)
        for pid in executors:
            if EXECUTOR in command_of(pid):
                os.kill(pid, signal.SIGKILL)
        for node in self.nodes:
            node.worker = None
        self.master = None


def spark_home(python):
    """Where pip has put Spark, for this Python."""
    environment = os.path.dirname(os.path.dirname(os.path.abspath(python)))
    found = glob.glob(os.path.join(environment, "lib", "python3*", "site-packages", "pyspark"))
    assert found, f"no pyspark in {environment}: run scripts/spark-setup"
    return found[0]


def spark_environment(home, address):
    """Nothing of another Spark; pip's Spark does not say what Scala it is made for, which workers want to know."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SPARK_", "PYSPARK_"))}
    library = os.path.basename(glob.glob(f"{home}/jars/scala-library-*.jar")[0])
    scala = ".".join(library[len("scala-library-"):].split(".")[:2])
    return kept | {"SPARK_HOME": home, "SPARK_SCALA_VERSION": scala, "SPARK_LOCAL_IP": address,
                   "SPARK_LOCAL_HOSTNAME": address}


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as file:
            found = set(file.read().split())
        # A thread other than the first may have started them.
        for path in glob.glob(f"/proc/{pid}/task/*/children"):
            with open(path, encoding="utf-8") as file:
                found |= set(file.read().split())
    except OSError:  # it is gone
        return []
    return sorted(map(int, found))


def command_of(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().decode(errors="replace")
    except OSError:
        return ""
