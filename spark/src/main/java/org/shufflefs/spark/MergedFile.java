package org.shufflefs.spark;

import java.io.Closeable;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.ClosedByInterruptException;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.zip.CRC32C;

/**
 * A merged partition's file, read front to back in large pieces and checked block by block. Bytes
 * are handed out only after their checksum has been seen to be right.
 *
 * <p>One thread. Memory: a window of 1 MiB and one block; blocks above LARGE_BLOCK are read twice
 * instead, once to check them, and once to hand them out piece by piece. Failure: IOException of the
 * file, EOFException if it is too short, {@link Corrupt} for a wrong checksum.
 */
final class MergedFile implements Closeable {
  static final class Corrupt extends IOException {
    private static final long serialVersionUID = 1;

    Corrupt(String message) {
      super(message);
    }
  }

  /** Where the bytes of a block can be had that fails when some of it was handed out already. */
  interface Origin {
    InputStream open(IOException why) throws IOException;
  }

  static final int WINDOW_BYTES = 1 << 20;
  static final int LARGE_BLOCK = 16 << 20;

  private static final class Answer {
    final FileChannel channel;
    final int bytes;

    Answer(FileChannel channel, int bytes) {
      this.channel = channel;
      this.bytes = bytes;
    }
  }

  private final MountIo io;
  private final Path path;
  /** Where the last wanted block ends: nothing behind it is read. */
  private final long end;

  private FileChannel channel;
  private byte[] window = new byte[0];
  private long windowStart;
  private int windowLength;
  /** Streams that still read the window: then it is not overwritten. */
  private int readers;

  MergedFile(MountIo io, Path path, long end) {
    this.io = io;
    this.path = path;
    this.end = end;
  }

  InputStream open(MergedBlock block, Origin origin) throws IOException {
    return block.length > LARGE_BLOCK ? openLarge(block, origin) : openInWindow(block);
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
      window = new byte[Math.max(wanted, (int) Math.min(WINDOW_BYTES + needed, end - offset))];
      readers = 0;
    }
    if (kept > 0) {
      System.arraycopy(old, (int) (offset - windowStart), window, 0, kept);
    }
    windowStart = offset;
    windowLength = kept;
    try {
      // What is behind the needed block may be missing: its own turn will tell.
      windowLength += readFully(window, kept, wanted - kept, from, needed - kept);
    } catch (IOException e) {
      dropWindow(); // somebody may still be writing to it
      throw e;
    }
  }

  private void dropWindow() {
    window = new byte[0];
    windowLength = 0;
    readers = 0;
  }

  private int readFully(byte[] into, int at, int length, long offset, int needed)
      throws IOException {
    FileChannel known = channel;
    channel = null; // until it has come back
    Answer answer =
        io.call(
            path,
            () -> readFully(known, ByteBuffer.wrap(into, at, length), offset),
            late -> late.channel.close());
    channel = answer.channel;
    if (answer.bytes < needed) {
      throw new EOFException(path + " ends at " + (offset + answer.bytes));
    }
    return answer.bytes;
  }

  /** Opens the file if it is not `known`; what is open is closed on failure. */
  private Answer readFully(FileChannel known, ByteBuffer into, long offset) throws IOException {
    FileChannel file = known == null ? FileChannel.open(path, StandardOpenOption.READ) : known;
    try {
      int start = into.position();
      while (into.hasRemaining()) {
        if (file.read(into, offset + into.position() - start) < 0) {
          break;
        }
      }
      return new Answer(file, into.position() - start);
    } catch (IOException | RuntimeException e) {
      file.close();
      throw e;
    }
  }

  private InputStream openLarge(MergedBlock block, Origin origin) throws IOException {
    byte[] piece = new byte[WINDOW_BYTES];
    int[] sums = new int[(int) ((block.length + WINDOW_BYTES - 1) / WINDOW_BYTES)];
    CRC32C crc = new CRC32C();
    for (long done = 0; done < block.length; ) {
      int step = (int) Math.min(piece.length, block.length - done);
      readFully(piece, 0, step, block.offset + done, step);
      crc.update(piece, 0, step);
      sums[(int) (done / WINDOW_BYTES)] = sum(piece, step);
      done += step;
    }
    check(block, crc);
    return new LargeStream(block, origin, piece, sums);
  }

  private static int sum(byte[] bytes, int length) {
    CRC32C crc = new CRC32C();
    crc.update(bytes, 0, length);
    return (int) crc.getValue();
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
    dropWindow();
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

  /**
   * The second pass over a large block. Each piece must be what it was in the first one; otherwise, or
   * if it cannot be read any more, the rest comes from the origin.
   */
  private final class LargeStream extends InputStream {
    private final MergedBlock block;
    private final Origin origin;
    private final int[] sums; // crc32c of the pieces
    private byte[] piece;
    private long fetched;
    private int at;
    private int filled;
    private InputStream rest; // at the origin; null: not needed so far

    LargeStream(MergedBlock block, Origin origin, byte[] piece, int[] sums) {
      this.block = block;
      this.origin = origin;
      this.piece = piece;
      this.sums = sums;
    }

    /** False: the block ends here, or the rest is to be read at its origin. */
    private boolean fill() throws IOException {
      if (at < filled) {
        return true;
      }
      if (rest != null || fetched == block.length) {
        return false;
      }
      int step = (int) Math.min(piece.length, block.length - fetched);
      try {
        readFully(piece, 0, step, block.offset + fetched, step);
        if (sum(piece, step) != sums[(int) (fetched / WINDOW_BYTES)]) {
          throw new Corrupt(
              path + ": the block of map " + block.mapId + " has changed while it was read");
        }
      } catch (ClosedByInterruptException e) {
        throw e;
      } catch (IOException e) {
        piece = new byte[0]; // somebody may still be writing to it
        filled = 0;
        at = 0;
        rest = origin.open(e);
        skip(rest, fetched);
        return false;
      }
      fetched += step;
      at = 0;
      filled = step;
      return true;
    }

    private void skip(InputStream stream, long bytes) throws IOException {
      byte[] ignored = new byte[1 << 16];
      for (long left = bytes; left > 0; ) {
        int n = stream.read(ignored, 0, (int) Math.min(ignored.length, left));
        if (n < 0) {
          throw new EOFException("the block of map " + block.mapId + " is shorter at its origin");
        }
        left -= n;
      }
    }

    @Override
    public int read() throws IOException {
      if (fill()) {
        return piece[at++] & 0xFF;
      }
      return rest == null ? -1 : rest.read();
    }

    @Override
    public int read(byte[] into, int offset, int length) throws IOException {
      if (length == 0) {
        return 0;
      }
      if (!fill()) {
        return rest == null ? -1 : rest.read(into, offset, length);
      }
      int n = Math.min(length, filled - at);
      System.arraycopy(piece, at, into, offset, n);
      at += n;
      return n;
    }

    @Override
    public int available() throws IOException {
      return rest == null ? filled - at : rest.available();
    }

    @Override
    public void close() throws IOException {
      if (rest != null) {
        rest.close();
      }
    }
  }
}
