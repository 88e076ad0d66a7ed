package org.shufflefs.spark;

import java.util.Map;
import org.apache.spark.SparkConf;
import org.apache.spark.network.buffer.ManagedBuffer;
import org.apache.spark.network.client.StreamCallbackWithID;
import org.apache.spark.serializer.SerializerManager;
import org.apache.spark.shuffle.IndexShuffleBlockResolver;
import org.apache.spark.storage.BlockId;
import org.apache.spark.util.collection.OpenHashSet;
import scala.Option;

/**
 * Spark's resolver of local blocks, which also gives {@link CurrentReads}. Spark 4 has another
 * constructor than Spark 3.
 */
final class MergedBlockResolver extends IndexShuffleBlockResolver {
  private final IndexShuffleBlockResolver sparks;
  private final CurrentReads reads;

  private MergedBlockResolver(
      SparkConf conf, IndexShuffleBlockResolver sparks, CurrentReads reads) {
    super(conf);
    this.sparks = sparks;
    this.reads = reads;
  }

  private MergedBlockResolver(
      SparkConf conf,
      IndexShuffleBlockResolver sparks,
      CurrentReads reads,
      Map<Object, OpenHashSet<Object>> migrated) {
    super(conf, null, migrated);
    this.sparks = sparks;
    this.reads = reads;
  }

  static MergedBlockResolver of(
      SparkConf conf, IndexShuffleBlockResolver sparks, CurrentReads reads) {
    try {
      IndexShuffleBlockResolver.class.getConstructor(SparkConf.class);
    } catch (NoSuchMethodException e) {
      return new MergedBlockResolver(conf, sparks, reads, Map.of());
    }
    return new MergedBlockResolver(conf, sparks, reads);
  }

  @Override
  public ManagedBuffer getBlockData(BlockId blockId, Option<String[]> dirs) {
    ManagedBuffer merged = dirs.isEmpty() ? reads.find(blockId) : null;
    return merged != null ? merged : super.getBlockData(blockId, dirs);
  }

  /** A map output of an executor that leaves. Spark's own resolver notes that it is here. */
  @Override
  public StreamCallbackWithID putShuffleBlockAsStream(BlockId id, SerializerManager serializers) {
    return sparks.putShuffleBlockAsStream(id, serializers);
  }
}
