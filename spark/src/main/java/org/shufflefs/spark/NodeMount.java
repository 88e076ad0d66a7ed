package org.shufflefs.spark;

import java.io.File;
import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.CodeSource;
import java.util.Optional;

/**
 * The mount of this JVM's own node, and the files in it that the client reads. A value; any thread.
 *
 * <p>Executors find it by their local dirs, which lie in it; a JVM whose local dirs do not (a
 * driver) by its own jar, which is a file of a mount. There is nothing to configure.
 */
final class NodeMount {
  private static final String INFO = ".shufflefs";

  private final MountIo io;
  private final Path root;
  private final String node;
  private final boolean replicates;

  private NodeMount(MountIo io, Path root) throws IOException {
    this.io = io;
    this.root = root;
    this.node = readLine("node");
    this.replicates = readLine("replicate").equals("all");
  }

  /** Nothing: no mount is there, or its daemon does not answer. */
  static Optional<NodeMount> find(MountIo io, File[] localDirs) {
    for (File dir : localDirs) {
      Optional<NodeMount> found = above(io, dir.toPath().toAbsolutePath());
      if (found.isPresent()) {
        return found;
      }
    }
    return ofOwnJar(io);
  }

  private static Optional<NodeMount> ofOwnJar(MountIo io) {
    CodeSource source = NodeMount.class.getProtectionDomain().getCodeSource();
    if (source == null) {
      return Optional.empty();
    }
    try {
      return above(io, Path.of(source.getLocation().toURI()));
    } catch (URISyntaxException | IllegalArgumentException e) {
      return Optional.empty();
    }
  }

  private static Optional<NodeMount> above(MountIo io, Path path) {
    try {
      for (Path at = path; at != null; at = at.getParent()) {
        Path mark = at.resolve(INFO).resolve("node");
        if (io.call(mark, () -> Files.isRegularFile(mark))) {
          return Optional.of(new NodeMount(io, at));
        }
      }
    } catch (IOException e) {
      // As if it was not there.
    }
    return Optional.empty();
  }

  /** How its files are read. */
  MountIo io() {
    return io;
  }

  Path root() {
    return root;
  }

  /** The node's name among the members. */
  String node() {
    return node;
  }

  /** Whether the node pushes every block to a second node. */
  boolean replicates() {
    return replicates;
  }

  Path index(String app, int shuffle, int partition) {
    return partitions(app, shuffle).resolve(partition + ".index");
  }

  Path merged(String app, int shuffle, int partition) {
    return partitions(app, shuffle).resolve(partition + ".merged");
  }

  /** Who owns which of the shuffle's partitions, a line for each run of them. */
  Path owners(String app, int shuffle, int partitions) {
    return root.resolve(INFO).resolve("owners").resolve(app + "," + shuffle + "," + partitions);
  }

  /** Where the client's counts are written, for the daemon's metrics. */
  Path report() {
    return root.resolve(INFO).resolve("client-report");
  }

  private Path partitions(String app, int shuffle) {
    return root.resolve("shuffles")
        .resolve(app)
        .resolve(Integer.toString(shuffle))
        .resolve("partitions");
  }

  private String readLine(String name) throws IOException {
    Path path = root.resolve(INFO).resolve(name);
    byte[] bytes = io.call(path, () -> Files.readAllBytes(path));
    return new String(bytes, StandardCharsets.UTF_8).trim();
  }
}
