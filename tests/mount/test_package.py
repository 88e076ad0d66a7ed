"""The package: what is in it, and its life on a machine: installed, started, upgraded, removed.

The machine is a set of namespaces: the root of this one below an overlay, a network, processes and, with systemd, a control
group of its own, and systemd as its first process. Nothing of this machine's /usr, /etc or dpkg is changed. Needs root,
/dev/fuse, and systemd installed (not running).
"""

import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import tomllib
import unittest

from shuffle_cluster import PATIENCE, until

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CONFIG = "/etc/shufflefs/shufflefs.toml"
SYSTEMD = "/lib/systemd/systemd"
SETTINGS = 'node = "n1"\nmount = "/shuffle/mnt"\ndata = ["/data/shufflefs"]\nhttp-listen = "127.0.0.1:7345"\n'
# Nothing of the kernel's own can be changed from in there, and systemd starts nothing but its journal.
BOOT = """set -e
mount --make-rprivate /
mount -t tmpfs none "$1"
mkdir "$1"/upper "$1"/work "$1"/root
mount -t overlay none -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1"/root
cd "$1"/root
rm -rf usr/lib/systemd/{system,user}-generators usr/lib/systemd/system/*.wants etc/systemd/system/*.wants
printf '[Unit]\nDefaultDependencies=no\nWants=systemd-journald.service\n' >etc/systemd/system/bare.target
mount -t proc none proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro none sys
mount -t cgroup2 none sys/fs/cgroup
for directory in dev run tmp packages data; do mkdir -p $directory; mount -t tmpfs none $directory; done
for device in null zero full random urandom tty fuse; do touch dev/$device; mount --bind /dev/$device dev/$device; done
ip link set lo up
exec env -i container=test PATH="$PATH" chroot . """ + SYSTEMD + " --system --unit=bare.target --log-target=null\n"


def run(*command, **more):
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False, **more)


def control_groups():
    """Where version 2 is mounted; None if it is not."""
    with open("/proc/self/mounts", encoding="utf-8") as mounts:
        return next((line.split()[1] for line in mounts if line.split()[2] == "cgroup2"), None)


class Machine:
    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="shufflefs-machine-")
        self.group = f"{control_groups()}/{os.path.basename(self.directory)}"
        os.mkdir(self.group)

        def enter_group():
            with open(f"{self.group}/cgroup.procs", "w", encoding="ascii") as group:
                group.write("0")

        self.starter = subprocess.Popen(
            ["unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--fork", "--kill-child",
             "bash", "-c", BOOT, "boot", self.directory],
            preexec_fn=enter_group, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.first = None
        try:
            until(self.has_started, "systemd runs")
        except BaseException:
            self.end()
            raise

    def has_started(self):
        if self.starter.poll() is not None:
            raise RuntimeError(self.starter.stdout.read())
        self.first = run("pgrep", "-P", str(self.starter.pid)).stdout.strip()
        return self.first != "" and self.run("systemctl", "is-system-running").stdout.strip() == "running"

    def run(self, *command):
        return run("nsenter", "-t", self.first, "-m", "-n", "-p", "-C", "-r", *command, stdin=subprocess.DEVNULL)

    def path(self, name):
        return f"/proc/{self.first}/root{name}"

    def end(self):
        self.starter.kill()  # and with it the first process, and with that all others
        self.starter.communicate()
        for group, _, _ in os.walk(self.group, topdown=False):
            until(lambda group=group: not read(f"{group}/cgroup.procs"), "all processes end")
            os.rmdir(group)
        os.rmdir(self.directory)


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def next_version(deb, directory):
    """The same package as 99.0, with another default configuration."""
    tree = f"{directory}/next"
    subprocess.run(["dpkg-deb", "-R", deb, tree], check=True, timeout=60)
    control = read(f"{tree}/DEBIAN/control")
    write(f"{tree}/DEBIAN/control", re.sub(r"(?m)^Version: .*$", "Version: 99.0", control))
    write(f"{tree}{CONFIG}", read(f"{tree}{CONFIG}") + "# new in 99.0\n")
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "-b", tree, f"{directory}/next.deb"], check=True, timeout=60,
                   stdout=subprocess.DEVNULL)
    return f"{directory}/next.deb"


