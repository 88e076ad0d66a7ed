"""One node with its mount for the time of a with statement; what scripts/bench and scripts/posix-suite measure and try."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

START_SECONDS = 30


def end(process):
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_ports(count):
    """Ports that nobody listens on at the moment, so that two runs do not meet."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def command(program, build, directory, more):
    """The command that mounts `directory`/mnt over `directory`/data, with local/disk0 in it."""
    common = ["--mount", f"{directory}/mnt", "--data", f"{directory}/data", *more]
    if program == "native_mount":
        return [f"{build}/tests/mount/native_mount", *common]
    peer, http = free_ports(2)
    spark = [] if any(option.startswith("--spark-listen=") for option in more) else ["--spark-listen="]
    return [
        program, "serve", "--node", "n1", *common,
        "--peer-listen", f"127.0.0.1:{peer}", "--members", f"n1=127.0.0.1:{peer}",
        "--http-listen", f"127.0.0.1:{http}", *spark,
    ]


class ServedMount:
    """A node over `base`/.../data. `through` and `native` are empty directories of the same disk."""

    def __init__(self, program, build, base, more=()):
        self.directory = tempfile.mkdtemp(prefix="sf-bench-", dir=base)
        os.chmod(self.directory, 0o755)
        self.mount = f"{self.directory}/mnt"
        self.native = f"{self.directory}/native"
        self.through = f"{self.mount}/local/disk0"
        self.arguments = command(program, build, self.directory, more)

    def __enter__(self):
        os.mkdir(self.native)
        self.log = open(f"{self.directory}/log", "w+", encoding="utf-8")
        self.process = subprocess.Popen(self.arguments, stderr=self.log, stdout=self.log)
        deadline = time.monotonic() + START_SECONDS
        while not (os.path.ismount(self.mount) and os.path.isdir(self.through)):
            if self.process.poll() is not None or time.monotonic() > deadline:
                text = self.read_log()
                self.__exit__()
                raise SystemExit(f"the mount did not come up:\n{text}")
            time.sleep(0.02)
        return self

    def read_log(self):
        with open(f"{self.directory}/log", encoding="utf-8") as log:
            return log.read()

    def __exit__(self, *_):
        end(self.process)
        subprocess.run(["umount", "-l", self.mount], stderr=subprocess.DEVNULL, check=False)
        self.log.close()
        shutil.rmtree(self.directory, ignore_errors=True)
