package org.shufflefs.spark;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.channels.WritableByteChannel;
import java.util.Optional;
import org.apache.spark.shuffle.api.ShufflePartitionWriter;
import org.apache.spark.shuffle.api.WritableByteChannelWrapper;

/**
 * One partition of a {@link MapOutput}, written through a stream or, where Spark copies what it has
 * spilled, through a channel. One thread.
 */
final class MapOutputPartition extends OutputStream
    implements ShufflePartitionWriter, WritableByteChannelWrapper {
  private final MapOutput output;
  private final int partition;
  private MapOutputFile file; // null: not opened yet
  private long begin;
  private long length = -1; // not closed yet

  MapOutputPartition(MapOutput output, int partition) {
    this.output = output;
    this.partition = partition;
  }

  @Override
  public OutputStream openStream() throws IOException {
    open();
    return this;
  }

  @Override
  public Optional<WritableByteChannelWrapper> openChannelWrapper() throws IOException {
    open();
    return Optional.of(this);
  }

  private void open() throws IOException {
    if (file == null) {
      file = output.file();
      begin = file.count();
    }
  }

  @Override
  public long getNumBytesWritten() {
    if (file == null) {
      return 0;
    }
    return length >= 0 ? length : file.count() - begin;
  }

  @Override
  public void write(int one) throws IOException {
    stillOpen().write(one);
  }

  @Override
  public void write(byte[] bytes, int from, int count) throws IOException {
    stillOpen().write(bytes, from, count);
  }

  /** Outlives this partition: whoever holds it is done with it when that is closed. */
  @Override
  public WritableByteChannel channel() {
    return file;
  }

  @Override
  public void close() {
    if (length < 0) {
      length = getNumBytesWritten();
      output.setLength(partition, length);
    }
  }

  private MapOutputFile stillOpen() {
    if (length >= 0) {
      throw new IllegalStateException("partition " + partition + " is closed");
    }
    return file;
  }
}
