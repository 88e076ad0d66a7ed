package org.shufflefs.spark;

import java.util.List;
import org.apache.spark.SparkConf;
import org.apache.spark.network.buffer.ManagedBuffer;
import org.apache.spark.shuffle.IndexShuffleBlockResolver;
import org.apache.spark.storage.BlockId;
import org.apache.spark.storage.ShuffleBlockBatchId;
import org.apache.spark.storage.ShuffleBlockId;
import org.apache.spark.util.collection.OpenHashSet;
import scala.Option;

/**
 * Spark's resolver of local blocks, which also gives the merged blocks of the reader that is being
 * made on this thread: Spark resolves all its local blocks while it makes the reader.
 */
final class MergedBlockResolver extends IndexShuffleBlockResolver {
  private final ThreadLocal<MergedReads> current = new ThreadLocal<>();

  MergedBlockResolver(
      SparkConf conf, java.util.Map<Object, OpenHashSet<Object>> taskIdMapsForShuffle) {
    super(conf, null, taskIdMapsForShuffle);
  }

  /** What was there before; to be put back. */
  MergedReads begin(MergedReads reads) {
    MergedReads before = current.get();
    current.set(reads);
    return before;
  }

  void end(MergedReads before) {
    if (before == null) {
      current.remove();
    } else {
      current.set(before);
    }
  }

  @Override
  public ManagedBuffer getBlockData(BlockId blockId, Option<String[]> dirs) {
    MergedReads reads = current.get();
    if (reads != null && dirs.isEmpty()) {
      List<MergedBlock> blocks = List.of();
      if (blockId instanceof ShuffleBlockId) {
        ShuffleBlockId id = (ShuffleBlockId) blockId;
        blocks = reads.find(id.shuffleId(), id.mapId(), id.reduceId(), id.reduceId() + 1);
      } else if (blockId instanceof ShuffleBlockBatchId) {
        ShuffleBlockBatchId id = (ShuffleBlockBatchId) blockId;
        blocks = reads.find(id.shuffleId(), id.mapId(), id.startReduceId(), id.endReduceId());
      }
      if (!blocks.isEmpty()) {
        return new MergedBuffer(reads, blocks);
      }
    }
    return super.getBlockData(blockId, dirs);
  }
}
