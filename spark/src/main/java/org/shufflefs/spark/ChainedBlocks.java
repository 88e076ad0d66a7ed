package org.shufflefs.spark;

import java.io.IOException;
import java.io.InputStream;
import java.util.Collections;
import java.util.Iterator;

/**
 * Streams one after the other, each of them made when the one before has come to its end: so only
 * one holds memory. What is not read is never opened. One thread.
 */
final class ChainedBlocks extends InputStream {
  private Iterator<InputStream> next;
  private InputStream current = InputStream.nullInputStream();

  /** The iterator makes a stream when it is asked for it. */
  ChainedBlocks(Iterator<InputStream> streams) {
    next = streams;
  }

  @Override
  public int read() throws IOException {
    while (true) {
      int value = current.read();
      if (value >= 0 || !advance()) {
        return value;
      }
    }
  }

  @Override
  public int read(byte[] into, int offset, int length) throws IOException {
    while (true) {
      int n = current.read(into, offset, length);
      if (n >= 0 || !advance()) {
        return n;
      }
    }
  }

  private boolean advance() throws IOException {
    if (!next.hasNext()) {
      return false;
    }
    current.close();
    current = next.next();
    return true;
  }

  @Override
  public int available() throws IOException {
    return current.available();
  }

  @Override
  public void close() throws IOException {
    current.close();
    current = InputStream.nullInputStream();
    next = Collections.emptyIterator();
  }
}
