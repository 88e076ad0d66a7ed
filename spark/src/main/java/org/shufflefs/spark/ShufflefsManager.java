package org.shufflefs.spark;

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
import org.apache.spark.shuffle.ShuffleWriteMetricsReporter;
import org.apache.spark.shuffle.ShuffleWriter;
import org.apache.spark.shuffle.sort.SortShuffleManager;
import org.apache.spark.storage.BlockManager;
import org.apache.spark.storage.BlockManagerId;
import org.apache.spark.util.TaskCompletionListener;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import scala.Option;

/**
 * Spark's sort shuffle whose reducers read merged partitions through their own node's mount
 * (docs/spark-client.md). Map outputs are written by Spark as always. What is not merged, or cannot
 * be read merged, is read by Spark as always; without a mount all of it is.
 *
 * <p>Set spark.shuffle.manager to this class, and spark.{driver,executor}.extraClassPath to its jar
 * in the mount. Any thread, as Spark's.
 */
public class ShufflefsManager extends SortShuffleManager {
  private static final Logger LOG = LoggerFactory.getLogger(ShufflefsManager.class);

  private final SparkConf conf;
  private final MergedBlockResolver resolver;
  private final ReduceLocality locality;
  private final MountIo io;
  private volatile Optional<NodeMount> mount; // null: not looked for yet

  /** As Spark makes it, on the driver and on executors. */
  public ShufflefsManager(SparkConf conf, boolean isDriver) {
    super(conf);
    this.conf = conf;
    this.resolver =
        new MergedBlockResolver(conf, super.shuffleBlockResolver().taskIdMapsForShuffle());
    this.locality = new ReduceLocality(conf);
    // As long as Spark waits for an answer of anybody else.
    this.io = new MountIo(conf.getTimeAsMs("spark.network.timeout", "120s"));
    OwnClasses.loadAll();
    if (isDriver) {
      ReduceLocality.shortenWaits(conf);
      ShufflefsDataIO.installIfReplicated(io, conf);
    }
  }

  @Override
  public IndexShuffleBlockResolver shuffleBlockResolver() {
    // The super constructor asks before there is ours.
    return resolver == null ? super.shuffleBlockResolver() : resolver;
  }

  @Override
  public <K, V, C> ShuffleHandle registerShuffle(
      int shuffleId, ShuffleDependency<K, V, C> dependency) {
    ShuffleHandle handle = super.registerShuffle(shuffleId, dependency);
    mount().ifPresent(found -> locality.register(found, app(), shuffleId, dependency));
    return handle;
  }

  @Override
  public <K, V> ShuffleWriter<K, V> getWriter(
      ShuffleHandle handle, long mapId, TaskContext context, ShuffleWriteMetricsReporter metrics) {
    mount().ifPresent(locality::tellDriver);
    return super.getWriter(handle, mapId, context, metrics);
  }

  @Override
  public <K, C> ShuffleReader<K, C> getReader(
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
      return super.getReader(
          handle, startMapIndex, endMapIndex, startPartition, endPartition, context, metrics);
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
    return reads.isEmpty() ? reader : new MergedShuffleReader<>(reader, reads, resolver);
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
            super.shuffleBlockResolver(),
            context,
            patienceMs,
            conf.getSizeAsBytes("spark.network.maxRemoteBlockSizeFetchToMem", "200m"));
    return new MergedReads(found, app(), shuffleId, context, metrics, origins, counts);
  }

  private void finish(MergedReads reads, Counts counts) {
    reads.close();
    mount().ifPresent(found -> Reporter.report(found, counts));
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

  @Override
  public void stop() {
    locality.stop();
    super.stop();
  }

  @SuppressWarnings("unchecked")
  private static <K, C> BaseShuffleHandle<K, ?, C> asBase(ShuffleHandle handle) {
    return (BaseShuffleHandle<K, ?, C>) handle;
  }
}
