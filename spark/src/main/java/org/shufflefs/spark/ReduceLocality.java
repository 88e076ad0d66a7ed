package org.shufflefs.spark;

import java.io.IOException;
import java.io.Serializable;
import java.lang.reflect.Field;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.spark.MapOutputTracker;
import org.apache.spark.MapOutputTrackerMaster;
import org.apache.spark.ShuffleDependency;
import org.apache.spark.SparkConf;
import org.apache.spark.SparkContext;
import org.apache.spark.SparkEnv;
import org.apache.spark.rpc.RpcEndpoint;
import org.apache.spark.rpc.RpcEndpointRef;
import org.apache.spark.rpc.RpcEnv;
import org.apache.spark.scheduler.MergeStatus;
import org.apache.spark.scheduler.SparkListener;
import org.apache.spark.scheduler.SparkListenerExecutorRemoved;
import org.apache.spark.storage.BlockManagerId;
import org.apache.spark.util.RpcUtils;
import org.roaringbitmap.RoaringBitmap;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import scala.Option;
import scala.PartialFunction;
import scala.runtime.AbstractPartialFunction;
import scala.runtime.BoxedUnit;

/**
 * Makes Spark's scheduler prefer the owner of a partition for its reduce task.
 *
 * <p>The scheduler has no interface for that, but it asks its tracker where a partition was merged,
 * if push-based shuffle is on: so the tracker is told that it is (one private field; the executors
 * and the rest of the driver go by their settings), and that every partition was merged at its
 * owner. The owners come from the mount's placement. Which hosts are on which node the executors
 * say themselves, once, as a node's name need not be what Spark calls its host.
 *
 * <p>Any thread. Whatever fails here costs locality only, and is said once.
 */
final class ReduceLocality {
  private static final Logger LOG = LoggerFactory.getLogger(ReduceLocality.class);
  private static final String ENDPOINT = "shufflefs-nodes";

  /** From an executor to the driver. */
  static final class Hello implements Serializable {
    private static final long serialVersionUID = 1;
    final String executor;
    final String host;
    final String node;

    Hello(String executor, String host, String node) {
      this.executor = executor;
      this.host = host;
      this.node = node;
    }
  }

  private final SparkConf conf;
  private final AtomicBoolean told = new AtomicBoolean();
  private final AtomicBoolean failed = new AtomicBoolean();
  private final Map<String, Hello> executors = new ConcurrentHashMap<>(); // by id; driver only
  private final Map<String, String> lastHosts = new ConcurrentHashMap<>(); // by node; driver only
  private RpcEndpointRef endpoint; // driver only
  private boolean pretends; // driver only

  ReduceLocality(SparkConf conf) {
    this.conf = conf;
  }

  /**
   * A reduce task reads well on any node, so it does not wait long for its owner; what the user has
   * set stays.
   */
  static void shortenWaits(SparkConf conf) {
    if (!conf.contains("spark.locality.wait") && !conf.contains("spark.locality.wait.node")) {
      conf.set("spark.locality.wait.node", "500ms");
    }
  }

  // ---- on executors

  void tellDriver(NodeMount mount) {
    if (!told.compareAndSet(false, true)) {
      return;
    }
    SparkEnv env = SparkEnv.get();
    Hello hello =
        new Hello(env.executorId(), env.blockManager().blockManagerId().host(), mount.node());
    Thread teller =
        new Thread(
            () -> {
              try {
                RpcUtils.makeDriverRef(ENDPOINT, conf, env.rpcEnv()).send(hello);
              } catch (Exception | LinkageError e) {
                LOG.info("the driver does not ask for nodes: {}", e.toString());
              }
            },
            "shufflefs-hello");
    teller.setDaemon(true);
    teller.start();
  }

  // ---- on the driver

  void register(NodeMount mount, String app, int shuffle, ShuffleDependency<?, ?, ?> dependency) {
    SparkEnv env = SparkEnv.get();
    MapOutputTracker tracker = env.mapOutputTracker();
    if (!(tracker instanceof MapOutputTrackerMaster) || failed.get()) {
      return;
    }
    try {
      listen(env, dependency.rdd().sparkContext());
      int partitions = dependency.partitioner().numPartitions();
      Path path = mount.owners(app, shuffle, partitions);
      List<String> owners = mount.io().call(path, () -> Files.readAllLines(path));
      MapOutputTrackerMaster master = (MapOutputTrackerMaster) tracker;
      if (!pretendMerging(master)) {
        return;
      }
      // Before the scheduler would do it, so that there is room for what is told.
      if (!master.containsShuffle(shuffle)) {
        int maps = dependency.rdd().getNumPartitions();
        if (mount.replicates()) {
          master.shuffleStatuses().put(shuffle, SurvivingOutputs.of(conf, maps, partitions));
        } else {
          master.registerShuffle(shuffle, maps, partitions);
        }
      }
      tell(master, shuffle, owners);
    } catch (IOException | ReflectiveOperationException | RuntimeException | LinkageError e) {
      if (failed.compareAndSet(false, true)) {
        LOG.warn("reduce tasks do not prefer the owners of their partitions", e);
      }
    }
  }

