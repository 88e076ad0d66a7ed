package org.shufflefs.spark;

import java.io.File;
import java.util.Map;
import java.util.Optional;
import org.apache.spark.SparkConf;
import org.apache.spark.shuffle.api.ShuffleDataIO;
import org.apache.spark.shuffle.api.ShuffleDriverComponents;
import org.apache.spark.shuffle.api.ShuffleExecutorComponents;
import org.apache.spark.shuffle.sort.io.LocalDiskShuffleDataIO;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Spark's own writing of map outputs, and the word to the driver that they outlive their executors
 * and nodes. Put into the settings by {@link ShufflefsManager} where the nodes replicate
 * (push.replicate = all).
 */
public class ShufflefsDataIO implements ShuffleDataIO {
  static final String KEY = "spark.shuffle.sort.io.plugin.class";
  private static final Logger LOG = LoggerFactory.getLogger(ShufflefsDataIO.class);

  private final ShuffleDataIO disk;

  /** As Spark makes it. */
  public ShufflefsDataIO(SparkConf conf) {
    disk = new LocalDiskShuffleDataIO(conf);
  }

  /** Before Spark has read the setting; what the user has set stays. */
  static void installIfReplicated(MountIo io, SparkConf conf) {
    Optional<NodeMount> mount = NodeMount.find(io, new File[0]);
    if (mount.isPresent() && mount.get().replicates() && !conf.contains(KEY)) {
      new ShufflefsDataIO(conf).driver(); // here an error turns the client off, later it ends the job
      conf.set(KEY, ShufflefsDataIO.class.getName());
      LOG.info("every block has a second node: map outputs survive the loss of one");
    }
  }

  @Override
  public ShuffleExecutorComponents executor() {
    return disk.executor();
  }

  @Override
  public ShuffleDriverComponents driver() {
    return new Driver(disk.driver());
  }

  private static final class Driver implements ShuffleDriverComponents {
    private final ShuffleDriverComponents disk;

    Driver(ShuffleDriverComponents disk) {
      this.disk = disk;
    }

    @Override
    public Map<String, String> initializeApplication() {
      return disk.initializeApplication();
    }

    @Override
    public void cleanupApplication() {
      disk.cleanupApplication();
    }

    @Override
    public void registerShuffle(int shuffleId) {
      disk.registerShuffle(shuffleId);
    }

    @Override
    public void removeShuffle(int shuffleId, boolean blocking) {
      disk.removeShuffle(shuffleId, blocking);
    }

    /** Of Spark 3.5 and later; 3.4 does not ask. */
    public boolean supportsReliableStorage() {
      return true;
    }
  }
}
