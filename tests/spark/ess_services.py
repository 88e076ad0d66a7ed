"""The two shuffle services that conformance cases are asked of, each as a process of its own that can be killed.

`roots(name, n)` gives n directories, made, in which an executor may have its local dirs; for our daemon they are on its mount.
"""

import glob
import os
import shutil
import socket
import subprocess
import tempfile

from shuffle_cluster import PROGRAM, end, until

PATIENCE = 180  # seconds; a JVM on a busy machine is slow
STARTED = "Started external shuffle service"


class Service:
    """A process, its log, and its end. A context manager."""

    def __init__(self, address):
        self.address = address
        self.directory = tempfile.mkdtemp(prefix="shufflefs-ess-", dir=os.environ.get("TMPDIR", "/var/tmp"))
        self.log_path = os.path.join(self.directory, "log")
        self.process = None

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_):
        self.stop()

    def start(self):
        self._launch()
        return self

    def _launch(self):
        with open(self.log_path, "a", encoding="utf-8") as log:
            begin = log.tell()
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, env=self.environment())
        until(lambda: self.process.poll() is not None or self.is_ready(self.log()[begin:]), "the service is ready",
              PATIENCE)
        if self.process.poll() is not None:
            raise AssertionError(f"the service ended with {self.process.returncode}:\n{self.log()[-4000:]}")

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def is_ready(self, text):
        """Whether it serves, given what it has logged since its start."""
        raise NotImplementedError

    def environment(self):
        return None

    def kill_and_restart(self):
        self.process.kill()
        self.process.wait()
        self._launch()

    def end(self):
        end(self.process, PATIENCE)

    def stop(self):
        self.end()
        shutil.rmtree(self.directory, ignore_errors=True)

    def roots(self, name, count):
        found = [os.path.join(root, name) for root in self.disks()]
        found = [os.path.join(found[number % len(found)], str(number)) for number in range(count)]
        for root in found:
            os.makedirs(root, exist_ok=True)
        return found

    def disks(self):
        """Where local dirs may be."""
        raise NotImplementedError

    def command(self):
        raise NotImplementedError


class JvmService(Service):
    """Spark's own. It binds to all addresses, so it belongs into a private network."""

    def __init__(self, jars, port=7337):
        super().__init__(("127.0.0.1", port))
        self.jars = jars
        self.port = port
        for disk in self.disks():
            os.mkdir(disk)

    def disks(self):
        return [os.path.join(self.directory, "disk0"), os.path.join(self.directory, "disk1")]

    def environment(self):
        names = {name: value for name, value in os.environ.items() if not name.startswith("SPARK_")}
        return names | {"SPARK_LOCAL_DIRS": self.disks()[0], "SPARK_LOCAL_IP": "127.0.0.1"}

    def is_ready(self, text):
        with socket.socket() as probe:
            return probe.connect_ex(self.address) == 0

    def command(self):
        settings = {"spark.shuffle.service.enabled": "true", "spark.shuffle.service.port": self.port,
                    "spark.shuffle.service.db.enabled": "true", "spark.shuffle.service.fetch.rdd.enabled": "true",
                    "spark.local.dir": self.disks()[0]}  # where its database of registrations is
        logging = os.path.join(os.path.dirname(os.path.abspath(__file__)), "log4j2-service.properties")
        return ["java", "-Xmx512m", "-Djava.net.preferIPv4Stack=true", f"-Dlog4j2.configurationFile=file:{logging}",
                *(f"-D{name}={value}" for name, value in settings.items()), "-cp", f"{self.jars}/*",
                "org.apache.spark.deploy.ExternalShuffleService"]


class DaemonService(Service):
    """One of our daemons, with two disks and its mount."""

    def __init__(self, *flags, address="127.0.0.1"):
        super().__init__((address, 7337))
        self.flags = flags
        self.mount = os.path.join(self.directory, "mnt")
        os.mkdir(self.mount)

    def disks(self):
        return [os.path.join(self.mount, "local", disk) for disk in sorted(os.listdir(f"{self.mount}/local"))]

    def command(self):
        host = self.address[0]
        return [PROGRAM, "serve", "--node", "n1", "--mount", self.mount, "--data", f"{self.directory}/data0",
                "--data", f"{self.directory}/data1", "--peer-listen", f"{host}:7338", "--members", f"n1={host}:7338",
                "--http-listen", f"{host}:7340", "--spark-listen", f"{host}:7337", *self.flags]

    def is_ready(self, text):
        return STARTED in text and "serve.ready" in text

    def kill_and_restart(self):
        self.process.kill()
        self.process.wait()
        self.unmount()
        self._launch()

    def unmount(self):
        while os.path.ismount(self.mount):
            subprocess.run(["umount", "-l", self.mount], check=True)

    def stop(self):
        self.end()
        self.unmount()
        super().stop()


def jars_of(python):
    """The jars of the Spark in this Python's environment (scripts/spark-setup says which)."""
    environment = os.path.dirname(os.path.dirname(os.path.abspath(python)))
    found = glob.glob(os.path.join(environment, "lib", "python3*", "site-packages", "pyspark", "jars"))
    assert found, f"no pyspark in {environment}: run scripts/spark-setup"
    return found[0]