  /** False: Spark merges by itself, and what it says of that must stay. */
  private synchronized boolean pretendMerging(MapOutputTrackerMaster tracker)
      throws ReflectiveOperationException {
    if (!pretends) {
      Field merging = MapOutputTrackerMaster.class.getDeclaredField("pushBasedShuffleEnabled");
      merging.setAccessible(true);
      if (merging.getBoolean(tracker)) {
        LOG.info("push-based shuffle is on: reduce tasks prefer where Spark has merged");
        failed.set(true);
        return false;
      }
      merging.setBoolean(tracker, true);
      pretends = true;
    }
    return true;
  }

  private void tell(MapOutputTrackerMaster tracker, int shuffle, List<String> owners) {
    for (String line : owners) {
      String[] words = line.split(" ");
      int last = Integer.parseInt(words[1]);
      for (int partition = Integer.parseInt(words[0]); partition <= last; ++partition) {
        tracker.registerMergeResult(shuffle, partition, new Owned(this, words[2], partition));
      }
    }
  }

  private synchronized void listen(SparkEnv env, SparkContext context) {
    if (endpoint != null) {
      return;
    }
    endpoint = env.rpcEnv().setupEndpoint(ENDPOINT, new Endpoint(env.rpcEnv(), this));
    context.addSparkListener(
        new SparkListener() {
          @Override
          public void onExecutorRemoved(SparkListenerExecutorRemoved event) {
            executors.remove(event.executorId());
          }
        });
  }

  synchronized void stop() {
    if (endpoint != null) {
      SparkEnv.get().rpcEnv().stop(endpoint);
      endpoint = null;
    }
  }

  private void met(Hello hello) {
    executors.put(hello.executor, hello);
    lastHosts.put(hello.node, hello.host);
  }

  /**
   * A host with executors on the node, another one for each partition. If there is none, the host
   * that had some last: new ones come there, and the scheduler passes it over until then. Null if
   * the node has never had any.
   */
  private String host(String node, int partition) {
    String[] hosts =
        executors.values().stream()
            .filter(hello -> hello.node.equals(node))
            .map(hello -> hello.host)
            .distinct()
            .sorted()
            .toArray(String[]::new);
    return hosts.length == 0 ? lastHosts.get(node) : hosts[partition % hosts.length];
  }

  /** "Merged at its owner", with the host as it is when the scheduler asks. */
  static final class Owned extends MergeStatus {
    private static final BlockManagerId NOBODY =
        BlockManagerId.apply("shuffle-push-merger", "nobody", 1, Option.empty());

    private final ReduceLocality locality;
    private final String node;
    private final int partition;

    Owned(ReduceLocality locality, String node, int partition) {
      super(NOBODY, 0, new RoaringBitmap(), 0);
      this.locality = locality;
      this.node = node;
      this.partition = partition;
    }

    @Override
    public BlockManagerId location() {
      String host = locality.host(node, partition);
      return host == null
          ? NOBODY
          : BlockManagerId.apply("shuffle-push-merger", host, 1, Option.empty());
    }

    /** All of them where the owner has no executor: then Spark prefers what it always does. */
    @Override
    public int getNumMissingMapOutputs(int maps) {
      return locality.host(node, partition) == null ? maps : 0;
    }
  }

  private static final class Endpoint implements RpcEndpoint {
    private final RpcEnv rpcEnv;
    private final ReduceLocality locality;

    Endpoint(RpcEnv rpcEnv, ReduceLocality locality) {
      this.rpcEnv = rpcEnv;
      this.locality = locality;
    }

    @Override
    public RpcEnv rpcEnv() {
      return rpcEnv;
    }

    @Override
    public PartialFunction<Object, BoxedUnit> receive() {
      return new AbstractPartialFunction<Object, BoxedUnit>() {
        @Override
        public boolean isDefinedAt(Object message) {
          return message instanceof Hello;
        }

        @Override
        public BoxedUnit apply(Object message) {
          locality.met((Hello) message);
          return BoxedUnit.UNIT;
        }

        // In Scala 2 the compiler writes this one, in Java nobody does.
        @Override
        public <A, B> B applyOrElse(A message, scala.Function1<A, B> otherwise) {
          @SuppressWarnings("unchecked")
          B done = isDefinedAt(message) ? (B) apply(message) : otherwise.apply(message);
          return done;
        }
      };
    }
  }
}
