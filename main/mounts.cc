#include "main/mounts.h"

#include <fmt/format.h>
#include <sys/mount.h>

#include <algorithm>
#include <fstream>
#include <sstream>

namespace shufflefs {
namespace {

// mountinfo writes space, tab, newline and backslash as three octal digits.
std::string unescaped(const std::string& text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      result += static_cast<char>(std::stoi(text.substr(i + 1, 3), nullptr, 8));
      i += 3;
    } else {
      result += text[i];
    }
  }
  return result;
}

}  // namespace

std::vector<MountEntry> read_mounts() {
  std::vector<MountEntry> entries;
  std::ifstream file("/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    // id parent major:minor root point options [tags...] - type source options
    std::istringstream words(line);
    std::string word;
    MountEntry entry;
    for (int i = 0; i < 5 && words >> word; ++i) entry.point = unescaped(word);
    while (words >> word && word != "-") {
    }
    if (words >> entry.type) entries.push_back(std::move(entry));
  }
  return entries;
}

std::optional<MountEntry> mounted_at(const std::string& path) {
  std::optional<MountEntry> found;
  for (MountEntry& entry : read_mounts()) {
    if (entry.point == path) found = std::move(entry);
  }
  return found;
}

std::vector<MountEntry> mounts_below(const std::string& directory) {
  std::vector<MountEntry> found;
  for (MountEntry& entry : read_mounts()) {
    if (entry.point == directory || entry.point.starts_with(directory + "/"))
      found.push_back(std::move(entry));
  }
  std::reverse(found.begin(), found.end());
  return found;
}

Status detach_mount(const std::string& point) {
  if (::umount2(point.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0 || errno == EINVAL ||
      errno == ENOENT)
    return ok();
  return errno_error(fmt::format("unmounting {}", point));
}

}  // namespace shufflefs
