package org.shufflefs.spark;

import org.apache.spark.FetchFailed;
import org.apache.spark.TaskKilledException;
import org.apache.spark.shuffle.FetchFailedException;
import org.apache.spark.shuffle.ShuffleReader;
import scala.Product2;
import scala.collection.AbstractIterator;
import scala.collection.Iterator;

/**
 * Spark's reader with merged blocks among its local ones. A failure of a merged block, which Spark
 * reports as one of this executor, is reported as one of the block's origin: otherwise the driver
 * would drop the map outputs of a healthy executor and keep the lost one.
 *
 * <p>If this Spark turns out to lack something, the task is given up as a killed one: Spark runs it
 * again, does not count that as a failure, and the client is off by then.
 */
final class MergedShuffleReader<K, C> implements ShuffleReader<K, C> {
  private final ShuffleReader<K, C> reader;
  private final MergedReads reads;
  private final CurrentReads current;
  private final ClientSwitch client;

  MergedShuffleReader(
      ShuffleReader<K, C> reader, MergedReads reads, CurrentReads current, ClientSwitch client) {
    this.reader = reader;
    this.reads = reads;
    this.current = current;
    this.client = client;
  }

  @Override
  public Iterator<Product2<K, C>> read() {
    MergedReads before = current.begin(reads);
    try {
      Iterator<Product2<K, C>> records = reader.read();
      if (!reads.isAsked()) {
        throw new LinkageError("a reader resolves its local blocks when it is made");
      }
      return new Renaming<>(records, reads, client);
    } catch (Throwable e) {
      throw Sneaky.rethrow(rename(e, reads, client));
    } finally {
      current.end(before);
    }
  }

  /** The same failure at the origin, if it is one of a merged block. */
  static Throwable rename(Throwable error, MergedReads reads, ClientSwitch client) {
    if (error instanceof LinkageError) {
      client.turnOff(error);
      return new TaskKilledException("to read the shuffle without the client of shufflefs");
    }
    if (!(error instanceof FetchFailedException)) {
      return error;
    }
    FetchFailed failure = (FetchFailed) ((FetchFailedException) error).toTaskFailedReason();
    MergedBlock block = reads.find(failure.mapId(), failure.reduceId());
    if (block == null || block.origin.equals(failure.bmAddress())) {
      return error;
    }
    return reads.failed(block, error);
  }

  private static final class Renaming<T> extends AbstractIterator<T> {
    private final Iterator<T> iterator;
    private final MergedReads reads;
    private final ClientSwitch client;

    Renaming(Iterator<T> iterator, MergedReads reads, ClientSwitch client) {
      this.iterator = iterator;
      this.reads = reads;
      this.client = client;
    }

    @Override
    public boolean hasNext() {
      try {
        return iterator.hasNext();
      } catch (Throwable e) {
        throw Sneaky.rethrow(rename(e, reads, client));
      }
    }

    @Override
    public T next() {
      try {
        return iterator.next();
      } catch (Throwable e) {
        throw Sneaky.rethrow(rename(e, reads, client));
      }
    }
  }
}
