package org.shufflefs.spark;

import java.util.Map;
import org.apache.spark.SparkConf;
import org.apache.spark.shuffle.api.ShuffleDriverComponents;

/**
 * The same where the nodes replicate (push.replicate = all): the driver is told that map outputs
 * outlive their executors and nodes.
 */
public final class ReplicatedDataIO extends ShufflefsDataIO {
  /** As Spark makes it. */
  public ReplicatedDataIO(SparkConf conf) {
    super(conf);
  }

  @Override
  public ShuffleDriverComponents driver() {
    return new Driver(super.driver());
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
