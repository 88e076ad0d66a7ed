package org.shufflefs.spark;

import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Properties;
import java.util.Random;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.apache.commons.crypto.random.CryptoRandom;
import org.apache.spark.HashPartitioner;
import org.apache.spark.ShuffleDependency;
import org.apache.spark.SparkConf;
import org.apache.spark.SparkEnv;
import org.apache.spark.TaskContext;
import org.apache.spark.TaskKilledException;
import org.apache.spark.api.java.JavaPairRDD;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.executor.ShuffleWriteMetrics;
import org.apache.spark.shuffle.api.ShuffleDataIO;
import org.apache.spark.shuffle.api.ShuffleExecutorComponents;
import org.apache.spark.shuffle.sort.SparksWriters;
import org.apache.spark.shuffle.sort.io.LocalDiskShuffleDataIO;
import scala.Product2;
import scala.Tuple2;

/**
 * Map outputs of the client and of Spark, byte for byte: Spark's interface is given the same calls on
 * both, Spark's writers the same records, and whole jobs are run with both managers. Ends with an AssertionError if a file differs
 * or is missing. Argument: a directory for temporary files.
 */
public final class ClientWrites {
  private static final String PLUGIN = "spark.shuffle.sort.io.plugin.class";
  private static final String SPILL = "spark.shuffle.spill.numElementsForceSpillThreshold";
  private static final String TRANSFER = "spark.file.transferTo";
  private static final String FAST_MERGE = "spark.shuffle.unsafe.fastMergeEnabled";
  private static final int NEVER = Integer.MAX_VALUE;

  private static Path root;
  private static JavaSparkContext context;
  private static Runnable current;
  private static long nextMap;

  /** For encryption that gives the same bytes each time. */
  public static final class NoRandom implements CryptoRandom {
    public NoRandom(Properties ignored) {}

    @Override
    public void nextBytes(byte[] bytes) {
      Arrays.fill(bytes, (byte) 7);
    }

    @Override
    public void close() {}
  }

  private static void require(boolean condition, String text) {
    if (!condition) {
      throw new AssertionError(text);
    }
  }

  // ---- Records

  private static Product2<Integer, byte[]> record(int partition, int length, int seed) {
    byte[] value = new byte[length];
    new Random(seed).nextBytes(value);
    Arrays.fill(value, 0, length / 2, (byte) partition); // something to compress
    return new Tuple2<>(partition, value);
  }

  /** Of several lengths; each seventh partition stays empty. */
  private static List<Product2<Integer, byte[]>> records(int partitions, int count, int largest) {
    List<Product2<Integer, byte[]>> records = new ArrayList<>();
    Random random = new Random(count);
    for (int i = 0; i < count; ++i) {
      int partition = random.nextInt(partitions);
      if (partition % 7 != 3) {
        records.add(record(partition, random.nextInt(largest), i));
      }
    }
    return records;
  }

  // ---- Both writers, in a task

  private static ShuffleDependency<Integer, byte[], byte[]> dependency(int partitions) {
    List<Tuple2<Integer, byte[]>> none = Collections.emptyList();
    JavaPairRDD<Integer, byte[]> shuffled =
        context.parallelizePairs(none, 1).partitionBy(new HashPartitioner(partitions));
    @SuppressWarnings("unchecked")
    ShuffleDependency<Integer, byte[], byte[]> found =
        (ShuffleDependency<Integer, byte[], byte[]>) shuffled.rdd().dependencies().head();
    return found;
  }

  private static ShuffleExecutorComponents components(boolean client) {
    SparkConf conf = SparkEnv.get().conf();
    ShuffleDataIO io = client ? new ShufflefsDataIO(conf) : new LocalDiskShuffleDataIO(conf);
    ShuffleExecutorComponents made = io.executor();
    made.initializeExecutor("app", "driver", Map.of());
    return made;
  }

