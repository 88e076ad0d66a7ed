"""A network of one's own: nothing but a loopback device, and all ports free.

What is started afterwards is in it too. Services of another run on the same machine, which want the same addresses
and the same port 7337, are not seen and not disturbed. It goes with the last process in it. Needs root.
"""

import ctypes
import fcntl
import os
import socket
import struct

CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1
INTERFACE = struct.Struct("16sH14x")  # struct ifreq, as far as its flags


def enter_private_network():
    """Moves this process, and what it starts from now on, into a new network."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"a network of one's own: {os.strerror(error)} (this needs root)")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        answer = fcntl.ioctl(control, SIOCGIFFLAGS, INTERFACE.pack(b"lo", 0))
        flags = INTERFACE.unpack(answer)[1]
        fcntl.ioctl(control, SIOCSIFFLAGS, INTERFACE.pack(b"lo", flags | IFF_UP))
