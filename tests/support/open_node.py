"""A node that other machines could reach, with a token: in a private network, so that it listens on all addresses
and still nobody reaches it. Import it before anything else opens a socket: it moves the whole process there.
"""

import os
import sys

from private_network import enter_private_network

os.environ["SHUFFLEFS_TEST_ADDRESS"] = "0.0.0.0"
sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "mount"))
enter_private_network()

from one_node import Daemon  # noqa: E402  pylint: disable=wrong-import-position,unused-import

BASE = "http://127.0.0.1:7340"
