package org.shufflefs.spark;

import org.apache.spark.ShuffleDependency;
import org.apache.spark.SparkConf;
import org.apache.spark.TaskContext;
import org.apache.spark.shuffle.IndexShuffleBlockResolver;
import org.apache.spark.shuffle.ShuffleHandle;
import org.apache.spark.shuffle.ShuffleReadMetricsReporter;
import org.apache.spark.shuffle.ShuffleReader;
import org.apache.spark.shuffle.ShuffleWriteMetricsReporter;
import org.apache.spark.shuffle.ShuffleWriter;
import org.apache.spark.shuffle.sort.SortShuffleManager;

/**
 * Spark's sort shuffle whose reducers read merged partitions through their own node's mount
 * (docs/spark-client.md). Map outputs are written by Spark as always. What is not merged, or cannot
 * be read merged, is read by Spark as always; without a mount all of it is.
 *
 * <p>Set spark.shuffle.manager to this class, and spark.{driver,executor}.extraClassPath to its jar
 * in the mount. Any thread, as Spark's.
 *
 * <p>This class names nothing but what it overrides, so that any Spark can load it. All else is in
 * {@link MergedShuffles}. Where a Spark lacks what that needs, this is Spark's sort shuffle.
 */
public class ShufflefsManager extends SortShuffleManager {
  private final ClientSwitch client = new ClientSwitch();
  private final MergedShuffles shuffles; // null: it cannot be made

  /** As Spark makes it, on the driver and on executors. */
  public ShufflefsManager(SparkConf conf, boolean isDriver) {
    super(conf);
    MergedShuffles made = null;
    try {
      made = new MergedShuffles(conf, isDriver, super.shuffleBlockResolver(), client);
    } catch (LinkageError | RuntimeException e) {
      client.turnOff(e);
    }
    shuffles = made;
  }

  @Override
  public IndexShuffleBlockResolver shuffleBlockResolver() {
    return shuffles == null ? super.shuffleBlockResolver() : shuffles.resolver();
  }

  @Override
  public <K, V, C> ShuffleHandle registerShuffle(
      int shuffleId, ShuffleDependency<K, V, C> dependency) {
    ShuffleHandle handle = super.registerShuffle(shuffleId, dependency);
    if (client.isOn()) {
      try {
        return shuffles.register(shuffleId, dependency, handle);
      } catch (LinkageError | RuntimeException e) {
        client.turnOff(e);
      }
    }
    return handle;
  }

  @Override
  public <K, V> ShuffleWriter<K, V> getWriter(
      ShuffleHandle handle, long mapId, TaskContext context, ShuffleWriteMetricsReporter metrics) {
    if (client.isOn()) {
      try {
        shuffles.tellDriver();
      } catch (LinkageError | RuntimeException e) {
        client.turnOff(e);
      }
    }
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
    ShuffleReader<K, C> reader = null;
    if (client.isOn()) {
      try {
        reader =
            shuffles.reader(
                handle, startMapIndex, endMapIndex, startPartition, endPartition, context, metrics);
      } catch (LinkageError e) {
        client.turnOff(e);
      }
    }
    return reader != null
        ? reader
        : super.getReader(
            handle, startMapIndex, endMapIndex, startPartition, endPartition, context, metrics);
  }

  @Override
  public void stop() {
    if (shuffles != null) {
      try {
        shuffles.stop();
      } catch (LinkageError e) {
        client.turnOff(e);
      }
    }
    super.stop();
  }
}
