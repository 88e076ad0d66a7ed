package org.shufflefs.spark;

import java.io.IOException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.Map;
import java.util.Optional;
import org.apache.spark.SparkEnv;
import org.apache.spark.shuffle.IndexShuffleBlockResolver;
import org.apache.spark.shuffle.ShuffleManager;
import org.apache.spark.shuffle.api.ShuffleExecutorComponents;
import org.apache.spark.shuffle.api.ShuffleMapOutputWriter;
import org.apache.spark.shuffle.api.ShufflePartitionWriter;
import org.apache.spark.shuffle.api.SingleSpillShuffleMapOutputWriter;
import org.apache.spark.shuffle.api.WritableByteChannelWrapper;
import org.apache.spark.shuffle.sort.SortShuffleManager;

/**
 * Makes the {@link MapOutput}s of an executor. A map output that is one spill stays Spark's, which
 * renames it. Where a Spark lacks what a map output needs, all are Spark's. Any thread.
 */
final class MapOutputs implements ShuffleExecutorComponents {
  private final ShuffleExecutorComponents sparks;
  private volatile IndexShuffleBlockResolver resolver; // null: all are Spark's

  private MapOutputs(ShuffleExecutorComponents sparks) {
    this.sparks = sparks;
  }

  /** A LinkageError if they are not what this Spark asks for. */
  static MapOutputs over(ShuffleExecutorComponents sparks) {
    requireAll(MapOutputs.class, ShuffleExecutorComponents.class);
    requireAll(MapOutput.class, ShuffleMapOutputWriter.class);
    requireAll(MapOutputPartition.class, ShufflePartitionWriter.class);
    requireAll(MapOutputPartition.class, WritableByteChannelWrapper.class);
    return new MapOutputs(sparks);
  }

  /** Another Spark might ask for more than the one that this was compiled against. */
  private static void requireAll(Class<?> ours, Class<?> sparks) {
    for (Method method : sparks.getMethods()) {
      try {
        Method found = ours.getMethod(method.getName(), method.getParameterTypes());
        if (Modifier.isAbstract(found.getModifiers())) {
          throw new AbstractMethodError(found.toString());
        }
      } catch (NoSuchMethodException e) {
        throw new AbstractMethodError(method.toString());
      }
    }
  }

  @Override
  public void initializeExecutor(String app, String executor, Map<String, String> settings) {
    sparks.initializeExecutor(app, executor, settings);
    try {
      ShuffleManager manager = SparkEnv.get().shuffleManager();
      if (manager instanceof SortShuffleManager) {
        resolver = ((SortShuffleManager) manager).shuffleBlockResolver();
      }
    } catch (LinkageError e) {
      giveUp(e);
    }
  }

  @Override
  public ShuffleMapOutputWriter createMapOutputWriter(int shuffle, long map, int partitions)
      throws IOException {
    IndexShuffleBlockResolver found = resolver;
    if (found != null) {
      try {
        return new MapOutput(found, shuffle, map, partitions);
      } catch (LinkageError e) {
        giveUp(e);
      }
    }
    return sparks.createMapOutputWriter(shuffle, map, partitions);
  }

  @Override
  public Optional<SingleSpillShuffleMapOutputWriter> createSingleFileMapOutputWriter(
      int shuffle, long map) throws IOException {
    return sparks.createSingleFileMapOutputWriter(shuffle, map);
  }

  private void giveUp(LinkageError missing) {
    resolver = null;
    ShufflefsDataIO.sayMissing(missing);
  }
}