  /** {what its name has after `begin`: its bytes} of the files below the directory. */
  private static Map<String, byte[]> files(Path directory, String begin) {
    Map<String, byte[]> found = new TreeMap<>();
    try (Stream<Path> all = Files.walk(directory)) {
      for (Path path : (Iterable<Path>) all::iterator) {
        String name = path.getFileName().toString();
        if (name.startsWith(begin)) {
          // What a task that was ended has left has a random name.
          String ending = name.substring(begin.length()).replaceAll("\\.[0-9a-f-]{36}$", ".tmp");
          found.put(ending, Files.readAllBytes(path));
        }
      }
    } catch (IOException e) {
      throw new AssertionError(e);
    }
    return found;
  }

  private static void same(String what, Map<String, byte[]> sparks, Map<String, byte[]> ours) {
    require(
        sparks.keySet().equals(ours.keySet()), what + ": " + sparks.keySet() + ", " + ours.keySet());
    sparks.forEach(
        (ending, bytes) -> {
          int at = Arrays.mismatch(bytes, ours.get(ending));
          require(
              at < 0,
              what + ": " + ending + " differs from byte " + at + " on; it has " + bytes.length
                  + " bytes, ours " + ours.get(ending).length);
        });
  }

  /** What came of a map output. */
  private static final class Outcome {
    Map<String, byte[]> files;
    long[] lengths;
    long bytesCounted;
    Throwable failure;
  }

  private static Outcome write(
      boolean client,
      SparksWriters writer,
      ShuffleDependency<Integer, byte[], byte[]> dependency,
      Iterator<Product2<Integer, byte[]>> records) {
    Outcome outcome = new Outcome();
    long map = nextMap++;
    ShuffleWriteMetrics metrics = TaskContext.get().taskMetrics().shuffleWriteMetrics();
    long before = metrics.bytesWritten();
    try {
      ShuffleExecutorComponents components = components(client);
      require(
          components.createMapOutputWriter(9999, 1, 1) instanceof MapOutput == client,
          "the wrong one writes");
      outcome.lengths = writer.write(dependency, map, components, records);
    } catch (IOException | RuntimeException e) {
      outcome.failure = e;
    }
    Thread.interrupted(); // that a test has set
    outcome.bytesCounted = metrics.bytesWritten() - before;
    outcome.files = written(dependency, map);
    return outcome;
  }

  private static Map<String, byte[]> written(
      ShuffleDependency<Integer, byte[], byte[]> dependency, long map) {
    File[] dirs = SparkEnv.get().blockManager().diskBlockManager().localDirs();
    return files(dirs[0].toPath(), "shuffle_" + dependency.shuffleId() + "_" + map + "_0.");
  }

  private static void check(
      String what,
      SparksWriters writer,
      ShuffleDependency<Integer, byte[], byte[]> dependency,
      List<Product2<Integer, byte[]>> records) {
    Outcome sparks = write(false, writer, dependency, records.iterator());
    Outcome ours = write(true, writer, dependency, records.iterator());
    require(sparks.failure == null && ours.failure == null, what + " has failed: " + ours.failure);
    same(what, sparks.files, ours.files);
    require(Arrays.equals(sparks.lengths, ours.lengths), what + ": other lengths");
    require(sparks.bytesCounted == ours.bytesCounted, what + ": other metrics");
    require(ours.files.containsKey("data") != records.isEmpty(), what + ": a data file, or none");
  }

  private static void set(int spillEach, boolean transfer, boolean fastMerge) {
    SparkConf conf = SparkEnv.get().conf();
    conf.set(SPILL, Integer.toString(spillEach));
    conf.set(TRANSFER, Boolean.toString(transfer));
    conf.set(FAST_MERGE, Boolean.toString(fastMerge));
  }

