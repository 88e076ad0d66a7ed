package org.shufflefs.spark;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.zip.CRC32C;

/**
 * The client's own file formats, without Spark: random indexes and merged files, whole, cut and with
 * flipped bits. Ends with an AssertionError if bytes are handed out that are not the block's, or if
 * anything but an IOException comes of damage. Argument: a directory for temporary files.
 */
public final class ClientFiles {
  private static final int SHUFFLE = 3;
  private static final int PARTITION = 5;

  private static void require(boolean condition, String text) {
    if (!condition) {
      throw new AssertionError(text);
    }
  }

  private static int crc(byte[] bytes, int from, int length) {
    CRC32C crc = new CRC32C();
    crc.update(bytes, from, length);
    return (int) crc.getValue();
  }

  private static byte[] record(ByteBuffer filled) {
    byte[] bytes = filled.array();
    filled.putInt(52, crc(bytes, 0, 52));
    return bytes;
  }

  private static ByteBuffer empty() {
    return ByteBuffer.allocate(56).order(ByteOrder.LITTLE_ENDIAN);
  }

  private static byte[] index(List<PartitionIndex.Entry> entries) {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    ByteBuffer header = empty().put("SFSINDEX".getBytes()).putInt(2).putInt(56);
    bytes.writeBytes(record(header.putInt(SHUFFLE).putInt(PARTITION)));
    for (PartitionIndex.Entry e : entries) {
      ByteBuffer one = empty().putLong(e.mapId).putLong(e.offset).putLong(e.length);
      bytes.writeBytes(record(one.putLong(7).putLong(8).putInt(0).putInt(e.crc)));
    }
    return bytes.toByteArray();
  }

  private static void indexes(Random random) throws IOException {
    for (int round = 0; round < 300; ++round) {
      List<PartitionIndex.Entry> entries = new ArrayList<>();
      long offset = 0;
      for (int i = random.nextInt(20); i > 0; --i) {
        long length = 1 + random.nextInt(1 << 20);
        entries.add(
            new PartitionIndex.Entry(random.nextLong() >>> 1, offset, length, random.nextInt()));
        offset += length;
      }
      byte[] good = index(entries);
      List<PartitionIndex.Entry> back = PartitionIndex.parse(good, SHUFFLE, PARTITION, "good");
      require(back.size() == entries.size(), "entries are lost");
      for (int i = 0; i < back.size(); ++i) {
        require(back.get(i).mapId == entries.get(i).mapId, "another map id");
        require(back.get(i).offset == entries.get(i).offset, "another offset");
        require(back.get(i).length == entries.get(i).length, "another length");
        require(back.get(i).crc == entries.get(i).crc, "another checksum");
      }
      refused(good, SHUFFLE + 1);
      byte[] flipped = good.clone();
      flipped[random.nextInt(good.length)] ^= (byte) (1 << random.nextInt(8));
      refused(flipped, SHUFFLE);
      int cut = random.nextInt(good.length);
      if (cut % 56 != 0 || cut == 0) {
        refused(Arrays.copyOf(good, cut), SHUFFLE);
      }
      byte[] noise = new byte[random.nextInt(200)];
      random.nextBytes(noise);
      refused(noise, SHUFFLE);
    }
  }

  private static void refused(byte[] bytes, int shuffle) {
    try {
      PartitionIndex.parse(bytes, shuffle, PARTITION, "bad");
    } catch (IOException expected) {
      return;
    }
    throw new AssertionError("damage was not noticed");
  }

  private static void files(Path directory, Random random, int round, int largest)
      throws IOException {
    ByteArrayOutputStream file = new ByteArrayOutputStream();
    List<MergedBlock> blocks = new ArrayList<>();
    for (int map = 0; map < 1 + random.nextInt(12); ++map) {
      byte[] block = new byte[1 + random.nextInt(largest)];
      random.nextBytes(block);
      PartitionIndex.Entry entry =
          new PartitionIndex.Entry(map, file.size(), block.length, crc(block, 0, block.length));
      file.writeBytes(block);
      if (random.nextInt(4) > 0) { // the others are not wanted: holes for the reader
        blocks.add(new MergedBlock(SHUFFLE, map, entry, PARTITION, null));
      }
    }
    byte[] good = file.toByteArray();
    Path path = directory.resolve("merged-" + round);
    Files.write(path, good);
    require(read(path, blocks, good, random) == blocks.size(), "not all blocks were read");

    byte[] flipped = good.clone();
    int at = random.nextInt(good.length);
    flipped[at] ^= 1;
    Files.write(path, flipped);
    long hit = blocks.stream().filter(b -> b.offset <= at && at < b.offset + b.length).count();
    require(read(path, blocks, good, random) == blocks.size() - hit, "the wrong block was refused");

    Files.write(path, Arrays.copyOf(good, at));
    long whole = blocks.stream().filter(b -> b.offset + b.length <= at).count();
    require(read(path, blocks, good, random) == whole, "of a cut file another number was read");
    Files.delete(path);
    require(read(path, blocks, good, random) == 0, "something was read of no file");
  }

