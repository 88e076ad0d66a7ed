package org.apache.spark.shuffle;

import java.io.File;
import java.util.Map;
import org.apache.spark.SparkConf;
import org.apache.spark.network.buffer.ManagedBuffer;
import org.apache.spark.network.client.StreamCallbackWithID;
import org.apache.spark.network.shuffle.MergedBlockMeta;
import org.apache.spark.serializer.SerializerManager;
import org.apache.spark.storage.BlockId;
import org.apache.spark.storage.BlockManager;
import org.apache.spark.storage.ShuffleMergedBlockId;
import org.apache.spark.util.collection.OpenHashSet;
import scala.Option;
import scala.collection.immutable.Seq;

/**
 * To compile against, and not packed into the jar: Spark's own class with the constructors of all
 * versions, of which only Spark 4.0 has both.
 */
public abstract class IndexShuffleBlockResolver implements ShuffleBlockResolver {
  /** Spark 3. */
  public IndexShuffleBlockResolver(
      SparkConf conf, BlockManager blockManager, Map<Object, OpenHashSet<Object>> migrated) {}

  /** Spark 4. */
  public IndexShuffleBlockResolver(SparkConf conf) {}

  @Override
  public ManagedBuffer getBlockData(BlockId blockId, Option<String[]> dirs) {
    throw new UnsupportedOperationException();
  }

  public StreamCallbackWithID putShuffleBlockAsStream(BlockId id, SerializerManager serializers) {
    throw new UnsupportedOperationException();
  }

  // Of Scala 2.12's interface this is a narrower type, of 2.13's the same.
  @Override
  public Seq<ManagedBuffer> getMergedBlockData(ShuffleMergedBlockId id, Option<String[]> dirs) {
    throw new UnsupportedOperationException();
  }

  @Override
  public MergedBlockMeta getMergedBlockMeta(ShuffleMergedBlockId id, Option<String[]> dirs) {
    throw new UnsupportedOperationException();
  }

  public File getDataFile(int shuffle, long map) {
    throw new UnsupportedOperationException();
  }

  public File createTempFile(File file) {
    throw new UnsupportedOperationException();
  }

  public void writeMetadataFileAndCommit(
      int shuffle, long map, long[] lengths, long[] checksums, File temporary) {}

  @Override
  public void stop() {}
}
