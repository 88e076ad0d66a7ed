"""An application with our client: daemons, a standalone Spark and a session on it, all in this process's own network.

A Frozen is a plan above one shuffle whose map outputs stay: each read() of it runs the reduce stage again, so that something
can be broken in between. To be used by the Python of scripts/spark-setup.
"""

import collections
import contextlib
import glob
import os
import shutil
import signal
import tempfile

from shuffle_cluster import Cluster, until
from standalone import MASTER, Node, Standalone, spark_environment, spark_home

PATIENCE = 300
SHORT_LIVED = "-Djava.net.preferIPv4Stack=true -XX:+UseSerialGC -XX:TieredStopAtLevel=1"
HERE = os.path.dirname(os.path.abspath(__file__))
READ = ("shuffleReadBytes", "shuffleMergedLocalBytesRead", "shuffleMergedLocalBlocksFetched", "shuffleRemoteBytesRead",
        "shuffleMergedFetchFallbackCount", "shuffleCorruptMergedBlockChunks")


class ClientApp:
    """Context manager. `flags` are the daemons', `conf` the application's."""

    def __init__(self, python, nodes=3, owners=0, flags=(), conf=None, client=True, memory_mib=1024, prepare=None, services=None,
                 master=MASTER, prefix=lambda node: (), local_dirs=None):
        """`owners` more nodes have no executors: they only own partitions. `services` makes other nodes than those of a Cluster
        (tests/bench/spark_nodes.py), `prefix` says what comes before the command of a node's worker."""
        self.python = python
        self.count = nodes
        self.owners = owners
        self.prepare = prepare
        self.flags = flags
        self.client = client
        self.extra = conf or {}
        self.memory_mib = memory_mib
        self.services = services or (lambda: Cluster(self.count + self.owners, *self.flags, prepare=self.prepare))
        self.master = master
        self.prefix = prefix
        self.local_dirs = local_dirs or {}  # of nodes by number, where they are not in the mount
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stack.close()
            raise
        return self

    def __exit__(self, *_):
        self.stack.close()

    def start(self):
        self.directory = tempfile.mkdtemp(prefix="shufflefs-client-", dir=os.environ.get("TMPDIR", "/var/tmp"))
        if not os.environ.get("SHUFFLEFS_TEST_KEEP"):
            self.stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
        self.cluster = self.stack.enter_context(self.services())
        nodes = [Node(node["address"], self.local_dirs.get(i) or self.cluster.path(i, "local", "disk0", "spark"), self.prefix(i))
                 for i, node in enumerate(self.cluster.nodes[:self.count])]
        self.spark_cluster = self.stack.enter_context(Standalone(self.python, nodes, self.directory, self.memory_mib,
                                                                  self.master))
        self.session = self.make_session()
        self.stack.callback(self.stop_session)
        self.app = self.session.sparkContext.applicationId

    def stop_session(self):
        gateway = self.session.sparkContext._gateway  # pylint: disable=protected-access
        with contextlib.suppress(Exception):  # if its JVM is gone there is nothing to stop
            self.session.stop()
        with contextlib.suppress(Exception):
            gateway.shutdown()
            gateway.proc.stdin.close()
            gateway.proc.wait(PATIENCE)

    def make_session(self):
        environment = spark_environment(spark_home(self.python), self.master)
        local = os.path.join(self.directory, "driver")
        os.makedirs(local, exist_ok=True)
        os.environ.update(environment | {"SPARK_LOCAL_DIRS": local, "PYSPARK_PYTHON": self.python})
        from pyspark.sql import SparkSession  # pylint: disable=import-outside-toplevel,import-error
        jar = self.cluster.path(0, ".shufflefs", "client", f"shufflefs-spark_{environment['SPARK_SCALA_VERSION']}.jar")
        log = f"-Dlog4j.configurationFile=file:{HERE}/log4j2-client.properties"
        conf = {
            "spark.shuffle.service.enabled": "true",
            "spark.executor.memory": "512m",
            "spark.executor.cores": "1",
            "spark.executor.extraJavaOptions": f"{SHORT_LIVED} {log}",
            "spark.driver.extraJavaOptions": f"{SHORT_LIVED} {log}",
            "spark.driver.memory": "700m",
            "spark.driver.host": self.master,
            "spark.driver.bindAddress": self.master,
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            "spark.shuffle.io.retryWait": "1s",
            "spark.sql.adaptive.enabled": "false",
            "spark.sql.shuffle.partitions": "12",
            "spark.scheduler.minRegisteredResourcesRatio": "1.0",
        }
        if self.client:
            conf |= {
                "spark.shuffle.manager": "org.shufflefs.spark.ShufflefsManager",
                "spark.driver.extraClassPath": jar,
                "spark.executor.extraClassPath": jar,
            }
        builder = SparkSession.builder.master(self.spark_cluster.url).appName("client")
        for key, value in (conf | self.extra).items():
            builder = builder.config(key, value)
        session = builder.getOrCreate()
        until(lambda: len(self.spark_cluster.executors()) == self.count, "all executors run", PATIENCE)
        return session

    def restart_session(self, conf):
        """Another application with these settings, on the same nodes."""
        self.session.stop()
        until(lambda: not self.spark_cluster.executors(), "the executors have ended", PATIENCE)
        self.extra = conf
        self.session = self.make_session()
        self.app = self.session.sparkContext.applicationId

    def restart_driver(self, conf, log):
        """The same by a driver of its own, with its log in the file."""
        self.stop_session()
        context = type(self.session.sparkContext)
        context._gateway = context._jvm = None  # pylint: disable=protected-access
        until(lambda: not self.spark_cluster.executors(), "the executors have ended", PATIENCE)
        self.extra = conf
        own = os.dup(2)
        with open(log, "wb") as file:
            os.dup2(file.fileno(), 2)
        try:
            self.session = self.make_session()
        finally:
            os.dup2(own, 2)
            os.close(own)
        self.app = self.session.sparkContext.applicationId

    # ---- What Spark says it has done

    def context(self):
        return self.session.sparkContext._jsc.sc()  # pylint: disable=protected-access

    def stages(self):
        """{stage id: its last attempt}, of those that have run."""
        context = self.context()
        context.listenerBus().waitUntilEmpty()
        gateway = self.session.sparkContext._gateway  # pylint: disable=protected-access
        none = gateway.jvm.java.util.ArrayList()
        quantiles = gateway.new_array(gateway.jvm.double, 0)
        found = context.statusStore().stageList(None, False, False, quantiles, none)
        return {found.apply(i).stageId(): found.apply(i) for i in range(found.size())
                if found.apply(i).status().toString() != "SKIPPED"}

    def reading(self, action):
        """(the action's result, {what was read in the stages that it ran}, those stages)."""
        before = set(self.stages())
        result = action()
        stages = {number: stage for number, stage in self.stages().items() if number not in before}
        return result, {name: sum(getattr(stage, name)() for stage in stages.values()) for name in READ}, stages

    def localities(self, stage):
        """{Spark's word for where a task ran: tasks} of a stage that stages() has named."""
        tasks = self.context().statusStore().taskList(stage.stageId(), stage.attemptId(), stage.numTasks() + 100)
        return collections.Counter(tasks.apply(i).taskLocality() for i in range(tasks.size()))

    def preferred_hosts(self, frame, partition):
        rdd = frame._jdf.queryExecution().toRdd()  # pylint: disable=protected-access
        found = self.context().getPreferredLocs(rdd, partition)
        return [found.apply(i).host() for i in range(found.size())]

    def metric(self, name):
        """Over all nodes."""
        return sum(self.cluster.metric(node, name) for node in range(self.count))

    def lose_node(self, node):
        """SIGKILL to a node's worker, its executor and its daemon; returns when the driver and the master have noticed."""
        lost = self.spark_cluster.nodes[node]
        executors = [pid for pid, address in self.spark_cluster.executors().items() if address == lost.address]
        worker = lost.worker
        lost.worker = None
        status = self.context().statusTracker()
        known = len(status.getExecutorInfos())
        removed = self.spark_cluster.log("master").count("Removing worker")
        for pid in [worker.pid, *executors]:
            os.kill(pid, signal.SIGKILL)
        worker.wait()
        self.cluster.signal(node, signal.SIGKILL)
        # Until the driver knows: then it would have struck off the node's map outputs.
        until(lambda: len(status.getExecutorInfos()) < known, "the driver has noticed the loss of an executor")
        until(lambda: self.spark_cluster.log("master").count("Removing worker") > removed, "the master has noticed the loss of the worker")

    # ---- A shuffle to play with

    def freeze(self, frame):
        """A frame whose shuffles are run once and kept."""
        frame.createOrReplaceTempView("frozen")
        rows = frame._jdf.queryExecution().toRdd()  # pylint: disable=protected-access
        from pyspark.sql import DataFrame  # pylint: disable=import-outside-toplevel,import-error
        java = self.session._jsparkSession.internalCreateDataFrame(rows, frame._jdf.schema(), False)  # pylint: disable=protected-access
        return DataFrame(java, self.session)

    def shuffles(self):
        path = self.cluster.path(0, "shuffles", self.app)
        return sorted(int(name) for name in os.listdir(path)) if os.path.isdir(path) else []

    def wait_merged(self, shuffle, maps):
        self.cluster.wait_for_maps(0, f"{self.app}/{shuffle}", maps)

    def merged_files(self, shuffle):
        """[(node number, partition, path of its data file)] of what is merged."""
        found = []
        for number, node in enumerate(self.cluster.nodes):
            data = os.path.join(self.cluster.directory, node["name"], "data")
            # <shuffle>-<life> holds what is merged of one life of the name
            found += [(number, int(os.path.basename(path).split(".")[0]), path)
                      for path in glob.glob(f"{data}/merged/{self.app}/{shuffle}-*/*.data")]
        return sorted(found, key=lambda entry: entry[1])
