package org.shufflefs.spark;

import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.channels.ClosedByInterruptException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import org.apache.spark.TaskContext;
import org.apache.spark.network.buffer.ManagedBuffer;
import org.apache.spark.shuffle.FetchFailedException;
import org.apache.spark.shuffle.ShuffleReadMetricsReporter;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The merged blocks of one getReader call: what Spark's reader takes for local blocks is read here,
 * from the merged files, in file order; a block that cannot be had there comes from its origin.
 *
 * <p>One task's thread. Ownership: close() at the task's end.
 */
final class MergedReads {
  private static final Logger LOG = LoggerFactory.getLogger(MergedReads.class);
  /** After so many failures in a row a merged file is of no use: the rest comes from the origins. */
  private static final int MOST_FAILURES = 3;

  private static final class Source {
    final List<MergedBlock> blocks = new ArrayList<>(); // in file order
    final Map<Long, Integer> places = new HashMap<>(); // map id to its place in blocks
    MergedFile file;
    int failures;

    boolean isGivenUp() {
      return failures >= MOST_FAILURES;
    }
  }

  private final NodeMount mount;
  private final String app;
  private final int shuffle;
  private final TaskContext context;
  private final ShuffleReadMetricsReporter metrics;
  private final OriginFetcher origins;
  private final Counts counts;
  private final Map<Integer, Source> sources = new TreeMap<>(); // by partition
  private long waitedNanos; // and not counted yet
  private boolean asked;

  MergedReads(
      NodeMount mount,
      String app,
      int shuffle,
      TaskContext context,
      ShuffleReadMetricsReporter metrics,
      OriginFetcher origins,
      Counts counts) {
    this.mount = mount;
    this.app = app;
    this.shuffle = shuffle;
    this.context = context;
    this.metrics = metrics;
    this.origins = origins;
    this.counts = counts;
  }

  /** In file order, partition by partition. */
  void add(MergedBlock block) {
    Source source = sources.computeIfAbsent(block.partition, partition -> new Source());
    source.places.put(block.mapId, source.blocks.size());
    source.blocks.add(block);
  }

  boolean isEmpty() {
    return sources.isEmpty();
  }

  /** Whether Spark has found a merged block here. */
  boolean isAsked() {
    return asked;
  }

  /** Partition by partition, each in the order of its file. */
  List<MergedBlock> inFileOrder() {
    List<MergedBlock> blocks = new ArrayList<>();
    sources.values().forEach(source -> blocks.addAll(source.blocks));
    return blocks;
  }

  /** The merged block, or null. */
  MergedBlock find(long mapId, int partition) {
    Source source = sources.get(partition);
    Integer place = source == null ? null : source.places.get(mapId);
    return place == null ? null : source.blocks.get(place);
  }

  /** The merged blocks of the map output in partitions [start, end). */
  List<MergedBlock> find(int shuffleId, long mapId, int start, int end) {
    List<MergedBlock> found = new ArrayList<>();
    if (shuffleId != shuffle) {
      return found;
    }
    for (int partition = start; partition < end; ++partition) {
      MergedBlock block = find(mapId, partition);
      if (block != null) {
        found.add(block);
        asked = true;
      }
    }
    return found;
  }

  /** The bytes of the blocks, one after the other. */
  InputStream open(List<MergedBlock> blocks) throws FetchFailedException {
    if (blocks.size() == 1) {
      return open(blocks.get(0));
    }
    return new ChainedBlocks(blocks.stream().map(this::openNext).iterator());
  }

  private InputStream openNext(MergedBlock block) {
    try {
      return open(block);
    } catch (FetchFailedException e) {
      throw Sneaky.rethrow(e);
    }
  }

  private InputStream open(MergedBlock block) throws FetchFailedException {
    long start = System.nanoTime();
    try {
      return openSomewhere(block);
    } finally {
      waited(System.nanoTime() - start);
    }
  }

  /** Spark's count is in milliseconds; most waits are shorter. */
  private void waited(long nanos) {
    waitedNanos += nanos;
    long ms = TimeUnit.NANOSECONDS.toMillis(waitedNanos);
    if (ms > 0) {
      metrics.incFetchWaitTime(ms);
      waitedNanos -= TimeUnit.MILLISECONDS.toNanos(ms);
    }
  }

