"""One run of scripts/bench spark: one system, one job (or the queries), on fresh nodes. In a process of its own, of the Python that has
Spark, and in a network of its own. The argument is the options as JSON; the row goes to the file "answer".
"""

import collections
import contextlib
import json
import os
import signal
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, f"{HERE}/../spark", f"{HERE}/../support"]

# pylint: disable=wrong-import-position
from client_app import ClientApp  # noqa: E402
from private_network import enter_private_network  # noqa: E402
from shuffle_cluster import until  # noqa: E402
from record_job import RecordJob  # noqa: E402
from separate_networks import HUB, Networks, SeparateCluster  # noqa: E402
from spark_nodes import (Connections, Disks, JvmServices, executor_cpu_seconds, executor_memory, reads_between,  # noqa: E402
                         service_costs, service_heap_mb)
from spark_queries import QUERIES, ask, make_tables  # noqa: E402
from standalone import spark_home  # noqa: E402

PEER_PORT = 7338
READS_MERGED = ("client", "relay")
EXECUTOR_MIB = 1024
CONF = {
    "spark.executor.memory": f"{EXECUTOR_MIB}m",
    "spark.driver.memory": "1g",
    "spark.executor.extraJavaOptions": "-Djava.net.preferIPv4Stack=true",
    "spark.driver.extraJavaOptions": "-Djava.net.preferIPv4Stack=true",
    "spark.executor.metrics.pollingInterval": "500ms",
    "spark.executor.heartbeatInterval": "2s",
    "spark.network.timeout": "600s",
    "spark.shuffle.compress": "false",
    "spark.shuffle.spill.compress": "false",
    "spark.shuffle.sort.bypassMergeThreshold": "1",
    # With four nodes each has a fifth of every reducer's input, which is so in no real cluster.
    "spark.shuffle.reduceLocality.enabled": "false",
    "spark.sql.autoBroadcastJoinThreshold": "-1",
}


def start(words, stack, disks):
    """The application on its nodes. `disks` are made before the services and go after them."""
    system = words["system"]
    services, apart = None, {}
    # Where nobody reads merged partitions nothing is pushed.
    flags = (*(() if system in READS_MERGED else ("--push.enabled", "false")), *words["flag"])
    if system == "jvm":
        def services():
            return JvmServices(words, disks.prepare, spark_home(sys.executable))
    if system == "relay":
        networks = stack.enter_context(Networks(words["nodes"]))
        apart = {"master": HUB, "prefix": networks.prefix}
        def services():
            return SeparateCluster(networks, "--spark-relay", "redirect", *flags, prepare=disks.prepare)
    conf = CONF | ({} if system == "client" else {"spark.locality.wait": "0s"})
    conf |= {"spark.sql.adaptive.enabled": "true", "spark.sql.shuffle.partitions": str(words["reducers"])} if words["queries"] else {}
    conf |= dict(setting.split("=", 1) for setting in words["conf"])
    return stack.enter_context(ClientApp(sys.executable, nodes=words["nodes"], flags=flags, conf=conf, client=system == "client",
                                         memory_mib=EXECUTOR_MIB, prepare=disks.prepare, services=services, **apart))


def wait_merged(app, words, shuffle, maps):
    if words["system"] in READS_MERGED:
        until(lambda: shuffle in app.shuffles(), "the shuffle is known")
        app.wait_merged(shuffle, maps)


def relayed(app, system):
    """Merged bytes that the relays have given so far. Spark does not count them as such."""
    found = app.cluster.relayed() if system == "relay" else {}
    return sum(count for source, count in found.items() if source != "origin")


def probe_seconds():
    """How long this machine's processor takes now for a fixed piece of work: the emulated disks keep their speed when it is slow, so only runs
    with about the same are to be compared."""
    begin = time.process_time()
    sum(number * number for number in range(5_000_000))
    return time.process_time() - begin


def spent(app):
    return service_costs(app)[0], executor_cpu_seconds(app)


