"""A node whose HTTP address other machines reach: nothing but health and the page's files without the token."""

import http.client
import os
import subprocess
import tempfile
import unittest

from open_node import BASE, Daemon  # first: it changes the network
from openapi_check import ask, description
from shuffle_cluster import PROGRAM

TOKEN = "a token for tests"


class BeyondLoopback(unittest.TestCase):
    def test_nothing_without_the_token(self):
        described = description()
        with tempfile.NamedTemporaryFile("w", suffix=".token") as file:
            file.write(TOKEN + "\n")
            file.flush()
            node = Daemon("--http-token-file", file.name)
            try:
                self.check(described)
                self.check_commands(file.name)
            finally:
                node.stop()

    def check(self, described):
        good = {"Authorization": f"Bearer {TOKEN}"}
        for path, method, operation in described.operations():
            target = path.replace("{app}", "app-1").replace("{shuffle}", "0")
            answer = ask(BASE, target, method.upper())
            if operation.get("security") == [{}]:
                self.assertEqual(answer.status, 200, path)
            else:
                self.assertEqual((answer.status, answer.headers["WWW-Authenticate"]), (401, "Bearer"), path)
                self.assertNotEqual(ask(BASE, target, method.upper(), good).status, 401, path)
        self.assertEqual(ask(BASE, "/nothing").status, 401, "not even what there is")
        self.assertEqual(ask(BASE, "/metrics", headers={"Authorization": "Bearer x"}).status, 401)
        # Also for bytes that are hardly HTTP.
        connection = http.client.HTTPConnection("127.0.0.1", 7340, timeout=60)
        connection.request("GET", "//api/v1/cluster")
        self.assertEqual(connection.getresponse().status, 401)
        connection.close()

    def check_commands(self, token_file):
        command = [PROGRAM, "status", "--http", "127.0.0.1:7340"]
        refused = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("SHUFFLEFS_HTTP_TOKEN_FILE", refused.stderr)
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False,
                              env={**os.environ, "SHUFFLEFS_HTTP_TOKEN_FILE": token_file})
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_it_does_not_start_without_a_token(self):
        with self.assertRaises(RuntimeError) as caught:
            Daemon()
        self.assertIn("http-token-file", str(caught.exception))


if __name__ == "__main__":
    unittest.main()