  private static void allWriters() {
    ShuffleDependency<Integer, byte[], byte[]> few = dependency(200);
    List<Product2<Integer, byte[]>> records = records(200, 2000, 4000);
    List<Product2<Integer, byte[]>> large = records(200, 30, 2 << 20);
    for (int seed = 0; seed < 6; ++seed) {
      boolean commits = seed < 4;
      long map = nextMap;
      nextMap += 2;
      MapOutputCalls.make(components(false), few.shuffleId(), map, seed, commits);
      MapOutputCalls.make(components(true), few.shuffleId(), map + 1, seed, commits);
      Map<String, byte[]> ours = written(few, map + 1);
      same("calls", written(few, map), ours);
      require(ours.isEmpty() != commits, "calls: " + ours.keySet());
    }
    for (SparksWriters writer : SparksWriters.values()) {
      set(NEVER, true, true);
      check(writer + ", nothing", writer, few, List.of());
      check(writer + ", large records", writer, few, large);
      check(writer.toString(), writer, few, records);
      set(NEVER, false, true);
      check(writer + ", no transferTo", writer, few, records);
      if (writer != SparksWriters.BYPASS) {
        for (boolean transfer : new boolean[] {true, false}) {
          set(1000, transfer, true);
          check(writer + ", spills, transferTo " + transfer, writer, few, records);
          set(10, transfer, true);
          check(writer + ", large spills, transferTo " + transfer, writer, few, large);
        }
        if (SparkEnv.get().conf().getBoolean("spark.shuffle.compress", true)) {
          set(1000, true, false);
          check(writer + ", a slow merge", writer, few, records);
        }
      }
      ended(writer, few, records);
      again(writer, few, records);
    }
  }

  private static void manyPartitions() {
    ShuffleDependency<Integer, byte[], byte[]> many = dependency(16_000);
    List<Product2<Integer, byte[]>> records = records(16_000, 20_000, 100);
    for (int spillEach : new int[] {NEVER, 8000}) {
      set(spillEach, true, true);
      check("16,000 partitions", SparksWriters.UNSAFE, many, records);
      check("16,000 partitions", SparksWriters.SORT, many, records);
    }
  }

  // ---- What ends in the middle

  private static void ended(
      SparksWriters writer,
      ShuffleDependency<Integer, byte[], byte[]> few,
      List<Product2<Integer, byte[]>> records) {
    set(writer == SparksWriters.BYPASS ? NEVER : 1000, true, true);
    for (boolean atTheEnd : new boolean[] {true, false}) {
      Outcome sparks = write(false, writer, few, ending(records, atTheEnd));
      Outcome ours = write(true, writer, few, ending(records, atTheEnd));
      String what = writer + ", ended " + (atTheEnd ? "while it writes" : "among the records");
      require(sparks.failure != null && ours.failure != null, what + ": it has not failed");
      require(sparks.files.keySet().equals(ours.files.keySet()), what + ": " + ours.files.keySet());
      require(!ours.files.containsKey("index"), what + ": it was committed");
    }
  }

  /** Kills the task after 1,500 records, or interrupts it when all have come. */
  private static Iterator<Product2<Integer, byte[]>> ending(
      List<Product2<Integer, byte[]>> records, boolean atTheEnd) {
    Iterator<Product2<Integer, byte[]>> all = records.iterator();
    return new Iterator<>() {
      private int count;

      @Override
      public boolean hasNext() {
        if (atTheEnd && !all.hasNext()) {
          Thread.currentThread().interrupt();
        }
        return all.hasNext();
      }

      @Override
      public Product2<Integer, byte[]> next() {
        if (!atTheEnd && ++count > 1500) {
          throw new TaskKilledException("test");
        }
        return all.next();
      }
    };
  }

  /** A second attempt at a map output that is there. */
  private static void again(
      SparksWriters writer,
      ShuffleDependency<Integer, byte[], byte[]> few,
      List<Product2<Integer, byte[]>> records) {
    set(NEVER, true, true);
    Outcome first = write(true, writer, few, records.iterator());
    --nextMap;
    Outcome second = write(true, writer, few, records.subList(0, 10).iterator());
    same(writer + ", a second attempt", first.files, second.files);
    require(Arrays.equals(first.lengths, second.lengths), writer + ": the lengths of its own");
  }

