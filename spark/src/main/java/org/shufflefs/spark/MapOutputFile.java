package org.shufflefs.spark;

import java.io.File;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.FileChannel;
import java.nio.channels.WritableByteChannel;
import java.nio.file.StandardOpenOption;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;

/**
 * The data file of one map output, written from front to back in pieces of 1 MiB. It counts its own
 * bytes: on a mount each question for a position or a size can be a request to the daemon.
 *
 * <p>One thread. Failure: the write's IOException. Memory: a buffer outside of the heap, which the
 * next file uses again.
 */
final class MapOutputFile implements WritableByteChannel {
  private static final int BUFFER_BYTES = 1 << 20;
  private static final Queue<ByteBuffer> FREE = new ConcurrentLinkedQueue<>();

  private final FileChannel file;
  private ByteBuffer buffer; // null: closed
  private long count;

  /** The file may be there: Spark makes it if it needs other permissions than usual. */
  MapOutputFile(File path) throws IOException {
    file =
        FileChannel.open(path.toPath(), StandardOpenOption.CREATE, StandardOpenOption.WRITE);
    ByteBuffer free = FREE.poll();
    buffer = free != null ? free : ByteBuffer.allocateDirect(BUFFER_BYTES);
  }

  /** Bytes that were given to it. */
  long count() {
    return count;
  }

  void write(int one) throws IOException {
    room().put((byte) one);
    ++count;
  }

  void write(byte[] bytes, int from, int length) throws IOException {
    for (int done = 0; done < length; ) {
      int piece = Math.min(length - done, room().remaining());
      buffer.put(bytes, from + done, piece);
      done += piece;
      count += piece;
    }
  }

  /** Takes all of it. */
  @Override
  public int write(ByteBuffer bytes) throws IOException {
    int length = bytes.remaining();
    int end = bytes.limit();
    while (bytes.position() < end) {
      int piece = Math.min(end - bytes.position(), room().remaining());
      buffer.put(bytes.limit(bytes.position() + piece));
      count += piece;
    }
    return length;
  }

  @Override
  public boolean isOpen() {
    return buffer != null;
  }

  /** Writes what is left. */
  @Override
  public void close() throws IOException {
    if (buffer != null) {
      try {
        writeOut();
      } finally {
        discard();
      }
    }
  }

  /** Nobody wants it. */
  void discard() throws IOException {
    if (buffer != null) {
      giveBack();
      file.close();
    }
  }

  private ByteBuffer room() throws IOException {
    if (buffer == null) {
      throw new ClosedChannelException();
    }
    if (!buffer.hasRemaining()) {
      writeOut();
    }
    return buffer;
  }

  private void writeOut() throws IOException {
    buffer.flip();
    while (buffer.hasRemaining()) {
      file.write(buffer);
    }
    buffer.clear();
  }

  private void giveBack() {
    FREE.add(buffer.clear());
    buffer = null;
  }
}
