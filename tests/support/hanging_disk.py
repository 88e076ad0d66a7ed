"""A disk that hangs when it is told to: whoever reads or writes it waits, without an error, until it goes on.

An ext4 file system on a device-mapper device over a file; suspending the device hangs it. Where the kernel has no device
mapper, the file lies on the mount of a daemon of its own, which is stopped by a signal to hang the disk. Needs root and loop
devices.
"""

import os
import shutil
import signal
import subprocess
import tempfile

from shuffle_cluster import PROGRAM, runs, until

ADDRESS = "127.0.9.9"  # of the daemon that carries the file, where there is no device mapper


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def why_not():
    """Why there can be no such disk here; None if there can."""
    for tool in ("losetup", "mkfs.ext4"):
        if not shutil.which(tool):
            return f"needs {tool}"
    return None if os.path.exists("/dev/loop-control") else "needs loop devices"


def has_device_mapper():
    with open("/proc/misc", encoding="utf-8") as misc:
        return "device-mapper" in misc.read() and shutil.which("dmsetup") is not None


class HangingDisk:
    """`path` is its mount point. A context manager: at its end the disk goes on, and nothing of it is left."""

    def __init__(self, megabytes=512):
        self.size = megabytes << 20
        self.place = tempfile.mkdtemp(prefix="shufflefs-hanging-", dir=os.environ.get("TMPDIR", "/var/tmp"))
        self.path = os.path.join(self.place, "disk")
        self.undo = [lambda: shutil.rmtree(self.place, ignore_errors=True)]
        self.mapped = None  # the device-mapper device's name
        self.carrier = None  # the daemon that carries the file
        self.hangs = False

    def __enter__(self):
        try:
            self._make()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.resume()
        while self.undo:
            self.undo.pop()()

    def _make(self):
        os.mkdir(self.path)
        image = os.path.join(self.place if has_device_mapper() else self._start_carrier(), "image")
        with open(image, "wb") as file:
            file.truncate(self.size)
        device = run("losetup", "--find", "--show", image)
        self.undo.append(lambda: run("losetup", "--detach", device))
        if has_device_mapper():
            name = os.path.basename(self.place)
            run("dmsetup", "create", "--noudevsync", name, "--table", f"0 {self.size // 512} linear {device} 0")
            self.mapped = name
            self.undo.append(lambda: run("dmsetup", "remove", "--noudevsync", "--retry", name))
            device = f"/dev/mapper/{name}"
        run("mkfs.ext4", "-q", device)
        run("mount", device, self.path)
        self.undo.append(lambda: run("umount", self.path))

    def _start_carrier(self):
        """A directory whose files are served by a process that can be stopped."""
        mount = os.path.join(self.place, "carrier")
        with open(os.path.join(self.place, "log"), "wb") as log:
            # It ends with this process, however that ends: a disk that hangs for ever would hold up the machine.
            self.carrier = subprocess.Popen(  # pylint: disable=consider-using-with
                ["setpriv", "--pdeathsig", "KILL", PROGRAM, "serve", "--node", "carrier", "--mount", mount, "--data",
                 f"{self.place}/data", "--local-mode=fuse", "--peer-listen", f"{ADDRESS}:7338", "--http-listen",
                 f"{ADDRESS}:7340", "--spark-listen", ""], stdout=log, stderr=log)
        self.undo.append(self._stop_carrier)
        directory = os.path.join(mount, "local", "disk0")
        until(lambda: self.carrier.poll() is not None or os.path.isdir(directory), "the disk's carrier is there")
        assert self.carrier.poll() is None, "the disk's carrier has ended; see its log"
        return directory

    def _stop_carrier(self):
        self.carrier.terminate()
        self.carrier.wait(60)

    def _carriers(self):
        done = subprocess.run(["pgrep", "-P", str(self.carrier.pid)], capture_output=True, text=True, check=False)
        return [self.carrier.pid, *(int(pid) for pid in done.stdout.split())]

    def hang(self):
        """From now on every read and write that needs the disk waits."""
        os.sync()
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as caches:
            caches.write("3")
        self.hangs = True
        if self.mapped:
            run("dmsetup", "suspend", "--noudevsync", "--nolockfs", "--noflush", self.mapped)
        else:
            for pid in self._carriers():
                os.kill(pid, signal.SIGSTOP)

    def resume(self):
        if not self.hangs:
            return
        if self.mapped:
            run("dmsetup", "resume", "--noudevsync", self.mapped)
        else:
            for pid in self._carriers():
                if runs(pid):
                    os.kill(pid, signal.SIGCONT)
        self.hangs = False
