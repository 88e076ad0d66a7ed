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

  private final Path root;
  private final String node;
  private final boolean replicates;

  private NodeMount(Path root) throws IOException {
    this.root = root;
    this.node = readLine("node");
    this.replicates = readLine("replicate").equals("all");
  }

  /** Nothing: no mount is there, or its daemon does not answer. */
  static Optional<NodeMount> find(File[] localDirs) {
    for (File dir : localDirs) {
      Optional<NodeMount> found = above(dir.toPath().toAbsolutePath());
      if (found.isPresent()) {
        return found;
      }
    }
    return ofOwnJar();
  }

  private static Optional<NodeMount> ofOwnJar() {
    CodeSource source = NodeMount.class.getProtectionDomain().getCodeSource();
    if (source == null) {
      return Optional.empty();
    }
    try {
      return above(Path.of(source.getLocation().toURI()));
    } catch (URISyntaxException | IllegalArgumentException e) {
      return Optional.empty();
    }
  }

  private static Optional<NodeMount> above(Path path) {
    for (Path at = path; at != null; at = at.getParent()) {
      if (Files.isRegularFile(at.resolve(INFO).resolve("node"))) {
        try {
          return Optional.of(new NodeMount(at));
        } catch (IOException e) {
          return Optional.empty();
        }
      }
    }
    return Optional.empty();
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
    byte[] bytes = Files.readAllBytes(root.resolve(INFO).resolve(name));
    return new String(bytes, StandardCharsets.UTF_8).trim();
  }
}
