package org.shufflefs.spark;

import java.io.File;
import java.util.Optional;
import org.apache.spark.MapOutputTracker;
import org.apache.spark.ShuffleDependency;
import org.apache.spark.SparkConf;
import org.apache.spark.SparkEnv;
import org.apache.spark.TaskContext;
import org.apache.spark.shuffle.BaseShuffleHandle;
import org.apache.spark.shuffle.BlockStoreShuffleReader;
import org.apache.spark.shuffle.IndexShuffleBlockResolver;
import org.apache.spark.shuffle.ShuffleHandle;
import org.apache.spark.shuffle.ShuffleReadMetricsReporter;
import org.apache.spark.shuffle.ShuffleReader;
import org.apache.spark.shuffle.sort.BypassMergeSortShuffleHandle;
import org.apache.spark.shuffle.sort.SerializedShuffleHandle;
import org.apache.spark.shuffle.sort.SortShuffleManager;
import org.apache.spark.storage.BlockManager;
import org.apache.spark.storage.BlockManagerId;
import org.apache.spark.util.TaskCompletionListener;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import scala.Option;

/**
 * What {@link ShufflefsManager} adds to Spark's sort shuffle: readers of merged partitions,
 * preferred locations, and no file per partition where Spark can sort serialized records. Any
 * thread.
 */
final class MergedShuffles {
  private static final Logger LOG = LoggerFactory.getLogger(ShufflefsManager.class);

  private final SparkConf conf;
  private final IndexShuffleBlockResolver sparks; // Spark's own resolver
  private final ClientSwitch client;
  private final CurrentReads current = new CurrentReads();
  private final IndexShuffleBlockResolver resolver;
  private final ReduceLocality locality;
  private final MountIo io;
  private volatile Optional<NodeMount> mount; // null: not looked for yet

  MergedShuffles(
      SparkConf conf, boolean isDriver, IndexShuffleBlockResolver sparks, ClientSwitch client) {
    this.conf = conf;
    this.sparks = sparks;
    this.client = client;
    this.resolver = MergedBlockResolver.of(conf, sparks, current);
    this.locality = new ReduceLocality(conf);
    // As long as Spark waits for an answer of anybody else.
    this.io = new MountIo(conf.getTimeAsMs("spark.network.timeout", "120s"));
    OwnClasses.loadAll();
    if (isDriver) {
      ReduceLocality.shortenWaits(conf);
    }
    ShufflefsDataIO.install(conf, isDriver && replicates());
  }

  IndexShuffleBlockResolver resolver() {
    return resolver;
  }

  /** The handle by which the shuffle is written; `sparks` is the one that Spark has chosen. */
  <K, V> ShuffleHandle register(
      int shuffleId, ShuffleDependency<K, V, ?> dependency, ShuffleHandle sparks) {
    mount().ifPresent(found -> locality.register(found, app(), shuffleId, dependency));
    boolean makesFilePerPartition = sparks instanceof BypassMergeSortShuffleHandle;
    if (!makesFilePerPartition
        || conf.contains("spark.shuffle.sort.bypassMergeThreshold")
        || !SortShuffleManager.canUseSerializedShuffle(dependency)) {
      return sparks;
    }
    @SuppressWarnings("unchecked") // nothing is combined on the map side: V is what is written
    ShuffleDependency<K, V, V> plain = (ShuffleDependency<K, V, V>) dependency;
    return new SerializedShuffleHandle<>(shuffleId, plain);
  }

  void tellDriver() {
    mount().ifPresent(locality::tellDriver);
  }

