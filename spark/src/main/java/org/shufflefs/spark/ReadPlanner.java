package org.shufflefs.spark;

import java.io.IOException;
import java.nio.file.NoSuchFileException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.spark.storage.BlockId;
import org.apache.spark.storage.BlockManagerId;
import org.apache.spark.storage.ShuffleBlockId;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import scala.Tuple2;
import scala.Tuple3;
import scala.collection.Iterator;
import scala.collection.JavaConverters;
import scala.collection.Seq;

/**
 * Divides the blocks that Spark's tracker names into those that are merged and the rest: one index
 * is read for each partition. One task's thread; used once.
 */
final class ReadPlanner {
  private static final Logger LOG = LoggerFactory.getLogger(ReadPlanner.class);

  private static final class Wanted {
    final BlockManagerId origin;
    final int mapIndex;
    final long approximateBytes;

    Wanted(BlockManagerId origin, int mapIndex, long approximateBytes) {
      this.origin = origin;
      this.mapIndex = mapIndex;
      this.approximateBytes = approximateBytes;
    }
  }

  private final NodeMount mount;
  private final String app;
  private final int shuffle;
  private final Counts counts;
  private final String leftAlone;

  private final List<Tuple2<BlockManagerId, Seq<Tuple3<BlockId, Object, Object>>>> addresses =
      new ArrayList<>();
  private final Map<Integer, Map<Long, Wanted>> wanted = new HashMap<>(); // by partition and map
  // Map outputs with blocks of the one and of the other kind.
  private final Set<Long> withMerged = new HashSet<>();
  private final Set<Long> withUnmerged = new HashSet<>();
  private MergedReads reads;

  /** `leftAlone`: a host whose blocks are read at their origin in any case, or null. */
  ReadPlanner(NodeMount mount, String app, int shuffle, Counts counts, String leftAlone) {
    this.mount = mount;
    this.app = app;
    this.shuffle = shuffle;
    this.counts = counts;
    this.leftAlone = leftAlone;
  }

  /** Reads the indexes of [startPartition, endPartition) and fills `reads`. */
  void plan(
      Iterator<Tuple2<BlockManagerId, Seq<Tuple3<BlockId, Object, Object>>>> blocksByAddress,
      int startPartition,
      int endPartition,
      MergedReads into) {
    reads = into;
    collect(blocksByAddress);
    boolean isReadable = true;
    for (int partition = startPartition; partition < endPartition; ++partition) {
      Map<Long, Wanted> blocks = wanted.get(partition);
      if (blocks != null && isReadable) {
        isReadable = planPartition(partition, blocks);
      }
    }
    wanted.forEach(
        (partition, blocks) -> blocks.forEach((map, block) -> note(partition, map, block)));
  }

  private void collect(
      Iterator<Tuple2<BlockManagerId, Seq<Tuple3<BlockId, Object, Object>>>> blocksByAddress) {
    while (blocksByAddress.hasNext()) {
      Tuple2<BlockManagerId, Seq<Tuple3<BlockId, Object, Object>>> address = blocksByAddress.next();
      addresses.add(address);
      if (address._1().host().equals(leftAlone)) {
        continue;
      }
      Iterator<Tuple3<BlockId, Object, Object>> blocks = address._2().iterator();
      while (blocks.hasNext()) {
        Tuple3<BlockId, Object, Object> block = blocks.next();
        ShuffleBlockId id = (ShuffleBlockId) block._1();
        wanted
            .computeIfAbsent(id.reduceId(), partition -> new HashMap<>())
            .put(id.mapId(), new Wanted(address._1(), (Integer) block._3(), (Long) block._2()));
      }
    }
  }

  /** False: the mount does not answer as it should, so that asking for more is of no use. */
  private boolean planPartition(int partition, Map<Long, Wanted> blocks) {
    try {
      List<PartitionIndex.Entry> entries =
          PartitionIndex.read(
              mount.io(), mount.index(app, shuffle, partition), shuffle, partition);
      for (PartitionIndex.Entry entry : entries) {
        Wanted block = blocks.get(entry.mapId);
        // Once, whatever the index says: a block that is read twice would be rows that nobody wrote.
        if (block != null && reads.find(entry.mapId, partition) == null) {
          reads.add(new MergedBlock(shuffle, block.mapIndex, entry, partition, block.origin));
        }
      }
      return true;
    } catch (NoSuchFileException e) {
      return true; // nobody has heard of the shuffle yet
    } catch (IOException e) {
      LOG.warn("the index of a partition cannot be read, its blocks come from their origins", e);
      return e instanceof PartitionIndex.Damaged;
    }
  }

  private void note(int partition, long map, Wanted block) {
    if (reads.find(map, partition) == null) {
      counts.fallback(Fallback.UNMERGED, block.approximateBytes);
      withUnmerged.add(map);
    } else {
      withMerged.add(map);
    }
  }

  /** Of some map output only a part is merged: a range of the rest could span merged blocks. */
  boolean hasGaps() {
    return withUnmerged.stream().anyMatch(withMerged::contains);
  }

  /** What Spark's reader is to read: merged blocks at `merged` in file order, the rest as it was. */
  Iterator<Tuple2<BlockManagerId, Seq<Tuple3<BlockId, Object, Object>>>> divided(
      BlockManagerId merged) {
    List<Tuple2<BlockManagerId, Seq<Tuple3<BlockId, Object, Object>>>> divided = new ArrayList<>();
    for (Tuple2<BlockManagerId, Seq<Tuple3<BlockId, Object, Object>>> address : addresses) {
      List<Tuple3<BlockId, Object, Object>> left = new ArrayList<>();
      Iterator<Tuple3<BlockId, Object, Object>> blocks = address._2().iterator();
      while (blocks.hasNext()) {
        Tuple3<BlockId, Object, Object> block = blocks.next();
        ShuffleBlockId id = (ShuffleBlockId) block._1();
        if (reads.find(id.mapId(), id.reduceId()) == null) {
          left.add(block);
        }
      }
      if (!left.isEmpty()) {
        divided.add(new Tuple2<>(address._1(), seq(left)));
      }
    }
    List<Tuple3<BlockId, Object, Object>> ours = new ArrayList<>();
    for (MergedBlock block : reads.inFileOrder()) {
      ours.add(
          new Tuple3<>(
              new ShuffleBlockId(shuffle, block.mapId, block.partition),
              block.length,
              block.mapIndex));
    }
    divided.add(new Tuple2<>(merged, seq(ours)));
    return JavaConverters.asScalaIteratorConverter(divided.iterator()).asScala();
  }

  /** As the tracker gave it. */
  Iterator<Tuple2<BlockManagerId, Seq<Tuple3<BlockId, Object, Object>>>> undivided() {
    return JavaConverters.asScalaIteratorConverter(addresses.iterator()).asScala();
  }

  private static <T> Seq<T> seq(List<T> list) {
    return JavaConverters.asScalaBufferConverter(list).asScala();
  }
}
