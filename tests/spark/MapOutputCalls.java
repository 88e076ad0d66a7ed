package org.shufflefs.spark;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Random;
import org.apache.spark.shuffle.api.ShuffleExecutorComponents;
import org.apache.spark.shuffle.api.ShuffleMapOutputWriter;
import org.apache.spark.shuffle.api.ShufflePartitionWriter;
import org.apache.spark.shuffle.api.WritableByteChannelWrapper;

/**
 * One map output written by random calls of Spark's interface, the same for the same seed, of all
 * kinds that its writers make and a few that they do not. Pieces are smaller and larger than the
 * client's buffer. Ends with an AssertionError if an answer is wrong.
 */
final class MapOutputCalls {
  private static final int PARTITIONS = 200;

  private MapOutputCalls() {}

  private static void require(boolean condition, String text) {
    if (!condition) {
      throw new AssertionError(text);
    }
  }

  /** By streams if the seed is even, else by channels. */
  static void make(
      ShuffleExecutorComponents components, int shuffle, long map, int seed, boolean commits) {
    Random random = new Random(seed);
    try {
      ShuffleMapOutputWriter output = components.createMapOutputWriter(shuffle, map, PARTITIONS);
      long[] lengths = new long[PARTITIONS];
      for (int i = 0; i < PARTITIONS; i += 1 + random.nextInt(5)) {
        ShufflePartitionWriter writer = output.getPartitionWriter(i);
        require(writer.getNumBytesWritten() == 0, "bytes before the first");
        lengths[i] = seed % 2 == 0 ? stream(writer, random) : channel(writer, random);
        require(writer.getNumBytesWritten() == lengths[i], "another count of bytes");
      }
      if (commits) {
        long[] found = output.commitAllPartitions(new long[PARTITIONS]).getPartitionLengths();
        require(Arrays.equals(found, lengths), "other lengths");
      } else {
        output.abort(new IOException("test"));
      }
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  private static byte[] piece(Random random) {
    byte[] bytes = new byte[random.nextInt(20) == 0 ? 3_000_000 : random.nextInt(20_000)];
    random.nextBytes(bytes);
    return bytes;
  }

  private static long stream(ShufflePartitionWriter writer, Random random) throws IOException {
    OutputStream stream = writer.openStream();
    long length = 0;
    for (int i = random.nextInt(6); i > 0; --i) {
      byte[] bytes = piece(random);
      int from = random.nextInt(bytes.length + 1);
      stream.write(bytes, from, bytes.length - from);
      stream.write(i);
      length += bytes.length - from + 1;
    }
    stream.close();
    return length;
  }

  private static long channel(ShufflePartitionWriter writer, Random random) throws IOException {
    long length = 0;
    try (WritableByteChannelWrapper wrapper = writer.openChannelWrapper().orElseThrow()) {
      for (int i = random.nextInt(6); i > 0; --i) {
        ByteBuffer bytes = ByteBuffer.wrap(piece(random));
        length += bytes.remaining();
        while (bytes.hasRemaining()) {
          wrapper.channel().write(bytes);
        }
      }
    }
    return length;
  }
}