def run_job(app, disks, words):
    context = app.session.sparkContext
    nodes = words["nodes"]
    warm = RecordJob(context, 2 * nodes, 2 * nodes, 25000, seed=1)
    warm.run_maps()
    warm.check()
    job = RecordJob(context, words["maps"], words["reducers"], words["block_bytes"], cheap=True)
    disks.throttle(True)
    disks.settle()
    before, written, load = spent(app), disks.written_bytes(), os.getloadavg()[0]
    begin = time.monotonic()
    job.run_maps()
    map_s = time.monotonic() - begin
    begin = time.monotonic()
    wait_merged(app, words, job.shuffle(), words["maps"])
    flush_s = time.monotonic() - begin + disks.settle()
    reads = disks.reads()
    between, merged_before = spent(app), relayed(app, words["system"])
    with disks.forgetting(), Connections() as clients, Connections((PEER_PORT,)) as peers:
        begin = time.monotonic()
        _, metrics, stages = app.reading(job.check)
        reduce_s = time.monotonic() - begin
    reads = reads_between(reads, disks.reads())
    after = spent(app)
    places = sum((app.localities(stage) for stage in stages.values()), collections.Counter())
    wrote = job.maps * job.partitions * job.count * job.record_bytes
    return {"block_bytes": words["block_bytes"], "maps": words["maps"], "reducers": words["reducers"], "load": round(load, 1),
            "map_s": map_s, "flush_s": flush_s, "reduce_s": reduce_s, "total_s": map_s + flush_s + reduce_s, **reads,
            "data_mb": wrote / 1e6, "written_mb": (disks.written_bytes() - written) / 1e6,
            "shuffle_mb": metrics["shuffleReadBytes"] / 1e6,
            "merged_percent": 100 * (metrics["shuffleMergedLocalBytesRead"] + relayed(app, words["system"]) - merged_before) / max(1, metrics["shuffleReadBytes"]),
            "node_local_percent": 100 * places["NODE_LOCAL"] / max(1, places.total()), "fallbacks": metrics["shuffleMergedFetchFallbackCount"], "connections": clients.most, "peer_connections": peers.most,
            "services_map_cpu_s": between[0] - before[0], "services_reduce_cpu_s": after[0] - between[0],
            "services_cpu_s": after[0] - before[0], "executors_cpu_s": after[1] - before[1], **memory(app)}


def memory(app):
    heap, off_heap, resident = executor_memory(app)
    row = {"services_mb": service_costs(app)[1], "executor_heap_mb": heap, "executor_off_heap_mb": off_heap, "executor_mb": resident}
    found = service_heap_mb(app)
    return row | ({"services_heap_used_mb": found[0], "services_heap_mb": found[1]} if found else {})


def run_queries(app, disks, words):
    make_tables(app.session, words["rows"], words["maps"])
    RecordJob(app.session.sparkContext, 2 * words["nodes"], 2 * words["nodes"], 25000, seed=1).check()
    disks.throttle(True)
    disks.settle()
    rows, answers = [], {}
    with disks.forgetting():
        for name, (kind, _) in QUERIES.items():
            before, reads = spent(app), disks.reads()
            begin = time.monotonic()
            answers[name], metrics, stages = app.reading(lambda asked=name: ask(app.session, asked))
            seconds = time.monotonic() - begin
            reads = reads_between(reads, disks.reads())
            after = spent(app)
            rows.append({"query": name, "kind": kind, "seconds": seconds, "stages": [stage_row(stages[one]) for one in sorted(stages)],
                         "shuffle_mb": metrics["shuffleReadBytes"] / 1e6, **reads,
                         "merged_percent": 100 * metrics["shuffleMergedLocalBytesRead"] / max(1, metrics["shuffleReadBytes"]),
                         "services_cpu_s": after[0] - before[0], "executors_cpu_s": after[1] - before[1]})
            disks.settle()
    return {"rows": words["rows"], "queries": rows, "answers": answers, **memory(app)}


def stage_row(stage):
    took = stage.completionTime().get().getTime() - stage.submissionTime().get().getTime()
    return {"stage": stage.stageId(), "tasks": stage.numTasks(), "seconds": took / 1000, "read_mb": stage.shuffleReadBytes() / 1e6,
            "write_mb": stage.shuffleWriteBytes() / 1e6, "cpu_s": stage.executorCpuTime() / 1e9}


def rounded(value):
    if isinstance(value, float):
        return round(value, 1)
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    return [rounded(one) for one in value] if isinstance(value, list) else value


def main():
    words = json.loads(sys.argv[1])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was made is taken away on the way out
    enter_private_network()
    with contextlib.ExitStack() as stack:
        disks = Disks(words, stack)
        app = start(words, stack, disks)
        stack.callback(disks.throttle, False)
        probe_ms = 1000 * probe_seconds()
        row = (run_queries if words["queries"] else run_job)(app, disks, words) | {"probe_ms": probe_ms}
    with open(words["answer"], "w", encoding="utf-8") as file:
        json.dump({"system": words["system"], **rounded(row)}, file)


if __name__ == "__main__":
    main()
