"""What `cmake --install` puts where, for packagers."""

import os
import re
import subprocess
import tempfile
import unittest

BUILD = os.environ.get("SHUFFLEFS_BUILD", "build")


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.directory.cleanup)
        cls.root = cls.directory.name
        subprocess.run(["cmake", "--install", BUILD, "--prefix", cls.root], check=True, timeout=60,
                       stdout=subprocess.DEVNULL)

    def path(self, *names):
        return os.path.join(self.root, *names)

    def test_the_program_runs(self):
        version = subprocess.run([self.path("bin", "shufflefs"), "version"], check=True, timeout=10,
                                 capture_output=True, text=True).stdout
        self.assertTrue(version.startswith("shufflefs "), version)

    def test_every_file_is_where_packagers_expect_it(self):
        found = {os.path.relpath(os.path.join(directory, name), self.root)
                 for directory, _, names in os.walk(self.root) for name in names}
        pages = {f"share/man/man1/shufflefs-{name}.1" for name in (
            "cluster", "doctor", "drain", "drop", "forget", "log-level", "ls", "serve", "show", "status", "top",
            "verify", "version", "wait")}
        jars = {f"share/shufflefs/client/{name}" for name in os.listdir(f"{BUILD}/client")
                if name.endswith(".jar")} if os.path.isdir(f"{BUILD}/client") else set()
        self.assertEqual(found, pages | jars | {
            "bin/shufflefs", "share/man/man1/shufflefs.1", "share/bash-completion/completions/shufflefs",
            "share/zsh/vendor-completions/_shufflefs", "share/fish/vendor_completions.d/shufflefs.fish",
            "share/doc/shufflefs/LICENSE", "lib/systemd/system/shufflefs.service"})

    def test_the_unit_starts_the_installed_program(self):
        with open(self.path("lib/systemd/system/shufflefs.service"), encoding="utf-8") as file:
            unit = file.read()
        program = re.escape(self.path("bin", "shufflefs"))
        self.assertRegex(unit, rf"(?m)^ExecStart={program} serve --config /etc/shufflefs/shufflefs.toml$")
        self.assertNotIn("@bindir", unit)

    def test_completions_for_other_shells_ask_the_one_for_bash(self):
        for name in ("share/zsh/vendor-completions/_shufflefs", "share/fish/vendor_completions.d/shufflefs.fish"):
            with self.subTest(name=name), open(self.path(name), encoding="utf-8") as file:
                script = re.search(r"bash -c '([^']*)'", file.read())[1]
                paths = {**os.environ, "PATH": self.path("bin") + ":" + os.environ["PATH"]}
                for words, offered in ((["sta"], ["status"]), (["cluster", ""], ["up", "status", "down"]),
                                       (["status", "--ht"], ["--http"])):
                    done = subprocess.run(["bash", "-c", script, "bash", "shufflefs", *words], check=True, timeout=60,
                                          capture_output=True, text=True, env=paths)
                    self.assertEqual(done.stdout.split(), offered)

    def test_manual_pages_are_read_by_man(self):
        with open(self.path("share/man/man1/shufflefs-serve.1"), encoding="utf-8") as file:
            page = file.read()
        for part in (".TH SHUFFLEFS", ".SH SYNOPSIS", ".SH OPTIONS", r"\-\-peer\-listen"):
            self.assertIn(part, page)


if __name__ == "__main__":
    unittest.main()
