package org.apache.spark;

/**
 * To compile against, and not packed into the jar: Spark's own class with the constructors of all
 * versions, of which no version has both.
 */
public class ShuffleStatus {
  /** Spark 3.4 to 4.2. */
  public ShuffleStatus(int maps, int partitions) {}

  /** Spark 4.3. */
  public ShuffleStatus(int maps, int partitions, boolean bufferRacingMigrations) {}

  public void removeOutputsOnHost(String host) {}
}
