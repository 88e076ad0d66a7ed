package org.shufflefs.spark;

import java.util.List;
import org.apache.spark.network.buffer.ManagedBuffer;
import org.apache.spark.storage.BlockId;
import org.apache.spark.storage.ShuffleBlockBatchId;
import org.apache.spark.storage.ShuffleBlockId;

/**
 * The merged blocks of the reader that is being made on this thread: Spark resolves all its local
 * blocks while it makes the reader.
 */
final class CurrentReads {
  private final ThreadLocal<MergedReads> current = new ThreadLocal<>();

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

  /** The merged bytes of the block; null if it is another block, or nobody reads. */
  ManagedBuffer find(BlockId blockId) {
    MergedReads reads = current.get();
    if (reads == null) {
      return null;
    }
    List<MergedBlock> blocks = List.of();
    if (blockId instanceof ShuffleBlockId) {
      ShuffleBlockId id = (ShuffleBlockId) blockId;
      blocks = reads.find(id.shuffleId(), id.mapId(), id.reduceId(), id.reduceId() + 1);
    } else if (blockId instanceof ShuffleBlockBatchId) {
      ShuffleBlockBatchId id = (ShuffleBlockBatchId) blockId;
      blocks = reads.find(id.shuffleId(), id.mapId(), id.startReduceId(), id.endReduceId());
    }
    return blocks.isEmpty() ? null : new MergedBuffer(reads, blocks);
  }
}
