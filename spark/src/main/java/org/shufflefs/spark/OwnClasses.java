package org.shufflefs.spark;

import java.io.File;
import java.io.IOException;
import java.net.URISyntaxException;
import java.util.Collections;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;

/**
 * Loads all classes of the client's jar at once: the jar lies in the mount, and an executor must not
 * need it any more when the mount is gone.
 */
final class OwnClasses {
  private OwnClasses() {}

  static void loadAll() {
    try {
      File jar = new File(
          OwnClasses.class.getProtectionDomain().getCodeSource().getLocation().toURI());
      if (!jar.isFile()) {
        return;
      }
      try (JarFile file = new JarFile(jar)) {
        for (JarEntry entry : Collections.list(file.entries())) {
          String name = entry.getName();
          if (name.endsWith(".class")) {
            String of = name.substring(0, name.length() - ".class".length()).replace('/', '.');
            Class.forName(of, true, OwnClasses.class.getClassLoader());
          }
        }
      }
    } catch (IOException | URISyntaxException | ClassNotFoundException | LinkageError e) {
      // They are loaded one by one then, as classes are.
    }
  }
}