  // ---- Spark around it

  private static SparkConf conf(String... settings) {
    SparkConf conf =
        new SparkConf()
            .setMaster("local[1]")
            .setAppName("writes")
            .set("spark.ui.enabled", "false")
            .set("spark.driver.host", "127.0.0.1")
            .set("spark.driver.bindAddress", "127.0.0.1")
            .set("spark.serializer", "org.apache.spark.serializer.KryoSerializer");
    for (int i = 0; i < settings.length; i += 2) {
      conf.set(settings[i], settings[i + 1]);
    }
    return conf;
  }

  /** Its directory. */
  private static Path start(SparkConf conf) throws IOException {
    Path directory = Files.createTempDirectory(root, "spark");
    context = new JavaSparkContext(conf.set("spark.local.dir", directory.toString()));
    return directory;
  }

  private static void inTask(Runnable work, String... settings) throws IOException {
    start(conf(settings));
    try {
      current = work;
      context.parallelize(List.of(1), 1).foreach(one -> current.run());
    } finally {
      context.stop();
    }
  }

  /** The map outputs of a job, by their names, written as `plugin` says or, if null, by default. */
  private static Map<String, byte[]> job(String manager, String plugin) throws IOException {
    SparkConf conf = conf("spark.shuffle.manager", manager);
    if (plugin != null) {
      conf.set(PLUGIN, plugin);
    }
    Path directory = start(conf);
    try {
      List<Tuple2<Integer, byte[]>> records = new ArrayList<>();
      for (Product2<Integer, byte[]> one : records(50, 2000, 1000)) {
        records.add(new Tuple2<>(one._1(), one._2()));
      }
      JavaPairRDD<Integer, byte[]> pairs = context.parallelizePairs(records, 3);
      List<JavaPairRDD<Integer, byte[]>> shuffled = // one for each of Spark's writers
          List.of(
              pairs.partitionBy(new HashPartitioner(50)),
              pairs.partitionBy(new HashPartitioner(300)),
              pairs.reduceByKey((one, other) -> one, 50));
      shuffled.forEach(JavaPairRDD::count);
      String used = context.getConf().get(PLUGIN, null);
      boolean client = manager.equals("org.shufflefs.spark.ShufflefsManager");
      String wanted = plugin == null && client ? ShufflefsDataIO.class.getName() : plugin;
      require(Objects.equals(used, wanted), "map outputs are written by " + used);
      Map<String, byte[]> written = files(directory, "shuffle_");
      require(written.size() == 3 * 3 * shuffled.size(), written.keySet().toString());
      return written;
    } finally {
      context.stop();
    }
  }

  private static void jobs() throws IOException {
    Map<String, byte[]> sparks = job("sort", null);
    same("a job", sparks, job("org.shufflefs.spark.ShufflefsManager", null));
    String user = LocalDiskShuffleDataIO.class.getName();
    same("a job", sparks, job("org.shufflefs.spark.ShufflefsManager", user));
  }

  public static void main(String[] arguments) throws Exception {
    root = Path.of(arguments[0]);
    String algorithm = "spark.shuffle.checksum.algorithm";
    inTask(ClientWrites::allWriters, algorithm, "ADLER32");
    inTask(
        () -> {
          allWriters();
          manyPartitions();
        },
        "spark.shuffle.compress", "false", "spark.shuffle.spill.compress", "false",
        algorithm, "CRC32");
    inTask(
        ClientWrites::allWriters,
        "spark.io.encryption.enabled", "true", "spark.io.compression.codec", "zstd",
        "spark.io.encryption.commons.config.secure.random.classes", NoRandom.class.getName(),
        "spark.shuffle.checksum.enabled", "false");
    jobs();
    System.out.println("ok");
  }
}
