"""Spark's authentication and encryption, between the clients of a real Spark 3.5.7 and our server's half: alone
(auth_echo_server) and in the shuffle service of a real daemon."""

import hashlib
import json
import os
import pathlib
import random
import subprocess
import tempfile
import unittest

from ess_services import DaemonService
from spark_files import Executor
from standalone import spark_python

HERE = pathlib.Path(__file__).resolve().parent
SERVER = pathlib.Path(os.environ["SHUFFLEFS_BUILD"]) / "tests" / "net" / "auth_echo_server"
SECRET = "a cluster secret"
# Around the pieces of 32 KiB and 64 KiB, and one of several pieces.
SIZES = [1, 17, 4096, 32751, 65536, 65537, 300_000, 3_000_000, 5]
CRYPTO = {"spark.network.crypto.enabled": "true"}
ENCRYPTED_SASL = {"spark.authenticate.enableSaslEncryption": "true"}
GCM = {**CRYPTO, "spark.network.crypto.cipher": "AES/GCM/NoPadding"}
VERSION_2 = {"spark.network.crypto.authEngineVersion": "2"}


def secret_file(directory):
    secret = pathlib.Path(directory, "secret")
    secret.write_text(SECRET + "\n", encoding="utf-8")
    secret.chmod(0o600)
    return secret


class EchoServer:
    """Until the end of the with block; `words` are its policy."""

    def __init__(self, directory, *words):
        secret = secret_file(directory)
        self._process = subprocess.Popen([SERVER, secret, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self._process.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()


def case(settings, sizes=None, secret=SECRET, auth=True, fetch=None):
    common = {"secret": secret, "auth": auth, "settings": settings}
    return common | ({"fetch": fetch} if fetch else {"sizes": SIZES if sizes is None else sizes})


class Auth(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.python = spark_python()

    def ask(self, host, port, cases):
        done = subprocess.run([self.python, HERE / "auth_client.py", host, str(port)], input=json.dumps(cases),
                              stdout=subprocess.PIPE, text=True, check=False, timeout=300)
        self.assertEqual(done.returncode, 0)
        return json.loads(done.stdout.splitlines()[-1])

    def results(self, cases, *words):
        with tempfile.TemporaryDirectory() as directory, EchoServer(directory, *words) as server:
            return self.ask("127.0.0.1", server.port, cases)

    def test_who_has_the_secret_gets_in(self):
        all_sizes = f"OK {sum(SIZES)}"
        # AES/GCM: Spark 3.5.7 itself takes only one message for each connection.
        cases = [case({}), case(CRYPTO), case({**CRYPTO, **VERSION_2}), case(GCM, [70_000]),
                 case({**GCM, **VERSION_2}, [1])]
        self.assertEqual(self.results(cases), [all_sizes] * 3 + ["OK 70000", "OK 1"])

    def test_who_has_not_is_refused(self):
        sasl, engine, none = self.results([case({}, secret="wrong"), case(CRYPTO, secret="wrong"), case({}, auth=False)])
        self.assertIn("Mismatched response", sasl)
        self.assertTrue(engine.startswith("REFUSED"), engine)
        self.assertIn("maybe your client does not have SASL enabled?", none)

    def test_who_wants_encryption_by_sasl_is_told_what_to_use_instead(self):
        sealed, both = self.results([case(ENCRYPTED_SASL), case({**CRYPTO, **ENCRYPTED_SASL}, [9])])
        self.assertTrue(sealed.startswith("REFUSED"), sealed)
        self.assertIn("set spark.network.crypto.enabled=true (AES) instead of spark.authenticate.enableSaslEncryption", sealed)
        self.assertEqual(both, "OK 9")

    def test_a_server_without_the_engine_is_reached_by_sasl(self):
        self.assertEqual(self.results([case(CRYPTO, [9])], "no-engine"), ["OK 9"])

    def test_a_server_without_sasl_refuses_it(self):
        sasl, engine = self.results([case({}), case(CRYPTO, [9])], "no-sasl")
        self.assertIn("Unknown challenge message.", sasl)
        self.assertEqual(engine, "OK 9")

    def test_a_daemon_gives_blocks_to_who_has_the_secret(self):
        source = random.Random(11)
        blocks = {(number, reduce): source.randbytes(size) for number in (5, 6)
                  for reduce, size in enumerate((1, 5000, 65536, 2_000_000))}
        with tempfile.TemporaryDirectory() as directory, \
                DaemonService("--spark-secret-file", str(secret_file(directory)), address="127.0.0.45") as service:
            executor = Executor(service.roots("app-20261121000000-0001", 2))
            for number in (5, 6):
                executor.commit(3, number, [blocks[number, reduce] for reduce in range(4)])
            fetch = {"directories": executor.local_dirs, "shuffle": 3, "maps": [5, 6], "reduces": [0, 1, 2, 3]}
            ways = [{}, CRYPTO, {**CRYPTO, **VERSION_2}]
            answers = self.ask(*service.address, [
                *(case(way, fetch=fetch) for way in ways), case({}, fetch=fetch, secret="wrong"),
                case({}, fetch=fetch, auth=False), case(ENCRYPTED_SASL, fetch=fetch),
                case(CRYPTO, fetch={**fetch, "app": "app-20261121000000-0002"})])
        for way, answer in zip(ways, answers):
            self.assertEqual(answer, [hashlib.sha256(blocks[block]).hexdigest() for block in sorted(blocks)], way)
        wrong, none, sealed, other = answers[len(ways):]
        self.assertIn("Mismatched response", wrong)
        self.assertIn("maybe your client does not have SASL enabled?", none)
        self.assertIn("set spark.network.crypto.enabled=true", sealed)
        self.assertIn("Client for app-20261121000000-0001 not authorized for application app-20261121000000-0002", str(other))


if __name__ == "__main__":
    unittest.main()
