package org.shufflefs.spark;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.StandardOpenOption;
import java.util.concurrent.atomic.AtomicBoolean;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Hands a task's counts to the daemon. Any thread. A report that fails is lost, and said once. */
final class Reporter {
  private static final Logger LOG = LoggerFactory.getLogger(Reporter.class);
  private static final AtomicBoolean SAID = new AtomicBoolean();

  private Reporter() {}

  static void report(NodeMount mount, Counts counts) {
    LOG.debug("shuffle read: {}", counts);
    try {
      byte[] line = counts.line().getBytes(StandardCharsets.US_ASCII);
      mount.io().call(
          mount.report(),
          () -> Files.write(mount.report(), line, StandardOpenOption.WRITE));
    } catch (IOException e) {
      if (SAID.compareAndSet(false, true)) {
        LOG.warn("the daemon's metrics do not get this executor's counts: {}", e.toString());
      }
    }
  }
}
