"""Tasks that wait for one another or for the test, by files in a directory of this machine. What is made here runs on executors."""

import os
import time

PATIENCE = 240  # seconds


def hang_until_twin(directory, kind, numbers):
    """The first attempt of the numbered tasks hangs until another attempt of it has begun, then both run."""
    def begun(number):
        from pyspark import TaskContext  # pylint: disable=import-outside-toplevel,import-error
        if number not in numbers:
            return
        mark = os.path.join(directory, f"{kind}-{number}")
        if TaskContext.get().attemptNumber() > 0:
            with open(mark, "ab"):
                return
        deadline = time.monotonic() + PATIENCE
        while not os.path.exists(mark):
            if time.monotonic() > deadline:
                raise RuntimeError(f"task {number} has got no twin")
            time.sleep(0.05)
    return begun


def pause(directory, kind):
    """Each task says that it has begun, and waits until resume()."""
    def begun(number):
        with open(os.path.join(directory, f"{kind}-{number}"), "ab"):
            pass
        deadline = time.monotonic() + PATIENCE
        while not os.path.exists(os.path.join(directory, f"{kind}-go")):
            if time.monotonic() > deadline:
                raise RuntimeError("nobody lets the tasks go on")
            time.sleep(0.05)
    return begun


def begun_tasks(directory, kind):
    names = [name.removeprefix(f"{kind}-") for name in os.listdir(directory) if name.startswith(f"{kind}-")]
    return sorted(int(name) for name in names if name != "go")


def resume(directory, kind):
    with open(os.path.join(directory, f"{kind}-go"), "ab"):
        pass
