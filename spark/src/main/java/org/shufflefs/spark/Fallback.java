package org.shufflefs.spark;

/** Why a block was not read from the merged file. The names are in the log and in the metrics. */
enum Fallback {
  /** The merged bytes do not match their checksum. */
  CORRUPT("corrupt"),
  /** The merged file ends before the block does. */
  SHORT("short"),
  /** The merged file could not be opened or read. */
  UNREADABLE("unreadable"),
  /** The index does not name it: not pushed, not pushed yet, or the index could not be read. */
  UNMERGED("unmerged");

  final String label;

  Fallback(String label) {
    this.label = label;
  }
}
