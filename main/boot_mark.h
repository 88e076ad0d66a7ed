// Whether the machine has run on since this node ran last: then the disks have every byte that was
// written, in the order in which it was written, whatever became of the process. A file `boot` in
// each data directory holds the kernel's boot id.
//
// Blocks; before the node starts, once.
#pragma once

#include <string>
#include <vector>

namespace shufflefs {

// Leaves the mark of this boot in each directory. True if all had it already.
[[nodiscard]] bool ran_on_since(const std::vector<std::string>& data_dirs);

}  // namespace shufflefs
