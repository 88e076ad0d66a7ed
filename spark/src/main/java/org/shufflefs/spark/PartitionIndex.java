package org.shufflefs.spark;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.zip.CRC32C;

/**
 * The index of a merged partition: which map outputs' blocks are in it, and where (docs/formats.md).
 * Pure but for read(); any thread. Cost: one open, and 56 bytes for each block.
 */
final class PartitionIndex {
  static final class Entry {
    final long mapId;
    final long offset;
    final long length;
    final int crc;

    Entry(long mapId, long offset, long length, int crc) {
      this.mapId = mapId;
      this.offset = offset;
      this.length = length;
      this.crc = crc;
    }
  }

  /** The bytes are not such an index. */
  static final class Damaged extends IOException {
    private static final long serialVersionUID = 1;

    Damaged(String message) {
      super(message);
    }
  }

  private static final int RECORD_BYTES = 56;
  private static final long MAGIC = 0x5845444E49534653L; // "SFSINDEX", little-endian
  private static final int VERSION = 2;

  private PartitionIndex() {}

  /** In file order. */
  static List<Entry> read(MountIo io, Path path, int shuffle, int partition) throws IOException {
    byte[] bytes = io.call(path, () -> Files.readAllBytes(path));
    return parse(bytes, shuffle, partition, path.toString());
  }

  static List<Entry> parse(byte[] bytes, int shuffle, int partition, String name)
      throws Damaged {
    ByteBuffer buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    if (bytes.length < RECORD_BYTES
        || bytes.length % RECORD_BYTES != 0
        || !isSealed(bytes, 0)
        || buffer.getLong(0) != MAGIC
        || buffer.getInt(8) != VERSION
        || buffer.getInt(12) != RECORD_BYTES
        || buffer.getInt(16) != shuffle
        || buffer.getInt(20) != partition) {
      throw new Damaged(
          name + " is not an index of partition " + partition + " of shuffle " + shuffle);
    }
    List<Entry> entries = new ArrayList<>(bytes.length / RECORD_BYTES - 1);
    for (int at = RECORD_BYTES; at < bytes.length; at += RECORD_BYTES) {
      long offset = buffer.getLong(at + 8);
      long length = buffer.getLong(at + 16);
      if (!isSealed(bytes, at) || offset < 0 || length <= 0 || offset > Long.MAX_VALUE - length) {
        throw new Damaged(name + ": the record at " + at + " is damaged");
      }
      entries.add(new Entry(buffer.getLong(at), offset, length, buffer.getInt(at + 44)));
    }
    return entries;
  }

  private static boolean isSealed(byte[] bytes, int at) {
    CRC32C crc = new CRC32C();
    crc.update(bytes, at, RECORD_BYTES - 4);
    int stored =
        ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).getInt(at + RECORD_BYTES - 4);
    return (int) crc.getValue() == stored;
  }
}
