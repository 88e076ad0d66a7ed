package org.apache.spark.shuffle.sort;

import java.io.IOException;
import java.util.Iterator;
import org.apache.spark.ShuffleDependency;
import org.apache.spark.SparkConf;
import org.apache.spark.SparkEnv;
import org.apache.spark.TaskContext;
import org.apache.spark.executor.ShuffleWriteMetrics;
import org.apache.spark.shuffle.BaseShuffleHandle;
import org.apache.spark.shuffle.ShuffleWriter;
import org.apache.spark.shuffle.api.ShuffleExecutorComponents;
import org.apache.spark.storage.BlockManager;
import scala.Product2;
import scala.collection.JavaConverters;

/**
 * Spark's three shuffle writers by name, made as its manager makes them but over any components. In
 * Spark's package because one of them is visible only there. To be used in a task.
 */
public enum SparksWriters {
  BYPASS,
  UNSAFE,
  SORT;

  /** Writes one map output; its partitions' lengths. The settings are SparkEnv's. */
  public <K, V> long[] write(
      ShuffleDependency<K, V, V> dependency,
      long map,
      ShuffleExecutorComponents components,
      Iterator<Product2<K, V>> records)
      throws IOException {
    ShuffleWriter<K, V> writer = make(dependency, map, components);
    boolean done = false;
    try {
      writer.write(JavaConverters.asScalaIteratorConverter(records).asScala());
      done = true;
    } finally {
      writer.stop(done);
    }
    return writer.getPartitionLengths();
  }

  private <K, V> ShuffleWriter<K, V> make(
      ShuffleDependency<K, V, V> dependency, long map, ShuffleExecutorComponents components)
      throws IOException {
    int shuffle = dependency.shuffleId();
    BlockManager blocks = SparkEnv.get().blockManager();
    SparkConf conf = SparkEnv.get().conf();
    TaskContext task = TaskContext.get();
    ShuffleWriteMetrics metrics = task.taskMetrics().shuffleWriteMetrics();
    try {
      switch (this) {
        case BYPASS:
          return new BypassMergeSortShuffleWriter<>(
              blocks,
              new BypassMergeSortShuffleHandle<>(shuffle, dependency),
              map,
              conf,
              metrics,
              components);
        case UNSAFE:
          return new UnsafeShuffleWriter<>(
              blocks,
              task.taskMemoryManager(),
              new SerializedShuffleHandle<>(shuffle, dependency),
              map,
              task,
              conf,
              metrics,
              components);
        default:
          return new SortShuffleWriter<>(
              new BaseShuffleHandle<>(shuffle, dependency), map, task, metrics, components);
      }
    } catch (org.apache.spark.SparkException e) {
      throw new IOException(e);
    }
  }
}
