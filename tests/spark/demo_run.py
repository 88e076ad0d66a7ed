"""What scripts/spark-demo does, step by step: services, Spark, the job, the killing, the checks, the summary."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time

from demo_data import write_tables
from ess_services import JvmService
from event_log import EventLog
from shuffle_cluster import PROGRAM, until
from standalone import MASTER, Node, Standalone, children, spark_environment, spark_home

NODES = 3
PATIENCE = 120  # seconds that anything but the job itself may take
SHORT_LIVED = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"  # these JVMs end before more compiling pays
HERE = os.path.dirname(os.path.abspath(__file__))


class Failed(Exception):
    """The demo did not show what it is to show; the text says why."""


def require(condition, text):
    if not condition:
        raise Failed(text)


class Daemons:
    """Our daemons, one for each node."""

    def __init__(self, directory):
        self.directory = os.path.join(directory, "cluster")
        self.up()

    def up(self):
        done = self.cluster("up", "--nodes", str(NODES))
        require(done.returncode == 0, f"shufflefs cluster up:\n{done.stdout}{done.stderr}")

    def cluster(self, *words):
        return subprocess.run([PROGRAM, "cluster", *words, "--dir", self.directory], capture_output=True, text=True,
                              timeout=PATIENCE, check=False)

    def nodes(self):
        return json.loads(self.cluster("status", "--json").stdout)["nodes"]

    def local_dirs(self):
        return [(node["address"], os.path.join(node["mount"], "local", "disk0", "spark")) for node in self.nodes()]

    def wait(self, shuffle, maps):
        http = self.nodes()[0]
        subprocess.run([PROGRAM, "wait", shuffle, "--maps", maps, "--timeout", "30s", "--http",
                        f"{http['http_address']}:{http['http_port']}"], capture_output=True, timeout=PATIENCE, check=False)

    def asked_blocks(self):
        """How many blocks executors have asked of the services since they were started."""
        total = 0
        for node in self.nodes():
            with open(os.path.join(node["mount"], ".shufflefs", "metrics"), encoding="utf-8") as file:
                total += sum(int(float(line.split()[1])) for line in file if line.startswith("shufflefs_spark_chunks_total "))
        return total

    def kill_worker(self, number):
        """SIGKILL to the process that does the work; the one that holds the mount starts another. Returns its pid."""
        workers = children(self.nodes()[number]["pid"])
        require(workers, "this shufflefs has no worker process of its own: killing it would take the mount away")
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        return workers[0]

    def restart(self):
        """Ends all daemons as an operator does, and starts them again on the same data."""
        pids = [node["pid"] for node in self.nodes()]
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), "the daemons have ended", PATIENCE)
        self.up()

    def stop(self):
        self.cluster("down")

    def summary(self):
        return f"{NODES} daemons of ours, each on port 7337 of its address"


class SparksOwn:
    """One shuffle service of Spark for all nodes: it binds to every address."""

    def __init__(self, directory, home):
        self.directory = directory
        self.service = JvmService(os.path.join(home, "jars"))
        self.service.start()

    def local_dirs(self):
        return [(f"127.0.0.{11 + number}", os.path.join(self.directory, f"disk{number}")) for number in range(NODES)]

    def stop(self):
        self.service.stop()

    def summary(self):
        return "Spark's own shuffle service"


class Demo:
    def __init__(self, options, root, directory):
        self.options = options
        self.root = root
        self.directory = directory
        self.python = None
        self.services = None
        self.spark = None
        self.app = None
        self.written = []  # (shuffle, map tasks) of the stage before
        self.killed = 0
        self.kills = []
        self.pending = list(options.kill)
        self.cleanup = contextlib.ExitStack()
        self.begin = time.monotonic()
        self.all_stages_done = float("inf")
        self.asked_blocks = 0
        self.stages = 0

    def say(self, text):
        print(f"[{time.monotonic() - self.begin:5.1f} s] {text}", flush=True)

    # ---- The steps

    def run(self):
        self.install_spark()
        self.make_data()
        self.start_services()
        reference = self.run_plainly()
        self.start_spark()
        rows = self.run_job()
        require(rows == reference, f"the result ({len(rows)} rows) is not that of the plain run ({len(reference)} rows): "
                                   f"{self.directory}/rows.json, reference.json (with --keep)")
        self.say(f"{len(rows)} rows, all equal to the plain run's")
        log = EventLog(os.path.join(self.directory, "events"), self.all_stages_done)
        complaints = log.complaints()
        require(not complaints, "the result is right, but work was done again: " + "; ".join(complaints[:10]))
        if self.options.client:
            percent = log.merged_percent(log.read)
            require(percent >= 95, f"only {percent:.1f} % of the bytes were read merged")
        require(self.killed > 0, "no executor was killed: the run shows nothing")
        require(not self.pending, f"--kill {', '.join(self.pending)}: the moment for it never came")
        self.summarise(log, len(rows))

    def install_spark(self):
        command = [self.root / "scripts" / "spark-setup", "--version", self.options.spark]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        require(done.returncode == 0, f"scripts/spark-setup:\n{done.stdout}")
        self.python = str(self.root / ".cache" / f"spark-{self.options.spark}" / "bin" / "python")

    def make_data(self):
        packages, size = write_tables(self.path("input"), self.options.quick, self.options.copies)
        self.say(f"the data: files, md5 sums and licences of {packages} packages, {size / 1e6:.0f} MB")

    def start_services(self):
        if self.options.service == "jvm":
            self.services = SparksOwn(self.directory, spark_home(self.python))
        else:
            self.services = Daemons(self.directory)
        self.cleanup.callback(self.services.stop)
        self.say(f"the shuffle service: {self.services.summary()}")

    def run_plainly(self):
        """The same question asked of Spark in one process, which keeps its shuffles itself."""
        begin = time.monotonic()
        output = self.path("reference.json")
        # Few partitions: there is nobody to share the work with.
        conf = ["--partitions", "2", "--maps", "4", "--conf", f"spark.driver.extraJavaOptions={SHORT_LIVED}", "--conf", "spark.ui.enabled=false"]
        with open(self.path("reference.log"), "w", encoding="utf-8") as log:
            done = subprocess.run(self.job_command("local[2]", output) + conf, env=self.environment(self.path("plain")),
                                  stdout=log, stderr=log, cwd=self.directory, check=False)
        require(done.returncode == 0, f"the plain run failed:\n{self.tail('reference.log')}")
        self.say(f"the expected result, from Spark in one process: {time.monotonic() - begin:.1f} s")
        return read_json(output)

    def start_spark(self):
        nodes = [Node(address, local_dir) for address, local_dir in self.services.local_dirs()]
        self.spark = self.cleanup.enter_context(Standalone(self.python, nodes, self.directory))
        self.say(f"Spark {self.options.spark}: a master and {NODES} workers; their local dirs: {nodes[0].local_dir}, ...")

    def run_job(self):
        output = self.path("rows.json")
        os.mkdir(self.path("events"))
        settings = {
            "spark.shuffle.service.enabled": "true",
            "spark.dynamicAllocation.enabled": "true",
            "spark.dynamicAllocation.executorIdleTimeout": "600s",  # we do the killing
            "spark.executor.memory": "512m",
            "spark.executor.extraJavaOptions": f"-Djava.net.preferIPv4Stack=true {SHORT_LIVED}",
            "spark.driver.extraJavaOptions": SHORT_LIVED,
            "spark.eventLog.enabled": "true",
            "spark.eventLog.compress": "false",
            "spark.eventLog.rolling.enabled": "false",
            "spark.eventLog.dir": f"file:{self.path('events')}",
            "spark.driver.host": MASTER,
            "spark.driver.bindAddress": MASTER,
            "spark.ui.enabled": "true" if self.options.shared_network else "false",
        }
        if self.options.client:
            settings |= self.client_settings()
        arguments = ["--staged"] + [] if self.options.quick else ["--staged", "--again"]
        for name, value in settings.items():
            arguments += ["--conf", f"{name}={value}"]
        for setting in self.options.conf:
            arguments += ["--conf", setting]
        with open(self.path("driver.log"), "w", encoding="utf-8") as log:
            job = subprocess.Popen(self.job_command(self.spark.url, output) + arguments, cwd=self.directory,
                                   env=self.environment(self.path("driver")), stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            for line in job.stdout:
                self.follow(line.split(), job)
            require(job.wait() == 0, f"the job failed:\n{self.tail('driver.log')}")
        finally:
            job.stdin.close()
            if job.poll() is None:
                job.kill()
                job.wait()
        return read_json(output)

    # ---- Following the job

    def follow(self, words, job):
        match words:
            case ["APP", name]:
                self.app = name
                self.say(f"the application {name} has started, in {NODES} executors at most")
            case ["STAGE", number, total, shuffle, tasks]:
                self.before_stage(int(number), int(total), shuffle, tasks)
                job.stdin.write("go\n")
                job.stdin.flush()
            case ["PROGRESS", number, done, total]:
                self.during_stage(int(number), int(done), int(total))
            case ["DONE", number, seconds]:
                if int(number) == self.stages:
                    self.all_stages_done = time.time()
                    self.asked_blocks = self.services.asked_blocks() if self.options.client else 0
                self.say(f"    done in {seconds} s")
            case ["AGAIN", seconds]:
                self.say(f"the same with adaptive execution, which fetches ranges of partitions: equal, {seconds} s")

    def client_settings(self):
        scala = spark_environment(spark_home(self.python), MASTER)["SPARK_SCALA_VERSION"]
        jar = os.path.join(self.services.nodes()[0]["mount"], ".shufflefs", "client", f"shufflefs-spark_{scala}.jar")
        require(os.path.isfile(jar), f"there is no {jar}: run scripts/client")
        return {"spark.shuffle.manager": "org.shufflefs.spark.ShufflefsManager", "spark.driver.extraClassPath": jar,
                "spark.executor.extraClassPath": jar}

    def wait_merged(self):
        """Until the pushes of what has run so far are done. A map output without a single byte is never pushed."""
        for shuffle, tasks in self.written:
            self.services.wait(f"{self.app}/{shuffle}", tasks)

    def before_stage(self, number, total, shuffle, tasks):
        self.stages = total
        if self.options.client:
            self.wait_merged()
            self.written = [(shuffle, tasks)] if int(shuffle) >= 0 else []
        if number > 1 and (not self.options.quick or number in (3, total)):
            killed = self.spark.kill_executors()
            self.killed += killed
            self.say(f"    killed {killed} executors")
        if self.options.restart_daemon and number == total // 2:
            begin = time.monotonic()
            self.services.restart()
            self.say(f"    stopped and started all daemons: {time.monotonic() - begin:.1f} s")
            self.kills.append("all daemons were restarted")
        what = f"shuffle {shuffle}, {tasks} map tasks" if int(shuffle) >= 0 else "the result"
        self.say(f"stage {number} of {total}: {what}")

    def during_stage(self, number, done, total):
        """Kills a worker process in the middle of a stage: the first only writes, the third also reads."""
        for kind, stage in (("worker-in-map", 1), ("worker-in-reduce", 3)):
            if kind in self.pending and number >= stage and 0 < done < total:
                self.pending.remove(kind)
                pid = self.services.kill_worker(1)
                self.say(f"    killed the worker process {pid} of the daemon at node2, with {done} of {total} tasks done")
                self.kills.append(f"a daemon's worker was killed in stage {number}")

    # ---- The end

    def summarise(self, log, rows):
        megabytes = (log.read["Remote Bytes Read"] + log.read["Local Bytes Read"]) / 1e6
        print(f"\n== Done in {time.monotonic() - self.begin:.0f} s: {self.services.summary()}, Spark {self.options.spark}")
        for line in (
                f"{len(log.map_stages)} map stages, each run once; {sum(log.runs.values())} tasks, each successful once",
                f"{self.killed} executors killed between the stages" + "".join(f"; {kill}" for kill in self.kills),
                f"{log.read['Remote Blocks Fetched']} blocks fetched from other nodes, "
                f"{log.read['Local Blocks Fetched']} from the own one, {megabytes:.1f} MB; no fetch failed",
                *(self.about_the_client(log) if self.options.client else []),
                f"{rows} rows, equal to those of Spark in one process"):
            print(f"  {line}")

    def about_the_client(self, log):
        lines = [f"{log.merged_percent(log.read):.1f} % of these bytes were read merged, {log.read['Merged Fetch Fallbacks']} blocks at "
                 "their origin instead",
                 f"{log.localities['NODE_LOCAL']} of {log.localities.total()} reading tasks ran on a node that Spark was told to prefer",
                 f"{self.asked_blocks} blocks were asked of the shuffle services"]
        if log.read_again:
            lines.append(f"with adaptive execution, where a stage starts at once: {log.merged_percent(log.read_again):.1f} % merged")
        return lines

    def tear_down(self):
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            self.cleanup.close()
        if self.options.keep:
            print(f"kept: {self.directory}")
        else:
            shutil.rmtree(self.directory, ignore_errors=True)

    # ---- Small things

    def path(self, name):
        return os.path.join(self.directory, name)

    def job_command(self, master, output):
        return [self.python, os.path.join(HERE, "demo_job.py"), "--master", master, "--input", self.path("input"),
                "--output", output]

    def environment(self, local_dir):
        os.makedirs(local_dir, exist_ok=True)
        return spark_environment(spark_home(self.python), MASTER) | {"SPARK_LOCAL_DIRS": local_dir}

    def tail(self, name, lines=30):
        with open(self.path(name), encoding="utf-8", errors="replace") as file:
            return "".join(file.readlines()[-lines:])


def read_json(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)
