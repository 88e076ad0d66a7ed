package org.shufflefs.spark;

/** Scala declares no checked exceptions, so Java does not expect those of its methods. */
final class Sneaky {
  private Sneaky() {}

  @SuppressWarnings("unchecked")
  static <T extends Throwable> RuntimeException rethrow(Throwable error) throws T {
    throw (T) error;
  }
}
