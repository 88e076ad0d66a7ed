#include "sim/truth.h"

#include <cstring>

#include "sim/schedule.h"

namespace shufflefs::sim {

WrittenMap& Truth::add(WrittenMap written) {
  written.writing = all_.size() + 1;
  by_name_[{written.shuffle, written.map}].push_back(written.writing);
  const uint64_t writing = written.writing;
  return all_.emplace(writing, std::move(written)).first->second;
}

std::vector<WrittenMap*> Truth::find(const merge::ShuffleKey& shuffle, merge::MapId map) {
  std::vector<WrittenMap*> found;
  const auto it = by_name_.find({shuffle, map});
  if (it == by_name_.end()) return found;
  for (const uint64_t writing : it->second) found.push_back(&all_.at(writing));
  return found;
}

std::vector<WrittenMap*> Truth::of(const merge::ShuffleKey& shuffle) {
  std::vector<WrittenMap*> found;
  for (auto& [writing, written] : all_) {
    if (written.shuffle == shuffle) found.push_back(&written);
  }
  return found;
}

std::string Truth::block(const WrittenMap& written, merge::PartitionId partition) {
  std::string bytes(written.length(partition), '\0');
  Random random(written.writing * 1'000'003 + number(partition));
  for (std::size_t i = 0; i < bytes.size(); i += 8) {
    const uint64_t word = random.next();
    std::memcpy(bytes.data() + i, &word, std::min<std::size_t>(8, bytes.size() - i));
  }
  return bytes;
}

bool Truth::is_block(const WrittenMap& written, merge::PartitionId partition,
                     std::string_view bytes) {
  return bytes.size() == written.length(partition) && bytes == block(written, partition);
}

}  // namespace shufflefs::sim
