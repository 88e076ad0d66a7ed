package org.shufflefs.spark;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.apache.spark.HashPartitioner;
import org.apache.spark.ShuffleDependency;
import org.apache.spark.SparkConf;
import org.apache.spark.SparkEnv;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.shuffle.ShuffleDataIOUtils;
import org.apache.spark.shuffle.api.ShuffleExecutorComponents;
import org.apache.spark.shuffle.api.ShuffleMapOutputWriter;
import org.apache.spark.shuffle.api.ShufflePartitionWriter;
import org.apache.spark.shuffle.api.WritableByteChannelWrapper;
import org.apache.spark.shuffle.sort.SortShuffleManager;
import org.apache.spark.shuffle.sort.SparksWriters;
import org.apache.spark.util.Utils;
import scala.Product2;
import scala.Tuple2;

/**
 * Milliseconds of one map output, for each line that is read; a line of JSON with those of each way of
 * writing. Arguments: local dir, plugin class, partitions, bytes of a block. Run by
 * bench_map_output.py.
 */
public final class MapOutputTimes {
  private static final String SPILL = "spark.shuffle.spill.numElementsForceSpillThreshold";

  private interface Way {
    void write(long map) throws Exception;
  }

  private static Runnable current;
  private static int partitions;
  private static int blockBytes;
  private static ShuffleExecutorComponents components;
  private static ShuffleDependency<Integer, byte[], byte[]> dependency;
  private static long nextMap;

  private static Way sparks(SparksWriters writer, int spills) {
    List<Product2<Integer, byte[]>> records = new ArrayList<>();
    Random random = new Random(1);
    for (int spill = 0; spill < spills; ++spill) {
      for (int partition = 0; partition < partitions; ++partition) {
        byte[] value = new byte[blockBytes / spills];
        random.nextBytes(value);
        records.add(new Tuple2<>(partition, value));
      }
    }
    return map -> {
      SparkConf conf = SparkEnv.get().conf();
      conf.set(SPILL, Integer.toString(spills > 1 ? partitions : Integer.MAX_VALUE));
      writer.write(dependency, map, components, records.iterator());
    };
  }

  /** The output alone, of blocks that are in a file elsewhere. */
  private static void copy(FileChannel from, long map) throws IOException {
    ShuffleMapOutputWriter output =
        components.createMapOutputWriter(dependency.shuffleId(), map, partitions);
    for (int i = 0; i < partitions; ++i) {
      ShufflePartitionWriter writer = output.getPartitionWriter(i);
      try (WritableByteChannelWrapper wrapper = writer.openChannelWrapper().get()) {
        Utils.copyFileStreamNIO(from, wrapper.channel(), (long) i * blockBytes, blockBytes);
      }
    }
    output.commitAllPartitions(new long[partitions]);
  }

  /** The output alone, of blocks that are made. */
  private static void stream(byte[] block, long map) throws IOException {
    ShuffleMapOutputWriter output =
        components.createMapOutputWriter(dependency.shuffleId(), map, partitions);
    for (int i = 0; i < partitions; ++i) {
      try (OutputStream stream = output.getPartitionWriter(i).openStream()) {
        for (int at = 0; at < blockBytes; at += 4096) {
          stream.write(block, at, Math.min(4096, blockBytes - at));
        }
      }
    }
    output.commitAllPartitions(new long[partitions]);
  }

  private static double millis(Way way) {
    long map = nextMap++;
    try {
      long begin = System.nanoTime();
      way.write(map);
      double took = (System.nanoTime() - begin) / 1e6;
      SortShuffleManager manager = (SortShuffleManager) SparkEnv.get().shuffleManager();
      manager.shuffleBlockResolver().removeDataByMap(dependency.shuffleId(), map);
      return took;
    } catch (Exception e) {
      throw new AssertionError(e);
    }
  }

  private static Map<String, Way> ways() throws IOException {
    byte[] block = new byte[blockBytes];
    Path path = Files.createTempFile("map-output", "");
    FileChannel blocks =
        FileChannel.open(
            path,
            StandardOpenOption.READ,
            StandardOpenOption.WRITE,
            StandardOpenOption.DELETE_ON_CLOSE);
    for (int i = 0; i < partitions; ++i) {
      blocks.write(ByteBuffer.wrap(block));
    }
    Map<String, Way> ways = new LinkedHashMap<>();
    ways.put("the file, copied", map -> copy(blocks, map));
    ways.put("the file, streamed", map -> stream(block, map));
    ways.put("sort", sparks(SparksWriters.SORT, 1));
    ways.put("unsafe, one spill", sparks(SparksWriters.UNSAFE, 1));
    ways.put("unsafe, two spills", sparks(SparksWriters.UNSAFE, 2));
    ways.put("bypass", sparks(SparksWriters.BYPASS, 1));
    return ways;
  }

  private static void serve() {
    try {
      SparkConf conf = SparkEnv.get().conf();
      components = ShuffleDataIOUtils.loadShuffleDataIO(conf).executor();
      components.initializeExecutor("app", "driver", Map.of());
      Map<String, Way> ways = ways();
      BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
      System.out.println("{}");
      while (lines.readLine() != null) {
        List<String> answer = new ArrayList<>();
        ways.forEach((name, way) -> answer.add("\"" + name + "\": " + millis(way)));
        System.out.println("{" + String.join(", ", answer) + "}");
      }
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  @SuppressWarnings("unchecked")
  public static void main(String[] arguments) {
    partitions = Integer.parseInt(arguments[2]);
    blockBytes = Integer.parseInt(arguments[3]);
    SparkConf conf =
        new SparkConf()
            .setMaster("local[1]")
            .setAppName("map-output")
            .set("spark.local.dir", arguments[0])
            .set("spark.shuffle.sort.io.plugin.class", arguments[1])
            .set("spark.shuffle.compress", "false")
            .set("spark.ui.enabled", "false")
            .set("spark.driver.host", "127.0.0.1")
            .set("spark.driver.bindAddress", "127.0.0.1")
            .set("spark.serializer", "org.apache.spark.serializer.KryoSerializer");
    JavaSparkContext context = new JavaSparkContext(conf);
    List<Tuple2<Integer, byte[]>> none = Collections.emptyList();
    dependency =
        (ShuffleDependency<Integer, byte[], byte[]>)
            context
                .parallelizePairs(none, 1)
                .partitionBy(new HashPartitioner(partitions))
                .rdd()
                .dependencies()
                .head();
    current = MapOutputTimes::serve;
    context.parallelize(List.of(1), 1).foreach(one -> current.run());
    context.stop();
  }
}
