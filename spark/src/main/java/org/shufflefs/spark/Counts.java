package org.shufflefs.spark;

import java.util.EnumMap;
import java.util.Map;

/**
 * What one task has read merged and what not. One thread. At the task's end it is written into the
 * mount, so that the daemon's metrics have it: reads in passthrough never come to the daemon.
 */
final class Counts {
  long mergedBlocks;
  long mergedBytes;
  final Map<Fallback, long[]> fallbacks = new EnumMap<>(Fallback.class); // {blocks, bytes}

  void merged(long bytes) {
    ++mergedBlocks;
    mergedBytes += bytes;
  }

  void fallback(Fallback reason, long bytes) {
    long[] counts = fallbacks.computeIfAbsent(reason, ignored -> new long[2]);
    ++counts[0];
    counts[1] += bytes;
  }

  /** One line of words: what, blocks, bytes. */
  String line() {
    StringBuilder text = new StringBuilder();
    text.append("merged ").append(mergedBlocks).append(' ').append(mergedBytes);
    fallbacks.forEach(
        (reason, counts) ->
            text.append(' ').append(reason.label).append(' ').append(counts[0]).append(' ')
                .append(counts[1]));
    return text.append('\n').toString();
  }

  @Override
  public String toString() {
    return line().trim();
  }
}
