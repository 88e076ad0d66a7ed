"""How the program was built: what an exploit would have to get around. Reads the ELF file itself."""

import json
import os
import struct
import subprocess
import unittest

PROGRAM = os.path.join(os.environ.get("SHUFFLEFS_BUILD", "build"), "shufflefs")
PT_DYNAMIC, PT_GNU_STACK, PT_GNU_RELRO = 2, 0x6474E551, 0x6474E552
DT_FLAGS, DT_FLAGS_1, DT_TEXTREL, DT_RPATH, DT_RUNPATH = 30, 0x6FFFFFFB, 22, 15, 29
DF_BIND_NOW, DF_1_NOW, DF_1_PIE, ET_DYN = 8, 1, 0x08000000, 3


class Elf:
    def __init__(self, path):
        with open(path, "rb") as file:
            self.bytes = file.read()
        self.type, = struct.unpack_from("<H", self.bytes, 16)
        offset, = struct.unpack_from("<Q", self.bytes, 32)
        size, count = struct.unpack_from("<HH", self.bytes, 54)
        self.segments = {}
        for number in range(count):
            kind, flags, at, _, _, length = struct.unpack_from("<IIQQQQ", self.bytes, offset + number * size)
            self.segments[kind] = (flags, at, length)
        _, at, length = self.segments[PT_DYNAMIC]
        self.dynamic = dict(struct.iter_unpack("<QQ", self.bytes[at:at + length]))


class Hardening(unittest.TestCase):
    def setUp(self):
        self.elf = Elf(PROGRAM)

    def test_position_independent(self):
        self.assertEqual(self.elf.type, ET_DYN)
        self.assertTrue(self.elf.dynamic[DT_FLAGS_1] & DF_1_PIE)
        self.assertNotIn(DT_TEXTREL, self.elf.dynamic)

    def test_relocations_are_read_only_and_bound_at_the_start(self):
        self.assertIn(PT_GNU_RELRO, self.elf.segments)
        self.assertTrue(self.elf.dynamic.get(DT_FLAGS, 0) & DF_BIND_NOW or self.elf.dynamic[DT_FLAGS_1] & DF_1_NOW)

    def test_the_stack_is_not_executable(self):
        self.assertEqual(self.elf.segments[PT_GNU_STACK][0] & 1, 0)

    def test_libraries_come_from_the_system(self):
        self.assertNotIn(DT_RPATH, self.elf.dynamic)
        self.assertNotIn(DT_RUNPATH, self.elf.dynamic)

    def test_stack_protector_and_fortify(self):
        if os.environ.get("SHUFFLEFS_HARDENED") == "OFF":
            self.skipTest("this build is for a sanitizer or the debugger")
        names = subprocess.run(["nm", "-D", "--undefined-only", PROGRAM], capture_output=True, text=True, check=True).stdout
        self.assertIn("__stack_chk_fail", names)
        # Which checks of FORTIFY are left in the program is up to the compiler: it may see that a call is in bounds.
        with open(os.path.join(os.environ.get("SHUFFLEFS_BUILD", "build"), "compile_commands.json"),
                  encoding="utf-8") as file:
            ours = [entry["command"] for entry in json.load(file)
                    if ("/net/" in entry["file"] or "/fs/" in entry["file"]) and "/tests/" not in entry["file"]]
        self.assertTrue(ours)
        self.assertFalse([command for command in ours if "-D_FORTIFY_SOURCE=3" not in command])

    def test_control_flow_integrity(self):
        with open(os.path.join(os.environ.get("SHUFFLEFS_BUILD", "build"), "compile_commands.json"), encoding="utf-8") as file:
            if "-fsanitize=cfi-" not in file.read():
                self.skipTest("this build is without control-flow integrity")
        # Functions whose address is taken have a place in a jump table, by which a pointer is checked before it is called.
        names = subprocess.run(["nm", PROGRAM], capture_output=True, text=True, check=True).stdout
        self.assertIn(".cfi_jt", names)


if __name__ == "__main__":
    unittest.main()
