package org.shufflefs.spark;

import java.io.IOException;
import java.nio.channels.ClosedByInterruptException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicInteger;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * File operations on the mount, each with a bound. The kernel lets nobody out of a call that a hung
 * daemon does not answer, so threads of our own make the calls: one that hangs is left behind until
 * it is answered, and the task goes on without the mount. As long as one hangs no other is begun.
 *
 * <p>Any thread. Failure: the operation's IOException; one that names the mount if it hangs; a
 * ClosedByInterruptException if the caller is interrupted. Cost: two changes of threads.
 */
final class MountIo {
  interface Work<T> {
    T run() throws IOException;
  }

  /** What to do with an answer that comes when nobody waits for it any more. */
  interface Late<T> {
    void dispose(T answer) throws IOException;
  }

  private static final Logger LOG = LoggerFactory.getLogger(MountIo.class);
  private static final ExecutorService THREADS =
      Executors.newCachedThreadPool(
          work -> {
            Thread thread = new Thread(work, "shufflefs-mount");
            thread.setDaemon(true);
            return thread;
          });

  private final long patienceMs;
  private final AtomicInteger hung = new AtomicInteger();

  MountIo(long patienceMs) {
    this.patienceMs = patienceMs;
  }

  <T> T call(Object what, Work<T> work) throws IOException {
    return call(what, work, late -> {});
  }

  /** `what` is for messages. What `work` writes to must not be used again after a failure. */
  <T> T call(Object what, Work<T> work, Late<T> late) throws IOException {
    if (hung.get() > 0) {
      throw new IOException(what + ": the mount does not answer");
    }
    CompletableFuture<T> answer = new CompletableFuture<>();
    THREADS.execute(
        () -> {
          try {
            answer.complete(work.run());
          } catch (Throwable e) {
            answer.completeExceptionally(e);
          }
        });
    try {
      return answer.get(patienceMs, TimeUnit.MILLISECONDS);
    } catch (ExecutionException e) {
      throw Sneaky.rethrow(e.getCause());
    } catch (TimeoutException e) {
      LOG.warn("{}: the mount has not answered for {} ms and is not used until it does", what,
          patienceMs);
      hung.incrementAndGet();
      leave(answer, late);
      answer.whenComplete((ignored, error) -> hung.decrementAndGet());
      throw new IOException(what + ": the mount has not answered for " + patienceMs + " ms");
    } catch (InterruptedException e) {
      leave(answer, late);
      Thread.currentThread().interrupt();
      throw new ClosedByInterruptException();
    }
  }

  private static <T> void leave(CompletableFuture<T> answer, Late<T> late) {
    answer.whenComplete(
        (value, error) -> {
          if (error != null) {
            return;
          }
          try {
            late.dispose(value);
          } catch (IOException ignored) {
            // Nobody wants it.
          }
        });
  }
}
