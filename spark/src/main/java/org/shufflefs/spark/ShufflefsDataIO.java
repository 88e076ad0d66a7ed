package org.shufflefs.spark;

import org.apache.spark.SparkConf;
import org.apache.spark.shuffle.api.ShuffleDataIO;
import org.apache.spark.shuffle.api.ShuffleDriverComponents;
import org.apache.spark.shuffle.api.ShuffleExecutorComponents;
import org.apache.spark.shuffle.sort.io.LocalDiskShuffleDataIO;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The client's writing of map outputs, in Spark's own files ({@link MapOutputs}). Put into the
 * settings by {@link ShufflefsManager}.
 */
public class ShufflefsDataIO implements ShuffleDataIO {
  private static final String KEY = "spark.shuffle.sort.io.plugin.class";

  private static final Logger LOG = LoggerFactory.getLogger(ShufflefsDataIO.class);

  private final ShuffleDataIO disk;

  /** As Spark makes it. */
  public ShufflefsDataIO(SparkConf conf) {
    disk = new LocalDiskShuffleDataIO(conf);
  }

  /** Before Spark has read the setting; what the user has set stays. */
  static void install(SparkConf conf, boolean replicated) {
    if (conf.contains(KEY)) {
      return;
    }
    ShufflefsDataIO made = replicated ? new ReplicatedDataIO(conf) : new ShufflefsDataIO(conf);
    made.driver(); // here an error turns the client off, later it ends the job
    conf.set(KEY, made.getClass().getName());
  }

  @Override
  public ShuffleExecutorComponents executor() {
    ShuffleExecutorComponents sparks = disk.executor();
    try {
      return MapOutputs.over(sparks);
    } catch (LinkageError e) {
      sayMissing(e);
      return sparks;
    }
  }

  static void sayMissing(LinkageError missing) {
    LOG.warn(
        "this Spark lacks something that the client needs ({}): map outputs are written as Spark"
            + " writes them",
        missing.toString());
  }

  @Override
  public ShuffleDriverComponents driver() {
    return disk.driver();
  }
}
