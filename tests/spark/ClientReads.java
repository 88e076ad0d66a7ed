package org.shufflefs.spark;

import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.zip.CRC32C;
import org.apache.spark.SparkConf;
import org.apache.spark.executor.TempShuffleReadMetrics;
import org.apache.spark.storage.BlockId;
import org.apache.spark.storage.BlockManagerId;
import org.apache.spark.storage.ShuffleBlockId;
import scala.Option;
import scala.Tuple2;
import scala.Tuple3;
import scala.collection.JavaConverters;
import scala.collection.Seq;

/**
 * What one reader does with a mount, without Spark running: directories and files stand for the
 * mount, a pipe that nobody writes to for one that hangs. Ends with an AssertionError if something
 * is not as it should be. Argument: a directory for temporary files. To be run with little memory.
 */
public final class ClientReads {
  private static final String APP = "app";
  private static final int SHUFFLE = 3;
  private static final long PATIENCE_MS = 300;

  private static Path root;

  private static void require(boolean condition, String text) {
    if (!condition) {
      throw new AssertionError(text);
    }
  }

  private static NodeMount mount(MountIo io) {
    return NodeMount.find(io, new File[] {root.resolve("local/disk0/spark").toFile()})
        .orElseThrow(() -> new AssertionError("the mount is not found"));
  }

  private static byte[] sealed(ByteBuffer record) {
    CRC32C crc = new CRC32C();
    crc.update(record.array(), 0, 52);
    return record.putInt(52, (int) crc.getValue()).array();
  }

  private static ByteBuffer empty() {
    return ByteBuffer.allocate(56).order(ByteOrder.LITTLE_ENDIAN);
  }

  private static byte[] block(long map, int partition, int length) {
    byte[] bytes = new byte[length];
    Arrays.fill(bytes, (byte) (map * 31 + partition));
    return bytes;
  }

  /** A merged partition with a block of each of the maps, in this order. */
  private static void merged(int partition, int length, long... maps) throws IOException {
    Path directory = root.resolve("shuffles/" + APP + "/" + SHUFFLE + "/partitions");
    Files.createDirectories(directory);
    ByteArrayOutputStream index = new ByteArrayOutputStream();
    ByteArrayOutputStream data = new ByteArrayOutputStream();
    ByteBuffer header = empty().put("SFSINDEX".getBytes()).putInt(2).putInt(56);
    index.writeBytes(sealed(header.putInt(SHUFFLE).putInt(partition)));
    for (long map : maps) {
      byte[] bytes = block(map, partition, length);
      CRC32C crc = new CRC32C();
      crc.update(bytes);
      ByteBuffer record = empty().putLong(map).putLong(data.size()).putLong(length);
      record.putLong(7).putLong(8).putInt(0).putInt((int) crc.getValue());
      index.writeBytes(sealed(record));
      data.writeBytes(bytes);
    }
    Files.write(directory.resolve(partition + ".index"), index.toByteArray());
    Files.write(directory.resolve(partition + ".merged"), data.toByteArray());
  }

  private static Path index(int partition) {
    return root.resolve("shuffles/" + APP + "/" + SHUFFLE + "/partitions/" + partition + ".index");
  }

  /** The merged ones of maps x partitions, as the planner finds them. */
  private static MergedReads plan(NodeMount mount, int maps, int partitions) {
    MergedReads reads =
        new MergedReads(
            mount,
            APP,
            SHUFFLE,
            null,
            new TempShuffleReadMetrics(),
            new OriginFetcher(null, null, null, PATIENCE_MS, 0),
            new Counts());
    List<Tuple3<BlockId, Object, Object>> blocks = new ArrayList<>();
    for (int map = 0; map < maps; ++map) {
      for (int partition = 0; partition < partitions; ++partition) {
        blocks.add(new Tuple3<>(new ShuffleBlockId(SHUFFLE, map, partition), 1L, map));
      }
    }
    BlockManagerId origin = BlockManagerId.apply("1", "host", 1, Option.empty());
    Seq<Tuple3<BlockId, Object, Object>> all = JavaConverters.asScalaBufferConverter(blocks).asScala();
    new ReadPlanner(mount, APP, SHUFFLE, new Counts(), null)
        .plan(
            JavaConverters.asScalaIteratorConverter(List.of(new Tuple2<>(origin, all)).iterator())
                .asScala(),
            0,
            partitions,
            reads);
    return reads;
  }

