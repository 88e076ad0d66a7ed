#include "fs/tree_hooks.h"

#include "fs/proc_path.h"

namespace shufflefs::fs {

Result<std::string> NameInTree::backing_path() const {
  std::string path = path_of_descriptor(directory_fd);
  if (path.empty())
    return errno_error("cannot find the path of the directory of " + std::string(name), ENOENT);
  if (path.back() != '/') path += '/';
  return path.append(name);
}

}  // namespace shufflefs::fs
