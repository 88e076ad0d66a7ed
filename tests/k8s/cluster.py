"""The cluster of KUBECONFIG and the release in it: commands whose output is logged, and waiting with a bound.

begin() comes first; one case at a time.
"""

import json
import os
import subprocess
import time

CHART = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "charts", "spark-standalone")
RELEASE = "spark-sa"
PATIENCE = 600  # seconds for anything
OPTIONS = None
LOG = None


def begin(options, log):
    global OPTIONS, LOG
    OPTIONS, LOG = options, log


class Failed(Exception):
    pass


def say(text):
    print(text, flush=True)
    LOG.write(f"### {text}\n")
    LOG.flush()


def run(*command, check=True, quiet=False, **more):
    """Runs it; its standard output. Everything is in the log."""
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False, **more)
    if not quiet or done.returncode:
        LOG.write(f"$ {' '.join(command)}\n{done.stdout}{done.stderr}# exit code {done.returncode}, "
                  f"{time.monotonic() - started:.1f} s\n\n")
        LOG.flush()
    if check and done.returncode:
        raise Failed(f"{' '.join(command)[:200]}: {done.stderr.strip()[-600:] or done.stdout.strip()[-600:]}")
    return done.stdout


def kubectl(*arguments, **more):
    return run("kubectl", "-n", OPTIONS.namespace, *arguments, **more)


def until(condition, what, patience=PATIENCE, pause=0.5):
    deadline = time.monotonic() + patience
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise Failed(f"waited {patience} s in vain until {what}")
        time.sleep(pause)


def expect(condition, what):
    if not condition:
        raise Failed(f"it is not so that {what}")
    say(f"  {what}")


def pods(app, **more):
    found = json.loads(kubectl("get", "pods", "-l", f"app={app}", "-o", "json", quiet=True, **more))["items"]
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def name(pod):
    return pod["metadata"]["name"]


def is_ready(pod):
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))


def nodes():
    return sorted(n["metadata"]["name"] for n in json.loads(run("kubectl", "get", "nodes", "-o", "json", quiet=True))["items"])


def values(*sets):
    flags = [flag for file in OPTIONS.values for flag in ("--values", file)]
    return flags + [flag for pair in [*OPTIONS.set, *sets] for flag in ("--set", pair)]


def install(*sets, wait=True):
    # Without --reset-values an upgrade that sets nothing would keep what the case before had set.
    run("helm", "upgrade", "--install", RELEASE, OPTIONS.chart, "-n", OPTIONS.namespace, "--create-namespace", "--reset-values",
        *values(*sets))
    if wait:
        settle()


def settle():
    kinds = kubectl("get", "ds,deploy", "-l", f"app.kubernetes.io/instance={RELEASE}", "-o", "name", quiet=True).split()
    for kind in kinds:
        kubectl("rollout", "status", kind, f"--timeout={PATIENCE}s")


def uninstall():
    if RELEASE in run("helm", "list", "-n", OPTIONS.namespace, "-q", "--all", quiet=True).split():
        run("helm", "uninstall", RELEASE, "-n", OPTIONS.namespace, "--wait", f"--timeout={PATIENCE}s")
    until(lambda: not kubectl("get", "pods", "-l", f"app.kubernetes.io/instance={RELEASE}", "-o", "name", quiet=True).strip(),
          "no pod is left")


def chart_values():
    return json.loads(run("helm", "get", "values", RELEASE, "-n", OPTIONS.namespace, "--all", "-o", "json", quiet=True))


def mount():
    return chart_values()["shuffleService"]["hostPath"] + "/fs"


def port():
    return chart_values()["shuffleService"]["port"]


def restarts(pod):
    return sum(status["restartCount"] for status in pod["status"].get("containerStatuses", []))
