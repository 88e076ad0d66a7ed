"""What goes on in the cluster while it is disturbed: a job, and a process in each worker that looks through the mount."""

import re
import subprocess
import tempfile
import threading

import cluster
from cluster import PATIENCE, RELEASE, Failed, kubectl, mount, name, pods, say, until

JAR = "/opt/spark/examples/jars/spark-examples_2.12-3.5.7.jar"


def submit(*arguments, conf=()):
    """The arguments of kubectl for the word count of docker/spark/examples in the master's container."""
    flags = [flag for pair in conf for flag in ("--conf", pair)]
    return ["exec", f"deploy/{RELEASE}-master", "--", "spark-submit", "--master", f"spark://{RELEASE}-master:7077", *flags, JAR,
            *map(str, arguments)]


class Job:
    """A word count that goes on in the background."""

    def __init__(self, *arguments, conf=()):
        self.errors = tempfile.TemporaryFile("w+")  # of its own: Spark's log would run into the lines of the job
        self.process = subprocess.Popen(["kubectl", "-n", cluster.OPTIONS.namespace, *submit(*arguments, conf=conf)],
                                        stdout=subprocess.PIPE, stderr=self.errors, text=True)
        self.lines = []
        self.reader = threading.Thread(target=lambda: self.lines.extend(self.process.stdout), daemon=True)
        self.reader.start()

    def rounds(self):
        return sum(line.startswith("round ") for line in list(self.lines))

    def after_round(self, number):
        until(lambda: self.rounds() >= number or self.process.poll() is not None, f"round {number} is done", pause=0.1)

    def end(self):
        """The last line. Fails if the job has."""
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Failed("the job does not end") from None
        self.reader.join(10)
        self.errors.seek(0)
        errors = self.errors.read()
        self.errors.close()
        cluster.LOG.write("".join(self.lines) + errors + "\n")
        shown = [line.strip() for line in self.lines if line.startswith(("round ", "word count"))]
        for line in shown:
            say(f"    {line}")
        if self.process.returncode:
            raise Failed(f"the job failed: {''.join(self.lines)[-300:]} {errors[-800:]}")
        return shown[-1]


WATCH = r"""
import os, sys, time
directory, stop = sys.argv[1], time.time() + float(sys.argv[2])
path = directory + "/watch-" + sys.argv[3]
began, longest, errors, count = None, 0.0, {}, 0
last = time.time()
while time.time() < stop and not os.path.exists("/tmp/stop-watching"):
    try:
        os.stat(directory)
        with open(path, "w") as file: file.write("x")
        with open(path) as file: assert file.read() == "x"
        now = time.time()
        if now - last > longest: longest, began = now - last, last
        last, count = now, count + 1
    except OSError as error:
        errors[os.strerror(error.errno)] = errors.get(os.strerror(error.errno), 0) + 1
    time.sleep(0.1)
if time.time() - last > longest: longest = time.time() - last
try: os.unlink(path)
except OSError: pass
print("gap %.1f s, %d good, errors %s" % (longest, count, errors or "none"))
"""


class Watch:
    """Looks through the mount from every worker's container."""

    def __init__(self, seconds=PATIENCE):
        self.watchers = {}
        for pod in pods("spark-worker"):
            kubectl("exec", name(pod), "-c", "worker", "--", "rm", "-f", "/tmp/stop-watching", quiet=True)
            self.watchers[name(pod)] = subprocess.Popen(
                ["kubectl", "-n", cluster.OPTIONS.namespace, "exec", name(pod), "-c", "worker", "--", "python3", "-c", WATCH,
                 f"{mount()}/local/disk0", str(seconds), name(pod)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def end(self):
        """(the longest gap, whether a call failed)."""
        gaps, failed = [], False
        for pod, process in self.watchers.items():
            kubectl("exec", pod, "-c", "worker", "--", "touch", "/tmp/stop-watching", quiet=True)
            text = process.communicate(timeout=60)[0].strip()
            say(f"    {pod}: {text}")
            found = re.search(r"gap ([\d.]+) s", text)
            if not found:
                raise Failed(f"the watcher in {pod} ended: {text}")
            gaps.append(float(found[1]))
            failed = failed or "errors none" not in text
        return max(gaps), failed