  /** Null: Spark's own. */
  <K, C> ShuffleReader<K, C> reader(
      ShuffleHandle handle,
      int startMapIndex,
      int endMapIndex,
      int startPartition,
      int endPartition,
      TaskContext context,
      ShuffleReadMetricsReporter metrics) {
    Optional<NodeMount> found = mount();
    found.ifPresent(locality::tellDriver);
    BaseShuffleHandle<K, ?, C> base = asBase(handle);
    boolean isMapperRead = isMapperRead(endMapIndex, startPartition, endPartition);
    if (found.isEmpty()
        || base.dependency().isShuffleMergeFinalizedMarked()
        || (isMapperRead && !found.get().replicates())) {
      return null;
    }
    SparkEnv env = SparkEnv.get();
    MapOutputTracker tracker = env.mapOutputTracker();
    Counts counts = new Counts();
    MergedReads reads = mergedReads(found.get(), handle.shuffleId(), context, metrics, counts);
    // Where map outputs survive their nodes, those of other nodes might be there only merged.
    String leftAlone = isMapperRead ? env.blockManager().blockManagerId().host() : null;
    ReadPlanner planner =
        new ReadPlanner(found.get(), app(), handle.shuffleId(), counts, leftAlone);
    planner.plan(
        tracker.getMapSizesByExecutorId(
            handle.shuffleId(), startMapIndex, endMapIndex, startPartition, endPartition),
        startPartition,
        endPartition,
        reads);
    context.addTaskCompletionListener((TaskCompletionListener) ended -> finish(reads, counts));
    boolean inRanges =
        SortShuffleManager.canUseBatchFetch(startPartition, endPartition, context)
            && !planner.hasGaps();
    // An executor id that Spark takes for local storage, at our own address.
    BlockManagerId own = env.blockManager().blockManagerId();
    BlockManagerId merged =
        BlockManagerId.apply("fallback", own.host(), own.port(), Option.empty());
    ShuffleReader<K, C> reader =
        new BlockStoreShuffleReader<>(
            base,
            reads.isEmpty() ? planner.undivided() : planner.divided(merged),
            context,
            metrics,
            env.serializerManager(),
            env.blockManager(),
            tracker,
            inRanges);
    return reads.isEmpty() ? reader : new MergedShuffleReader<>(reader, reads, current, client);
  }

  /**
   * All partitions of a few map outputs, as adaptive execution reads where the maps ran: their
   * files, not the merged ones, have these bytes side by side.
   */
  private static boolean isMapperRead(int endMapIndex, int startPartition, int endPartition) {
    return endMapIndex != Integer.MAX_VALUE && endPartition - startPartition > 1;
  }

  private MergedReads mergedReads(
      NodeMount found,
      int shuffleId,
      TaskContext context,
      ShuffleReadMetricsReporter metrics,
      Counts counts) {
    BlockManager blocks = SparkEnv.get().blockManager();
    // Spark's own bound: each of its tries may take the network timeout.
    long patienceMs =
        conf.getTimeAsMs("spark.network.timeout", "120s")
            * (1 + conf.getInt("spark.shuffle.io.maxRetries", 3));
    OriginFetcher origins =
        new OriginFetcher(
            blocks,
            sparks,
            context,
            patienceMs,
            conf.getSizeAsBytes("spark.network.maxRemoteBlockSizeFetchToMem", "200m"));
    return new MergedReads(found, app(), shuffleId, context, metrics, origins, counts);
  }

  /** Whatever happens: the task has done its work. */
  private void finish(MergedReads reads, Counts counts) {
    try {
      reads.close();
      mount().ifPresent(found -> Reporter.report(found, counts));
    } catch (LinkageError e) {
      client.turnOff(e);
    }
  }

  private String app() {
    return SparkEnv.get().conf().get("spark.app.id");
  }

  private Optional<NodeMount> mount() {
    Optional<NodeMount> known = mount;
    if (known != null) {
      return known;
    }
    synchronized (this) {
      if (mount == null) {
        mount = findMount();
        if (mount.isPresent()) {
          LOG.info(
              "reading merged partitions through {} (node {})",
              mount.get().root(),
              mount.get().node());
        }
      }
      return mount;
    }
  }

  /** On a driver, before Spark has local dirs. */
  private boolean replicates() {
    boolean replicates = NodeMount.find(io, new File[0]).map(NodeMount::replicates).orElse(false);
    if (replicates) {
      LOG.info("every block has a second node: map outputs survive the loss of one");
    }
    return replicates;
  }

  /** Nothing: shuffles are read as Spark reads them. */
  Optional<NodeMount> findMount() {
    if (conf.getBoolean("spark.shuffle.useOldFetchProtocol", false)) {
      // Another attempt of a map task has the same map id then, so the id does not name the bytes.
      LOG.warn("spark.shuffle.useOldFetchProtocol is set: shuffles are read as Spark reads them");
      return Optional.empty();
    }
    Optional<NodeMount> found =
        NodeMount.find(io, SparkEnv.get().blockManager().diskBlockManager().localDirs());
    if (found.isEmpty()) {
      LOG.warn(
          "neither the local dirs nor this jar lie in a mount of shufflefs that answers:"
              + " shuffles are read as Spark reads them");
    }
    return found;
  }

  void stop() {
    locality.stop();
  }

  @SuppressWarnings("unchecked")
  private static <K, C> BaseShuffleHandle<K, ?, C> asBase(ShuffleHandle handle) {
    return (BaseShuffleHandle<K, ?, C>) handle;
  }
}
