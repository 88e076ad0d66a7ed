package org.shufflefs.spark;

import org.apache.spark.storage.BlockManagerId;

/** One block of one map output in a merged partition, and where it was written. A value. */
final class MergedBlock {
  final int shuffle;
  final int partition;
  final long mapId;
  final int mapIndex;
  /** Within the partition's merged file. */
  final long offset;

  final long length;
  /** crc32c of the block. */
  final int crc;

  final BlockManagerId origin;

  MergedBlock(
      int shuffle, int mapIndex, PartitionIndex.Entry entry, int partition, BlockManagerId origin) {
    this.shuffle = shuffle;
    this.partition = partition;
    this.mapId = entry.mapId;
    this.mapIndex = mapIndex;
    this.offset = entry.offset;
    this.length = entry.length;
    this.crc = entry.crc;
    this.origin = origin;
  }

  /** Spark's name of the block. */
  String blockId() {
    return "shuffle_" + shuffle + "_" + mapId + "_" + partition;
  }
}
