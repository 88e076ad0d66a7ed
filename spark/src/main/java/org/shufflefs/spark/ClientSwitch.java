package org.shufflefs.spark;

import java.util.concurrent.atomic.AtomicBoolean;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Whether the client does anything. It is turned off for good, and that is said once, when this
 * Spark lacks something that the client needs. Any thread.
 */
final class ClientSwitch {
  private static final Logger LOG = LoggerFactory.getLogger(ShufflefsManager.class);

  private final AtomicBoolean off = new AtomicBoolean();

  boolean isOn() {
    return !off.get();
  }

  void turnOff(Throwable missing) {
    if (off.compareAndSet(false, true)) {
      LOG.warn(
          "this Spark lacks something that the client needs ({}): shuffles are read as Spark reads"
              + " them",
          missing.toString());
    }
  }
}
