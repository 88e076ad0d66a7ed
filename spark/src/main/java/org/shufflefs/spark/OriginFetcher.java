package org.shufflefs.spark;

import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.apache.spark.TaskContext;
import org.apache.spark.network.buffer.ManagedBuffer;
import org.apache.spark.network.shuffle.BlockFetchingListener;
import org.apache.spark.network.shuffle.DownloadFile;
import org.apache.spark.network.shuffle.DownloadFileManager;
import org.apache.spark.network.shuffle.SimpleDownloadFile;
import org.apache.spark.network.util.TransportConf;
import org.apache.spark.storage.BlockManager;
import org.apache.spark.storage.BlockManagerId;
import org.apache.spark.storage.ShuffleBlockId;
import org.apache.spark.shuffle.IndexShuffleBlockResolver;

/**
 * Reads blocks where they were written, with Spark's own client and its retries. One task's; its
 * thread asks, Spark's network threads answer. Memory: what has been asked ahead, at most
 * AHEAD_BYTES and one block; as in Spark a large block goes to the disk. Failure: an IOException that names the block, when Spark's client has
 * given up or after the patience.
 */
final class OriginFetcher {
  private static final long AHEAD_BYTES = 8L << 20;
  private static final int AHEAD_BLOCKS = 128;

  private final BlockManager blockManager;
  private final IndexShuffleBlockResolver ownBlocks;
  private final TaskContext context;
  private final long patienceMs;
  private final long mostInMemory;
  private final Downloads downloads;
  private final Map<String, CompletableFuture<ManagedBuffer>> asked = new LinkedHashMap<>();

  /** Blocks of more bytes than `mostInMemory` are fetched into a file. */
  OriginFetcher(
      BlockManager blockManager,
      IndexShuffleBlockResolver ownBlocks,
      TaskContext context,
      long patienceMs,
      long mostInMemory) {
    this.blockManager = blockManager;
    this.ownBlocks = ownBlocks;
    this.context = context;
    this.patienceMs = patienceMs;
    this.mostInMemory = mostInMemory;
    this.downloads = new Downloads(blockManager);
  }

  /**
   * The block; the caller releases it. `next` are the blocks that will be wanted after it if the
   * merged file is of no use any more: they are asked in the same requests.
   */
  ManagedBuffer fetch(MergedBlock block, List<MergedBlock> next) throws IOException {
    if (block.origin.executorId().equals(blockManager.blockManagerId().executorId())) {
      return ownBlocks.getBlockData(
          new ShuffleBlockId(block.shuffle, block.mapId, block.partition), scala.Option.empty());
    }
    if (!asked.containsKey(block.blockId())) {
      ask(block, next);
    }
    return await(block);
  }

  private void ask(MergedBlock block, List<MergedBlock> next) {
    Map<BlockManagerId, List<String>> byOrigin = new LinkedHashMap<>();
    byOrigin.computeIfAbsent(block.origin, id -> new ArrayList<>()).add(block.blockId());
    asked.put(block.blockId(), new CompletableFuture<>());
    long bytes = block.length;
    for (MergedBlock more : next) {
      if (bytes + more.length > AHEAD_BYTES || asked.size() >= AHEAD_BLOCKS) {
        break;
      }
      if (!asked.containsKey(more.blockId())) {
        bytes += more.length;
        byOrigin.computeIfAbsent(more.origin, id -> new ArrayList<>()).add(more.blockId());
        asked.put(more.blockId(), new CompletableFuture<>());
      }
    }
    Map<String, CompletableFuture<ManagedBuffer>> answers = Map.copyOf(asked);
    byOrigin.forEach(
        (origin, ids) ->
            blockManager
                .blockStoreClient()
                .fetchBlocks(
                    origin.host(),
                    origin.port(),
                    origin.executorId(),
                    ids.toArray(new String[0]),
                    new Listener(answers),
                    block.length > mostInMemory ? downloads : null));
  }

  private ManagedBuffer await(MergedBlock block) throws IOException {
    CompletableFuture<ManagedBuffer> answer = asked.remove(block.blockId());
    long deadline = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(patienceMs);
    try {
      while (true) {
        try {
          return answer.get(1, TimeUnit.SECONDS);
        } catch (TimeoutException e) {
          context.killTaskIfInterrupted();
          if (System.nanoTime() > deadline) {
            forget(answer);
            throw new IOException(block.blockId() + " did not come from " + block.origin);
          }
        }
      }
    } catch (ExecutionException e) {
      throw new IOException(
          block.blockId() + " could not be read from " + block.origin, e.getCause());
    } catch (InterruptedException e) {
      forget(answer);
      Thread.currentThread().interrupt();
      context.killTaskIfInterrupted();
      throw new IOException("interrupted while waiting for " + block.blockId(), e);
    }
  }

  /** Gives back what was asked and not taken. */
  void close() {
    asked.values().forEach(OriginFetcher::forget);
    asked.clear();
    downloads.close();
  }

  private static void forget(CompletableFuture<ManagedBuffer> answer) {
    answer.whenComplete(
        (buffer, error) -> {
          if (buffer != null) {
            buffer.release();
          }
        });
  }

  /** Spark's temporary files, until the task's end. Any thread. */
  private static final class Downloads implements DownloadFileManager {
    private final BlockManager blockManager;
    private final List<DownloadFile> files = new ArrayList<>();
    private boolean closed;

    Downloads(BlockManager blockManager) {
      this.blockManager = blockManager;
    }

    @Override
    public DownloadFile createTempFile(TransportConf conf) {
      // As it was written: if blocks are encrypted, so is this file.
      return new SimpleDownloadFile(
          blockManager.diskBlockManager().createTempLocalBlock()._2(), conf);
    }

    @Override
    public synchronized boolean registerTempFileToClean(DownloadFile file) {
      return !closed && files.add(file);
    }

    synchronized void close() {
      closed = true;
      files.forEach(DownloadFile::delete);
      files.clear();
    }
  }

  private static final class Listener implements BlockFetchingListener {
    private final Map<String, CompletableFuture<ManagedBuffer>> answers;

    Listener(Map<String, CompletableFuture<ManagedBuffer>> answers) {
      this.answers = answers;
    }

    @Override
    public void onBlockFetchSuccess(String blockId, ManagedBuffer data) {
      data.retain(); // the caller releases its own reference
      if (!answers.get(blockId).complete(data)) {
        data.release();
      }
    }

    @Override
    public void onBlockFetchFailure(String blockId, Throwable exception) {
      answers.get(blockId).completeExceptionally(exception);
    }
  }
}
