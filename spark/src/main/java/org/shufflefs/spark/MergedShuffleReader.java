package org.shufflefs.spark;

import org.apache.spark.FetchFailed;
import org.apache.spark.shuffle.FetchFailedException;
import org.apache.spark.shuffle.ShuffleReader;
import scala.Product2;
import scala.collection.AbstractIterator;
import scala.collection.Iterator;

/**
 * Spark's reader with merged blocks among its local ones. A failure of a merged block, which Spark
 * reports as one of this executor, is reported as one of the block's origin: otherwise the driver
 * would drop the map outputs of a healthy executor and keep the lost one.
 */
final class MergedShuffleReader<K, C> implements ShuffleReader<K, C> {
  private final ShuffleReader<K, C> reader;
  private final MergedReads reads;
  private final MergedBlockResolver resolver;

  MergedShuffleReader(
      ShuffleReader<K, C> reader, MergedReads reads, MergedBlockResolver resolver) {
    this.reader = reader;
    this.reads = reads;
    this.resolver = resolver;
  }

  @Override
  public Iterator<Product2<K, C>> read() {
    MergedReads before = resolver.begin(reads);
    try {
      return new Renaming<>(reader.read(), reads);
    } catch (Throwable e) {
      throw Sneaky.rethrow(rename(e, reads));
    } finally {
      resolver.end(before);
    }
  }

  /** The same failure at the origin, if it is one of a merged block. */
  static Throwable rename(Throwable error, MergedReads reads) {
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

    Renaming(Iterator<T> iterator, MergedReads reads) {
      this.iterator = iterator;
      this.reads = reads;
    }

    @Override
    public boolean hasNext() {
      try {
        return iterator.hasNext();
      } catch (Throwable e) {
        throw Sneaky.rethrow(rename(e, reads));
      }
    }

    @Override
    public T next() {
      try {
        return iterator.next();
      } catch (Throwable e) {
        throw Sneaky.rethrow(rename(e, reads));
      }
    }
  }
}
