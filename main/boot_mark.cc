#include "main/boot_mark.h"

#include <fstream>
#include <iterator>

namespace shufflefs {
namespace {

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace

bool ran_on_since(const std::vector<std::string>& data_dirs) {
  const std::string boot = text_of("/proc/sys/kernel/random/boot_id");
  bool same = !boot.empty();
  for (const std::string& directory : data_dirs) {
    const std::string path = directory + "/boot";
    if (text_of(path) == boot) continue;
    same = false;
    // If this fails the next start verifies once more than it needs to.
    std::ofstream(path, std::ios::trunc) << boot;
  }
  return same;
}

}  // namespace shufflefs
