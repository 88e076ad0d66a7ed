"""Starting, looking into and ending a native_mount; used by the mount tests."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

BUILD = os.environ.get("SHUFFLEFS_BUILD", "build")
PROGRAM = os.path.join(BUILD, "tests/mount/native_mount")
START_SECONDS = 30


class StartFailed(Exception):
    """The program ended before its mount was up; the text is what it printed."""


class NativeMount:
    """One running native_mount over `directory`/data, shown at `directory`/mnt."""

    def __init__(self, directory, arguments=(), data=(), mount=None):
        self.directory = directory
        self.mount = mount or f"{directory}/mnt"
        self.data = list(data) or [f"{directory}/data"]
        self.arguments = list(arguments)
        self.log_path = f"{directory}/log"
        self.process = None
        self.owner = False  # a mount was made by this one

    def start(self):
        command = [PROGRAM, "--mount", self.mount, *self.arguments]
        for data in self.data:
            command += ["--data", data]
        with open(self.log_path, "a", encoding="utf-8") as log:
            begin = log.tell()
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while "mount.ready" not in self.log()[begin:]:
            if self.process.poll() is not None or time.monotonic() > deadline:
                text = self.log()[begin:]
                self.kill()
                raise StartFailed(text)
            time.sleep(0.01)
        self.owner = True
        return self

    def log(self):
        with open(self.log_path, encoding="utf-8") as log:
            return log.read()

    def disk(self, number=0):
        return f"{self.mount}/local/disk{number}"

    def backing(self, number=0):
        return f"{self.data[number]}/local"

    def counters(self):
        """The program's counters and gauges by name; those with labels as name{label="value"}."""
        before = len(self.log())
        self.process.send_signal(signal.SIGUSR1)
        deadline = time.monotonic() + 10
        while "# end of metrics" not in self.log()[before:]:
            if time.monotonic() > deadline:
                raise TimeoutError("no metrics")
            time.sleep(0.01)
        lines = re.findall(r"^(shufflefs_\w+(?:\{[^}]*\})?) ([0-9.e+-]+)$", self.log()[before:], re.MULTILINE)
        return {name: float(value) for name, value in lines}

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self, patience=20):
        """Ends it with SIGTERM; returns the seconds that took."""
        begin, failed = time.monotonic(), None
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(patience)
            except subprocess.TimeoutExpired:
                self.kill()
            if self.process.returncode != 0:  # a sanitizer's report, too
                failed = f"ended with {self.process.returncode}:\n{self.log()[-8000:]}"
        took = time.monotonic() - begin
        while self.process is not None and self.owner and is_mounted(self.mount):
            subprocess.run(["umount", "-l", self.mount], check=False)
        if failed:
            raise AssertionError(failed)
        return took


def is_mounted(path):
    with open("/proc/self/mountinfo", encoding="utf-8") as table:
        return any(line.split()[4] == path for line in table)


class WorkDirectory:
    """A directory for a test class; removed at the end with what is still mounted in it."""

    def __init__(self, base=None):
        base = base or os.environ.get("TMPDIR", "/var/tmp")
        self.path = tempfile.mkdtemp(prefix="shufflefs-test-", dir=base)
        os.chmod(self.path, 0o755)

    def sub(self, name):
        path = f"{self.path}/{name}"
        os.makedirs(path, exist_ok=True)
        return path

    def remove(self):
        with open("/proc/self/mountinfo", encoding="utf-8") as table:
            points = [line.split()[4] for line in table]
        for point in reversed([p for p in points if p.startswith(self.path + "/")]):
            subprocess.run(["umount", "-l", point], check=False)
        shutil.rmtree(self.path, ignore_errors=True)