class Package(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="shufflefs-package-")
        cls.addClassCleanup(shutil.rmtree, cls.directory)
        done = run(f"{SOURCE}/scripts/package", "--to", cls.directory)
        if done.returncode != 0:
            raise RuntimeError(done.stdout + done.stderr)
        names = os.listdir(cls.directory)
        cls.deb, cls.tar = (f"{cls.directory}/{next(name for name in names if name.endswith(end))}" for end in (".deb", ".tar.gz"))

    # ---- what is in it ----

    def test_both_have_the_same_tree(self):
        unpacked = f"{self.directory}/unpacked.tar"
        with open(unpacked, "wb") as file:
            subprocess.run(["dpkg-deb", "--fsys-tarfile", self.deb], check=True, timeout=60, stdout=file)
        with tarfile.open(unpacked) as ours, tarfile.open(self.tar) as theirs:
            packaged, members = ours.getmembers(), theirs.getmembers()
        self.assertEqual(sorted(os.path.normpath(m.name) for m in packaged), sorted([".", *(m.name for m in members)]))
        self.assertFalse([m.name for m in members if m.uid or m.gid or m.mode & 0o022])
        files = {m.name for m in members if m.isfile()}
        for name in ("etc/shufflefs/shufflefs.toml", "usr/bin/shufflefs", "usr/lib/systemd/system/shufflefs.service",
                     "usr/share/bash-completion/completions/shufflefs", "usr/share/doc/shufflefs/changelog.gz",
                     "usr/share/doc/shufflefs/copyright", "usr/share/fish/vendor_completions.d/shufflefs.fish",
                     "usr/share/man/man1/shufflefs-serve.1.gz", "usr/share/zsh/vendor-completions/_shufflefs"):
            self.assertIn(name, files)

    def test_it_depends_on_the_libraries_of_this_release_and_not_on_libfuse(self):
        depends = run("dpkg-deb", "-f", self.deb, "Depends").stdout
        self.assertRegex(depends, r"\blibc6 \(>= ")
        self.assertNotIn("fuse", depends)

    def test_the_configuration_shows_the_defaults(self):
        text = read(f"{SOURCE}/package/shufflefs.toml")
        self.assertEqual(tomllib.loads(text), {}, "everything is commented")
        shown = dict(re.findall(r"(?m)^# ([a-z.-]+) = (.*)$", text))
        self.assertTrue({"node", "mount", "data", "members", "secret-file"} <= shown.keys())
        tomllib.loads("\n".join(f"{key} = {value}" for key, value in shown.items()))
        page = read(f"{SOURCE}/docs/configuration.md")
        for key, value in shown.items():
            with self.subTest(key=key):
                about = re.search(rf"(?m)^### `{re.escape(key)}`\n\n(.*)$", page)
                self.assertIsNotNone(about, "there is no such key")
                default = re.search(r"; default `(.*?)`", about[1])
                if default:
                    self.assertEqual(value.strip('"'), default[1])

    # ---- its life ----

    @unittest.skipUnless(os.path.exists(SYSTEMD) and os.access(control_groups() or "", os.W_OK),
                         "no systemd, or no control groups of version 2")
    def test_installed_started_upgraded_removed(self):
        machine = Machine()
        self.addCleanup(machine.end)
        for number, deb in enumerate((self.deb, next_version(self.deb, self.directory))):
            shutil.copy(deb, machine.path(f"/packages/{number}.deb"))
        self.installed(machine)
        self.started(machine)
        with open(machine.path("/shuffle/mnt/local/disk0/kept"), "w+", encoding="ascii") as kept:
            pid = self.works(machine, kept, None)
            self.done(machine, "systemctl", "reload", "shufflefs")
            pid = self.works(machine, kept, pid)
            self.refuses_what_is_wrong(machine)
            self.assertEqual(self.works(machine, kept, None), pid)
            self.upgraded(machine)
            self.works(machine, kept, pid)
        self.started_again(machine)
        self.removed(machine)

    def done(self, machine, *command):
        done = machine.run(*command)
        self.assertEqual(done.returncode, 0, f"{command}: {done.stdout}{done.stderr}\n" +
                         machine.run("journalctl", "--no-pager", "-u", "shufflefs").stdout)
        return done.stdout

    def installed(self, machine):
        said = self.done(machine, "dpkg", "--no-triggers", "-i", "/packages/0.deb")
        self.assertIn(CONFIG, said)
        self.assertIn("systemctl enable --now shufflefs", said)
        self.done(machine, "systemd-analyze", "verify", "--man=no", "/usr/lib/systemd/system/shufflefs.service")
        self.assertEqual(machine.run("systemctl", "is-active", "shufflefs").stdout, "inactive\n")
        self.assertEqual(machine.run("systemctl", "is-enabled", "shufflefs").stdout, "disabled\n")
        # Without a configuration it says what is missing, once.
        self.assertNotEqual(machine.run("systemctl", "start", "shufflefs").returncode, 0)
        self.assertEqual(machine.run("systemctl", "show", "--value", "-p", "ExecMainStatus", "shufflefs").stdout, "2\n")

    def started(self, machine):
        write(machine.path(CONFIG), SETTINGS)
        self.assertIn("no mistakes", self.done(machine, "shufflefs", "serve", "--check", "--config", CONFIG))
        self.done(machine, "systemctl", "enable", "--now", "shufflefs")
        # Neither flag nor variable: the address is that of the configuration. The client's jars are found.
        self.assertIn("n1", self.done(machine, "shufflefs", "status"))
        self.assertEqual(self.done(machine, "ls", "/shuffle/mnt/.shufflefs/client").split(),
                         self.done(machine, "ls", "/usr/share/shufflefs/client").split())

    def works(self, machine, kept, before):
        """Nothing was unmounted, and another process than before is the service's. Returns it."""
        self.assertEqual(machine.run("systemctl", "is-active", "shufflefs").stdout, "active\n")
        pid = machine.run("systemctl", "show", "--value", "-p", "MainPID", "shufflefs").stdout.strip()
        self.assertNotEqual(pid, before)
        self.assertEqual(machine.run("systemctl", "show", "--value", "-p", "NRestarts", "shufflefs").stdout, "0\n")
        self.assertEqual(self.done(machine, "cat", f"/proc/{pid}/comm"), "shufflefs\n")
        kept.write("still open\n")
        kept.flush()
        self.assertEqual(self.done(machine, "tail", "-n", "1", "/shuffle/mnt/local/disk0/kept"), "still open\n")
        return pid

    def refuses_what_is_wrong(self, machine):
        write(machine.path(CONFIG), SETTINGS + 'memory = "1K"\n')
        self.assertEqual(machine.run("shufflefs", "serve", "--check", "--config", CONFIG).returncode, 2)
        self.assertNotEqual(machine.run("systemctl", "reload", "shufflefs").returncode, 0)
        write(machine.path(CONFIG), SETTINGS + "# edited\n")
        self.done(machine, "shufflefs", "serve", "--check", "--config", CONFIG)  # while the node runs

    def upgraded(self, machine):
        self.done(machine, "dpkg", "--no-triggers", "--force-confold", "-i", "/packages/1.deb")
        self.assertIn("# edited", read(machine.path(CONFIG)))
        self.assertIn("# new in 99.0", read(machine.path(CONFIG + ".dpkg-dist")))

    def started_again(self, machine):
        self.done(machine, "systemctl", "kill", "--kill-whom=main", "--signal=KILL", "shufflefs")
        until(lambda: machine.run("systemctl", "show", "-p", "NRestarts", "-p", "ActiveState", "shufflefs").stdout ==
              "NRestarts=1\nActiveState=active\n", "systemd has started it again")
        self.assertEqual(self.done(machine, "tail", "-n", "1", "/shuffle/mnt/local/disk0/kept"), "still open\n")

    def removed(self, machine):
        self.done(machine, "dpkg", "--no-triggers", "-r", "shufflefs")
        self.assertNotIn("/shuffle/mnt", read(f"/proc/{machine.first}/mounts"))
        self.assertFalse(os.path.exists(machine.path("/usr/bin/shufflefs")))
        self.assertIn("# edited", read(machine.path(CONFIG)))
        self.done(machine, "dpkg", "--no-triggers", "-P", "shufflefs")
        self.assertFalse(os.path.exists(machine.path("/etc/shufflefs")))
        self.assertIn("still open", read(machine.path("/data/shufflefs/local/kept")))


if __name__ == "__main__":
    unittest.main()
