"""Runs the commands of README.md and docs/quickstart.md, as a reader pastes them, against a real cluster.

Each block of sh runs in a directory of its own, unless it names $PWD: then in the repository. A block of text that follows
says what must be seen; numbers may differ. Blocks below a comment "the test skips this block: REASON" are skipped.
Everything is in namespaces of its own (processes, mounts, network), so no other cluster is seen. Needs root.
The numbers that the code decides are compared with it.
"""

import os
import re
import subprocess
import tempfile
import unittest

from doc_figures import wrong_figures
from private_network import enter_private_network

ROOT = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
BUILD = os.path.realpath(os.environ.get("SHUFFLEFS_BUILD", os.path.join(ROOT, "build")))
BLOCK = re.compile(r"^(<!-- the test skips this block: (?P<reason>.*?) -->\n)?```(?P<kind>sh|text)\n(?P<text>.*?)^```$",
                   re.MULTILINE | re.DOTALL)
MARK = "==== block"


def blocks_of(page):
    with open(os.path.join(ROOT, page), encoding="utf-8") as file:
        return [match.groupdict() for match in BLOCK.finditer(file.read())]


def expected(line):
    """What matches the line, whatever its numbers are."""
    parts = re.split(r"[\d.]*\d", line)
    return re.compile(r"[\d.]+".join(map(re.escape, parts)))


def script_of(blocks, scratch):
    lines = ["set -e -o pipefail", f"mount --bind {scratch} /var/tmp"]
    if BUILD != os.path.join(ROOT, "build"):
        lines.append(f"mount --bind {BUILD} {ROOT}/build")
    for number, block in enumerate(blocks):
        if block["kind"] == "sh" and not block["reason"]:
            lines += [f"cd {ROOT if '$PWD' in block['text'] else '/var/tmp'}", f"echo '{MARK} {number}'", block["text"]]
    return "\n".join([*lines, f"echo '{MARK} end'"]) + "\n"


def run(script):
    """What each block printed, by its number."""
    # From a file, not by -c: pgrep -f must not find the commands themselves.
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as file:
        file.write(script)
        file.flush()
        done = subprocess.run(["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "bash", file.name],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=500, check=False)
    parts = re.split(rf"^{MARK} (\w+)\n", done.stdout, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2])), done.stdout


class Commands(unittest.TestCase):
    def check(self, page, least):
        blocks = blocks_of(page)
        with tempfile.TemporaryDirectory() as scratch:
            printed, everything = run(script_of(blocks, scratch))
            left = os.listdir(scratch)
        self.assertIn("end", printed, f"{page}: a command failed:\n{everything}")
        self.assertEqual(left, [], f"{page}: nothing is left behind")
        self.assertGreaterEqual(len(printed) - 1, least, "blocks that ran")
        seen = ""
        for number, block in enumerate(blocks):
            if block["reason"]:
                print(f"{page}: skipped, {block['reason']}: {block['text'].splitlines()[0]}")
            elif block["kind"] == "sh":
                seen = printed[str(number)]
            for line in block["text"].splitlines() if block["kind"] == "text" else []:
                self.assertRegex(seen, expected(line), f"{page}: what is printed differs")

    def test_readme(self):
        self.check("README.md", 4)

    def test_quickstart(self):
        self.check("docs/quickstart.md", 6)


class Figures(unittest.TestCase):
    def test_they_are_those_of_the_code(self):
        self.assertEqual(wrong_figures(), [])


if __name__ == "__main__":
    enter_private_network()
    unittest.main()
