"""Spark's own client halves of authentication and encryption. Run by test_auth.py with the Python that has Spark:

  auth_client.py HOST PORT < cases.json

A case is {"secret", "auth", "settings"}, whether a bootstrap is made and the transport's settings, and one of
  "sizes": sends RPCs of these sizes to a server that echoes them: "OK <bytes>" or "DIFFERENT at <size>";
  "fetch": {"directories", "shuffle", "maps", "reduces", "app" (optional)}: registers an executor with a shuffle service and
           fetches these partitions of these maps, for that application: the SHA-256 of each, or "FAILED <reason>".
Answers with a JSON list; a case that is refused has the answer "REFUSED <reason>". One JVM does them all, and nothing is
compiled: a Java runtime is enough.
"""

import glob
import hashlib
import json
import os
import queue
import random
import sys

import py4j.protocol
import pyspark
from py4j.java_collections import ListConverter, MapConverter
from py4j.java_gateway import CallbackServerParameters, GatewayParameters, JavaGateway, launch_gateway

APP = "app-20261121000000-0001"
TIMEOUT_MS = 30000


def start_jvm():
    jars = os.path.join(os.path.dirname(pyspark.__file__), "jars")
    log4j = os.path.join(os.path.dirname(os.path.abspath(__file__)), "log4j2.properties")
    port, token = launch_gateway(
        jarpath=glob.glob(os.path.join(jars, "py4j-*.jar"))[0], classpath=os.path.join(jars, "*"), die_on_exit=True,
        javaopts=["-Xmx512m", f"-Dlog4j2.configurationFile={log4j}"], enable_auth=True)
    gateway = JavaGateway(gateway_parameters=GatewayParameters(port=port, auth_token=token),
                          callback_server_parameters=CallbackServerParameters(port=0))
    server = gateway.java_gateway_server
    server.resetCallbackClient(server.getCallbackClient().getAddress(), gateway.get_callback_server().get_listening_port())
    return gateway


class Chunks:
    """Spark's ChunkReceivedCallback: what came, as (chunk, bytes or a reason)."""

    def __init__(self, gateway):
        self.gateway = gateway
        self.received = queue.Queue()

    def onSuccess(self, chunk, buffer):  # noqa: N802  pylint: disable=invalid-name
        utils = self.gateway.jvm.org.apache.spark.network.util.JavaUtils
        self.received.put((chunk, hashlib.sha256(utils.bufferToArray(buffer.nioByteBuffer())).hexdigest()))

    def onFailure(self, chunk, error):  # noqa: N802  pylint: disable=invalid-name
        self.received.put((chunk, f"FAILED {error.getMessage()}".splitlines()[0]))

    class Java:
        implements = ["org.apache.spark.network.client.ChunkReceivedCallback"]


def array_of(gateway, kind, values):
    array = gateway.new_array(kind, len(values))
    for index, value in enumerate(values):
        array[index] = value
    return array


def echo(gateway, client, sizes):
    source = random.Random(7)
    for size in sizes:
        sent = source.randbytes(size)
        received = client.sendRpcSync(gateway.jvm.java.nio.ByteBuffer.wrap(sent), TIMEOUT_MS)
        if not received.equals(gateway.jvm.java.nio.ByteBuffer.wrap(sent)):
            return f"DIFFERENT at {size}"
    return f"OK {sum(sizes)}"


def fetch(gateway, client, wanted):
    protocol = gateway.jvm.org.apache.spark.network.shuffle.protocol
    directories = array_of(gateway, gateway.jvm.java.lang.String, wanted["directories"])
    info = protocol.ExecutorShuffleInfo(directories, 64, "org.apache.spark.shuffle.sort.SortShuffleManager")
    client.sendRpcSync(protocol.RegisterExecutor(APP, "0", info).toByteBuffer(), TIMEOUT_MS)
    maps = array_of(gateway, gateway.jvm.long, wanted["maps"])
    reduces = gateway.new_array(gateway.jvm.int, len(wanted["maps"]), len(wanted["reduces"]))
    for index in range(len(wanted["maps"])):
        for position, reduce in enumerate(wanted["reduces"]):
            reduces[index][position] = reduce
    message = protocol.FetchShuffleBlocks(wanted.get("app", APP), "0", wanted["shuffle"], maps, reduces, False)
    answer = client.sendRpcSync(message.toByteBuffer(), TIMEOUT_MS)
    decoder = gateway.jvm.java.lang.Class.forName(
        "org.apache.spark.network.shuffle.protocol.BlockTransferMessage$Decoder").getMethods()
    handle = next(one for one in decoder if one.getName() == "fromByteBuffer").invoke(
        None, array_of(gateway, gateway.jvm.java.lang.Object, [answer]))
    stream = int(handle.toString().split("streamId=")[1].split(",")[0].rstrip("]"))
    chunks = Chunks(gateway)
    count = len(wanted["maps"]) * len(wanted["reduces"])
    for index in range(count):
        client.fetchChunk(stream, index, chunks)
    return [text for _, text in sorted(chunks.received.get(timeout=TIMEOUT_MS / 1000) for _ in range(count))]


def run(gateway, host, port, case):
    network = gateway.jvm.org.apache.spark.network
    settings = MapConverter().convert(case["settings"], gateway._gateway_client)
    conf = network.util.TransportConf("shuffle", network.util.MapConfigProvider(settings))
    secrets = network.sasl.ShuffleSecretManager()
    secrets.registerApp(APP, case["secret"])
    bootstraps = [network.crypto.AuthClientBootstrap(conf, APP, secrets)] if case["auth"] else []
    context = network.TransportContext(conf, network.server.NoOpRpcHandler())
    factory = context.createClientFactory(ListConverter().convert(bootstraps, gateway._gateway_client))
    try:
        client = factory.createClient(host, port)
        return echo(gateway, client, case["sizes"]) if "sizes" in case else fetch(gateway, client, case["fetch"])
    except py4j.protocol.Py4JJavaError as error:
        reason = error.java_exception
        while reason.getCause() is not None:
            reason = reason.getCause()
        return f"REFUSED {reason.toString()}".splitlines()[0]
    finally:
        factory.close()
        context.close()


def main():
    gateway = start_jvm()
    try:
        results = [run(gateway, sys.argv[1], int(sys.argv[2]), case) for case in json.load(sys.stdin)]
    finally:
        gateway.shutdown()
    print(json.dumps(results))


if __name__ == "__main__":
    main()
