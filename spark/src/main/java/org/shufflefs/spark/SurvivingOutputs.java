package org.shufflefs.spark;

import org.apache.spark.ShuffleStatus;

/**
 * The driver's list of a shuffle's map outputs, where every block has a second node. A standalone
 * master's word that a worker is gone makes Spark strike all outputs of its host off, even if
 * storage is said to be reliable; here they stay, as their merged copies do. The first block that a
 * reducer really misses still strikes off those of its executor.
 */
final class SurvivingOutputs extends ShuffleStatus {
  SurvivingOutputs(int maps, int partitions) {
    super(maps, partitions);
  }

  @Override
  public void removeOutputsOnHost(String host) {
    // They survive.
  }
}
