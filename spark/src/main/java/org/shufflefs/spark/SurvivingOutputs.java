package org.shufflefs.spark;

import org.apache.spark.ShuffleStatus;
import org.apache.spark.SparkConf;

/**
 * The driver's list of a shuffle's map outputs, where every block has a second node. A standalone
 * master's word that a worker is gone makes Spark strike all outputs of its host off, even if
 * storage is said to be reliable; here they stay, as their merged copies do. The first block that a
 * reducer really misses still strikes off those of its executor.
 */
final class SurvivingOutputs extends ShuffleStatus {
  private static final String BUFFER_RACING =
      "spark.storage.decommission.shuffleBlocks.bufferRacingMigrations";

  private SurvivingOutputs(int maps, int partitions) {
    super(maps, partitions);
  }

  private SurvivingOutputs(int maps, int partitions, boolean bufferRacingMigrations) {
    super(maps, partitions, bufferRacingMigrations);
  }

  static ShuffleStatus of(SparkConf conf, int maps, int partitions) {
    try {
      ShuffleStatus.class.getConstructor(int.class, int.class);
    } catch (NoSuchMethodException e) {
      return new SurvivingOutputs(maps, partitions, conf.getBoolean(BUFFER_RACING, true));
    }
    return new SurvivingOutputs(maps, partitions);
  }

  @Override
  public void removeOutputsOnHost(String host) {
    // They survive.
  }
}