  private static void readInTurn() throws Exception {
    for (int partition = 0; partition < 4; ++partition) {
      merged(partition, 1000 + partition, 2, 0, 1);
    }
    MergedReads reads = plan(mount(new MountIo(PATIENCE_MS)), 3, 4);
    ByteArrayOutputStream wanted = new ByteArrayOutputStream();
    for (int partition = 0; partition < 4; ++partition) {
      wanted.writeBytes(block(1, partition, 1000 + partition));
    }
    try (InputStream bytes = reads.open(reads.find(SHUFFLE, 1, 0, 4))) {
      require(Arrays.equals(bytes.readAllBytes(), wanted.toByteArray()), "other bytes");
    }
    reads.close();
  }

  /** Of a map output's blocks in hundreds of partitions one at a time is in memory. */
  private static void manyPartitions() throws Exception {
    int partitions = 600;
    int length = 120_000;
    for (int partition = 0; partition < partitions; ++partition) {
      merged(partition, length, 0, 1);
    }
    MergedReads reads = plan(mount(new MountIo(PATIENCE_MS)), 2, partitions);
    List<MergedBlock> blocks = reads.find(SHUFFLE, 1, 0, partitions);
    require(blocks.size() == partitions, "not all are merged");
    try (InputStream bytes = reads.open(blocks)) {
      long read = 0;
      byte[] some = new byte[1 << 16];
      for (int n = bytes.read(some); n >= 0; n = bytes.read(some)) {
        read += n;
      }
      require(read == (long) partitions * length, "another number of bytes");
    }
    reads.close();
  }

  private static void damagedIndex() throws Exception {
    for (int partition = 0; partition < 3; ++partition) {
      merged(partition, 100, 0, 1);
    }
    byte[] bytes = Files.readAllBytes(index(1));
    bytes[50] ^= 1;
    Files.write(index(1), bytes);
    MergedReads reads = plan(mount(new MountIo(PATIENCE_MS)), 2, 3);
    require(reads.find(0, 1) == null, "a damaged index is believed");
    require(reads.find(0, 0) != null && reads.find(0, 2) != null, "the other partitions are lost");
  }

  private static void blockThatIsNamedTwice() throws Exception {
    merged(0, 100, 1, 0, 1);
    MergedReads reads = plan(mount(new MountIo(PATIENCE_MS)), 2, 1);
    require(reads.inFileOrder().size() == 2, "a block would be read twice");
  }

  private static void hungMount() throws Exception {
    for (int partition = 0; partition < 2; ++partition) {
      merged(partition, 100, 0);
    }
    MountIo io = new MountIo(PATIENCE_MS);
    NodeMount mount = mount(io);
    Files.delete(index(0));
    int made = new ProcessBuilder("mkfifo", index(0).toString()).start().waitFor();
    require(made == 0, "mkfifo");
    require(plan(mount, 1, 2).isEmpty(), "something was read of a mount that hangs");
    try {
      io.call("again", () -> 0);
      throw new AssertionError("a mount that hangs is asked again");
    } catch (IOException expected) {
      // At once.
    }
    new FileOutputStream(index(0).toFile()).close(); // whoever hangs there reads an empty file
    Files.delete(index(0));
    while (plan(mount, 1, 2).isEmpty()) {
      Thread.sleep(10); // until the thread has come back
    }
  }

  private static void interrupted() throws Exception {
    Files.deleteIfExists(index(0));
    require(new ProcessBuilder("mkfifo", index(0).toString()).start().waitFor() == 0, "mkfifo");
    Thread.currentThread().interrupt();
    try {
      new MountIo(1000 * PATIENCE_MS).call("pipe", () -> Files.readAllBytes(index(0)));
      throw new AssertionError("a task that is killed goes on waiting");
    } catch (java.nio.channels.ClosedByInterruptException expected) {
      require(Thread.interrupted(), "the interrupt is forgotten");
    }
  }

  private static void oldProtocol() {
    SparkConf conf = new SparkConf(false).set("spark.shuffle.useOldFetchProtocol", "true");
    MergedShuffles shuffles =
        new MergedShuffles(
            conf, false, new ShufflefsManager(conf, false).shuffleBlockResolver(), new ClientSwitch());
    require(shuffles.findMount().isEmpty(), "map ids name no bytes");
  }

  public static void main(String[] arguments) throws Exception {
    root = Path.of(arguments[0]);
    Files.createDirectories(root.resolve("local/disk0/spark"));
    Files.createDirectories(root.resolve(".shufflefs"));
    Files.writeString(root.resolve(".shufflefs/node"), "node1\n");
    Files.writeString(root.resolve(".shufflefs/replicate"), "all\n");
    readInTurn();
    manyPartitions();
    damagedIndex();
    blockThatIsNamedTwice();
    hungMount();
    interrupted();
    oldProtocol();
    System.out.println("ok");
  }
}