  private InputStream openSomewhere(MergedBlock block) throws FetchFailedException {
    Source source = sources.get(block.partition);
    if (source.isGivenUp()) {
      return fallBack(source, block, Fallback.UNREADABLE);
    }
    try {
      InputStream bytes = openMerged(source, block);
      source.failures = 0;
      counts.merged(block.length);
      metrics.incLocalMergedBlocksFetched(1);
      metrics.incLocalMergedBytesRead(block.length);
      return bytes;
    } catch (ClosedByInterruptException e) {
      context.killTaskIfInterrupted();
      throw failed(block, e);
    } catch (IOException e) {
      ++source.failures;
      return fallBack(source, block, e);
    }
  }

  private InputStream fallBack(Source source, MergedBlock block, IOException why)
      throws FetchFailedException {
    LOG.warn(
        "{}: read from {} instead of the merged file ({})",
        block.blockId(),
        block.origin,
        why.toString());
    return fallBack(source, block, reasonOf(why));
  }

  private InputStream fallBack(Source source, MergedBlock block, Fallback reason)
      throws FetchFailedException {
    counts.fallback(reason, block.length);
    metrics.incMergedFetchFallbackCount(1);
    if (reason == Fallback.CORRUPT) {
      metrics.incCorruptMergedBlockChunks(1);
    }
    return openAtOrigin(source, block);
  }

  /** For a block of which a part has been read merged. */
  private InputStream fallBackInside(Source source, MergedBlock block, IOException why) {
    try {
      return fallBack(source, block, why);
    } catch (FetchFailedException e) {
      throw Sneaky.rethrow(e);
    }
  }

  private InputStream openMerged(Source source, MergedBlock block) throws IOException {
    if (source.file == null) {
      MergedBlock last = source.blocks.get(source.blocks.size() - 1);
      source.file =
          new MergedFile(
              mount.io(),
              mount.merged(app, shuffle, block.partition),
              last.offset + last.length);
    }
    boolean isLast = source.places.get(block.mapId) == source.blocks.size() - 1;
    try {
      InputStream bytes = source.file.open(block, why -> fallBackInside(source, block, why));
      if (isLast && block.length <= MergedFile.LARGE_BLOCK) {
        source.file.close(); // the stream has what it needs
      }
      return bytes;
    } catch (IOException e) {
      if (!(e instanceof MergedFile.Corrupt)) {
        source.file.closeFile(); // the next block opens it again: its node may be back
      }
      throw e;
    }
  }

  private InputStream openAtOrigin(Source source, MergedBlock block) throws FetchFailedException {
    List<MergedBlock> next = List.of();
    if (source.isGivenUp()) {
      next = source.blocks.subList(source.places.get(block.mapId) + 1, source.blocks.size());
    }
    try {
      ManagedBuffer buffer = origins.fetch(block, next);
      return new OriginStream(buffer);
    } catch (IOException e) {
      throw failed(block, e);
    }
  }

  /** With the origin's address: Spark then drops the map output that is really lost. */
  FetchFailedException failed(MergedBlock block, Throwable cause) {
    return new FetchFailedException(
        block.origin,
        block.shuffle,
        block.mapId,
        block.mapIndex,
        block.partition,
        "neither merged nor at its origin: " + cause.getMessage(),
        cause);
  }

  private static Fallback reasonOf(IOException e) {
    if (e instanceof MergedFile.Corrupt) {
      return Fallback.CORRUPT;
    }
    return e instanceof EOFException ? Fallback.SHORT : Fallback.UNREADABLE;
  }

  void close() {
    for (Source source : sources.values()) {
      if (source.file != null) {
        source.file.close();
      }
    }
    origins.close();
  }

  /** Releases Spark's buffer when it has been read. */
  private static final class OriginStream extends java.io.FilterInputStream {
    private final ManagedBuffer buffer;
    private boolean closed;

    OriginStream(ManagedBuffer buffer) throws IOException {
      super(buffer.createInputStream());
      this.buffer = buffer;
    }

    @Override
    public void close() throws IOException {
      super.close();
      if (!closed) {
        closed = true;
        buffer.release();
      }
    }
  }
}
