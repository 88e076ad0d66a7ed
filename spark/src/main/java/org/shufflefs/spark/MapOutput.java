package org.shufflefs.spark;

import java.io.File;
import java.io.IOException;
import org.apache.spark.shuffle.IndexShuffleBlockResolver;
import org.apache.spark.shuffle.api.ShuffleMapOutputWriter;
import org.apache.spark.shuffle.api.ShufflePartitionWriter;
import org.apache.spark.shuffle.api.metadata.MapOutputCommitMessage;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * One map output: a {@link MapOutputFile}, and Spark's own commit of it with index and checksums. One
 * thread. All of Spark that it needs is linked when it is made.
 */
final class MapOutput implements ShuffleMapOutputWriter {
  private interface Temporary {
    File of(File data);
  }

  private interface Commit {
    void run(int shuffle, long map, long[] lengths, long[] checksums, File data);
  }

  private interface Answer {
    MapOutputCommitMessage of(long[] lengths);
  }

  private static final Logger LOG = LoggerFactory.getLogger(ShufflefsDataIO.class);

  private final int shuffle;
  private final long map;
  private final long[] lengths;
  private final File data;
  private final Temporary temporaries;
  private final Commit commit;
  private final Answer answer;
  private File temporary; // null: no partition yet
  private MapOutputFile file; // null: nothing was opened yet
  private int lastPartition = -1;

  MapOutput(IndexShuffleBlockResolver resolver, int shuffle, long map, int partitions) {
    this.shuffle = shuffle;
    this.map = map;
    lengths = new long[partitions];
    data = resolver.getDataFile(shuffle, map);
    temporaries = resolver::createTempFile;
    commit = resolver::writeMetadataFileAndCommit;
    answer = MapOutputCommitMessage::of;
  }

  @Override
  public ShufflePartitionWriter getPartitionWriter(int partition) {
    if (partition <= lastPartition) {
      throw new IllegalArgumentException(
          "partition " + partition + " after partition " + lastPartition);
    }
    lastPartition = partition;
    if (temporary == null) {
      temporary = temporaries.of(data);
    }
    return new MapOutputPartition(this, partition);
  }

  /** Opened when a partition is. */
  MapOutputFile file() throws IOException {
    if (file == null) {
      file = new MapOutputFile(temporary);
    }
    return file;
  }

  void setLength(int partition, long length) {
    lengths[partition] = length;
  }

  @Override
  public MapOutputCommitMessage commitAllPartitions(long[] checksums) throws IOException {
    if (file != null) {
      file.close();
    }
    // Spark makes it before it is opened if it needs other permissions than usual.
    boolean isThere = file != null || (temporary != null && temporary.isFile());
    commit.run(shuffle, map, lengths, checksums, isThere ? temporary : null);
    return answer.of(lengths);
  }

  @Override
  public void abort(Throwable error) throws IOException {
    if (file != null) {
      file.discard();
    }
    if (temporary != null && temporary.exists() && !temporary.delete()) {
      LOG.warn("{} could not be removed", temporary);
    }
  }
}
