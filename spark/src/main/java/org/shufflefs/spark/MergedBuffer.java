package org.shufflefs.spark;

import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.util.List;
import org.apache.spark.network.buffer.ManagedBuffer;
import org.apache.spark.shuffle.FetchFailedException;

/** Merged blocks as Spark's reader takes them: nothing is read before the stream is made. */
final class MergedBuffer extends ManagedBuffer {
  private final MergedReads reads;
  private final List<MergedBlock> blocks;

  MergedBuffer(MergedReads reads, List<MergedBlock> blocks) {
    this.reads = reads;
    this.blocks = blocks;
  }

  @Override
  public long size() {
    return blocks.stream().mapToLong(block -> block.length).sum();
  }

  @Override
  public InputStream createInputStream() {
    try {
      return reads.open(blocks);
    } catch (FetchFailedException e) {
      // Not an IOException, which Spark takes for one of a local file of its own.
      throw Sneaky.rethrow(e);
    }
  }

  @Override
  public ByteBuffer nioByteBuffer() throws IOException {
    try (InputStream bytes = createInputStream()) {
      return ByteBuffer.wrap(bytes.readAllBytes());
    }
  }

  @Override
  public ManagedBuffer retain() {
    return this;
  }

  @Override
  public ManagedBuffer release() {
    return this;
  }

  @Override
  public Object convertToNetty() {
    throw new UnsupportedOperationException("merged blocks are not sent");
  }

  /** Of Spark 4. */
  public Object convertToNettyForSsl() {
    return convertToNetty();
  }
}