  /** How many blocks could be read; each is compared. Some streams are left open for a while. */
  private static int read(Path path, List<MergedBlock> blocks, byte[] good, Random random)
      throws IOException {
    int readable = 0;
    List<InputStream> open = new ArrayList<>();
    long end = blocks.isEmpty() ? 0 : last(blocks).offset + last(blocks).length;
    try (MergedFile file = new MergedFile(new MountIo(60_000), path, end)) {
      List<MergedBlock> opened = new ArrayList<>();
      for (MergedBlock block : blocks) {
        try {
          open.add(file.open(block, ClientFiles::noOrigin));
          opened.add(block);
        } catch (MergedFile.Corrupt | EOFException | java.nio.file.NoSuchFileException e) {
          continue;
        }
        if (random.nextBoolean()) {
          readable += drain(open, opened, good);
        }
      }
      readable += drain(open, opened, good);
    }
    return readable;
  }

  private static InputStream noOrigin(IOException why) throws IOException {
    throw why;
  }

  /** After its first part was handed out the file is not what it was: the rest is the origin's. */
  private static void largeBlockThatIsLost(Path directory, Random random, boolean cut)
      throws IOException {
    byte[] good = new byte[MergedFile.LARGE_BLOCK + 1000];
    random.nextBytes(good);
    Path path = directory.resolve("large");
    Files.write(path, good);
    PartitionIndex.Entry entry =
        new PartitionIndex.Entry(1, 0, good.length, crc(good, 0, good.length));
    MergedBlock block = new MergedBlock(SHUFFLE, 1, entry, PARTITION, null);
    List<IOException> reasons = new ArrayList<>();
    MergedFile.Origin origin =
        why -> {
          reasons.add(why);
          return new ByteArrayInputStream(good);
        };
    try (MergedFile file = new MergedFile(new MountIo(60_000), path, good.length);
        InputStream bytes = file.open(block, origin)) {
      byte[] first = bytes.readNBytes(3 << 20);
      byte[] other = good.clone();
      other[5 << 20] ^= 1;
      Files.write(path, cut ? Arrays.copyOf(good, 5 << 20) : other);
      byte[] rest = bytes.readAllBytes();
      require(Arrays.equals(first, Arrays.copyOf(good, first.length)), "other bytes at first");
      require(
          Arrays.equals(rest, Arrays.copyOfRange(good, first.length, good.length)),
          "other bytes than the block's after its file has changed");
    }
    require(reasons.size() == 1, "the origin was asked " + reasons.size() + " times");
    require(
        reasons.get(0) instanceof MergedFile.Corrupt != cut, "another reason: " + reasons.get(0));
  }

  private static MergedBlock last(List<MergedBlock> blocks) {
    return blocks.get(blocks.size() - 1);
  }

  private static int drain(List<InputStream> open, List<MergedBlock> blocks, byte[] good)
      throws IOException {
    for (int i = 0; i < open.size(); ++i) {
      MergedBlock block = blocks.get(i);
      int from = (int) block.offset;
      try (InputStream stream = open.get(i)) {
        byte[] got = stream.readAllBytes();
        require(
            Arrays.equals(got, Arrays.copyOfRange(good, from, from + (int) block.length)),
            "other bytes than the block's");
      }
    }
    int n = open.size();
    open.clear();
    blocks.clear();
    return n;
  }

  public static void main(String[] arguments) throws IOException {
    Random random = new Random(7);
    Path directory = Path.of(arguments[0]);
    indexes(random);
    for (int round = 0; round < 60; ++round) {
      files(directory, random, round, round % 3 == 0 ? 400_000 : 5_000);
    }
    files(directory, random, 100, MergedFile.LARGE_BLOCK + (4 << 20)); // read twice
    largeBlockThatIsLost(directory, random, false);
    largeBlockThatIsLost(directory, random, true);
    System.out.println("ok");
  }
}
