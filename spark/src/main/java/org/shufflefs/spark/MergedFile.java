package org.shufflefs.spark;

import java.io.Closeable;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.zip.CRC32C;

/**
 * A merged partition's file, read front to back in large pieces and checked block by block. Bytes
 * are handed out only after their checksum has been seen to be right.
 *
 * <p>One thread. Memory: a window of 1 MiB and one block; blocks above LARGE_BLOCK are read twice
 * instead, once to check them. Failure: IOException of the file,
 * EOFException if it is too short, {@link Corrupt} for a wrong checksum.
 */
final class MergedFile implements Closeable {
  static final class Corrupt extends IOException {
    private static final long serialVersionUID = 1;

    Corrupt(String message) {
      super(message);
    }
  }

  static final int WINDOW_BYTES = 1 << 20;
  static final int LARGE_BLOCK = 16 << 20;

  private final Path path;
  /** Where the last wanted block ends: nothing behind it is read. */
  private final long end;

  private FileChannel channel;
  private byte[] window = new byte[0];
  private long windowStart;
  private int windowLength;
  /** Streams that still read the window: then it is not overwritten. */
  private int readers;

  MergedFile(Path path, long end) {
    this.path = path;
    this.end = end;
  }

  InputStream open(MergedBlock block) throws IOException {
    return block.length > LARGE_BLOCK ? openLarge(block) : openInWindow(block);
  }

  private InputStream openInWindow(MergedBlock block) throws IOException {
    int length = (int) block.length;
    if (block.offset < windowStart || block.offset + length > windowStart + windowLength) {
      fill(block.offset, length);
    }
    int at = (int) (block.offset - windowStart);
    CRC32C crc = new CRC32C();
    crc.update(window, at, length);
    check(block, crc);
    ++readers;
    return new WindowStream(window, at, length);
  }

  /**
   * Moves the window on to the block at `offset`. No byte is read twice, and reads end at multiples of
   * WINDOW_BYTES: that is how the daemon fetches from other nodes.
   */
  private void fill(long offset, int needed) throws IOException {
    long known = windowStart + windowLength;
    int kept = offset >= windowStart && offset < known ? (int) (known - offset) : 0;
    long from = offset + kept;
    long limit = (from / WINDOW_BYTES + 1) * WINDOW_BYTES;
    int wanted = (int) (Math.max(offset + needed, Math.min(end, limit)) - offset);
    byte[] old = window;
    if (readers > 0 || window.length < wanted) {
      window = new byte[Math.max(wanted, (int) Math.min(WINDOW_BYTES + needed, end))];
      readers = 0;
    }
    if (kept > 0) {
      System.arraycopy(old, (int) (offset - windowStart), window, 0, kept);
    }
    windowStart = offset;
    windowLength = kept;
    // What is behind the needed block may be missing: its own turn will tell.
    windowLength += readFully(ByteBuffer.wrap(window, kept, wanted - kept), from, needed - kept);
  }

  private int readFully(ByteBuffer into, long offset, int needed) throws IOException {
    if (channel == null) {
      channel = FileChannel.open(path, StandardOpenOption.READ);
    }
    int start = into.position();
    while (into.hasRemaining()) {
      int n = channel.read(into, offset + into.position() - start);
      if (n < 0) {
        break;
      }
    }
    int got = into.position() - start;
    if (got < needed) {
      throw new EOFException(path + " ends at " + (offset + got));
    }
    return got;
  }

  private InputStream openLarge(MergedBlock block) throws IOException {
    CRC32C crc = new CRC32C();
    byte[] piece = new byte[WINDOW_BYTES];
    for (long done = 0; done < block.length; ) {
      int step = (int) Math.min(piece.length, block.length - done);
      readFully(ByteBuffer.wrap(piece, 0, step), block.offset + done, step);
      crc.update(piece, 0, step);
      done += step;
    }
    check(block, crc);
    return new LargeStream(block, piece);
  }

  private void check(MergedBlock block, CRC32C crc) throws Corrupt {
    if ((int) crc.getValue() != block.crc) {
      throw new Corrupt(
          String.format(
              "%s: the block of map %d at %d has crc32c %08x, its index says %08x",
              path, block.mapId, block.offset, (int) crc.getValue(), block.crc));
    }
  }

  /** Gives the descriptor back; the next block that is not in the window opens the file again. */
  void closeFile() {
    if (channel != null) {
      try {
        channel.close();
      } catch (IOException ignored) {
        // It was only read.
      }
      channel = null;
    }
  }

  @Override
  public void close() {
    closeFile();
    window = new byte[0];
    windowLength = 0;
  }

  private final class WindowStream extends InputStream {
    private final byte[] bytes;
    private int at;
    private int left;
    private boolean closed;

    WindowStream(byte[] bytes, int at, int length) {
      this.bytes = bytes;
      this.at = at;
      this.left = length;
    }

    @Override
    public int read() {
      if (left == 0) {
        return -1;
      }
      --left;
      return bytes[at++] & 0xFF;
    }

    @Override
    public int read(byte[] into, int offset, int length) {
      if (left == 0) {
        return length == 0 ? 0 : -1;
      }
      int n = Math.min(length, left);
      System.arraycopy(bytes, at, into, offset, n);
      at += n;
      left -= n;
      return n;
    }

    @Override
    public long skip(long wanted) {
      int n = (int) Math.max(0, Math.min(wanted, left));
      at += n;
      left -= n;
      return n;
    }

    @Override
    public int available() {
      return left;
    }

    @Override
    public void close() {
      if (!closed && bytes == window && readers > 0) {
        --readers;
      }
      closed = true;
      left = 0;
    }
  }

  /** The second pass over a large block: checked again, in case the file has changed since. */
  private final class LargeStream extends InputStream {
    private final MergedBlock block;
    private final byte[] piece;
    private final CRC32C crc = new CRC32C();
    private long fetched;
    private int at;
    private int filled;

    LargeStream(MergedBlock block, byte[] piece) {
      this.block = block;
      this.piece = piece;
    }

    private boolean fill() throws IOException {
      if (at < filled) {
        return true;
      }
      if (fetched == block.length) {
        return false;
      }
      int step = (int) Math.min(piece.length, block.length - fetched);
      readFully(ByteBuffer.wrap(piece, 0, step), block.offset + fetched, step);
      crc.update(piece, 0, step);
      fetched += step;
      at = 0;
      filled = step;
      if (fetched == block.length) {
        check(block, crc);
      }
      return true;
    }

    @Override
    public int read() throws IOException {
      return fill() ? piece[at++] & 0xFF : -1;
    }

    @Override
    public int read(byte[] into, int offset, int length) throws IOException {
      if (length == 0) {
        return 0;
      }
      if (!fill()) {
        return -1;
      }
      int n = Math.min(length, filled - at);
      System.arraycopy(piece, at, into, offset, n);
      at += n;
      return n;
    }

    @Override
    public int available() {
      return filled - at;
    }
  }
}
