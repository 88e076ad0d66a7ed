// The invariants of merged partitions on disk: each index record names bytes that equal the
// origin's block, and no commit of a map output is twice in one index. Looked at when a record is
// written, and for all files at quiescent moments.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "merge/partition_index.h"
#include "sim/sim_disk.h"
#include "sim/truth.h"

namespace shufflefs::sim {

class MergedCheck {
 public:
  explicit MergedCheck(Truth& truth) : truth_(truth) {}

  // What is wrong with the records that this write has put into the file; nothing if it is fine, or
  // no index of a merged partition.
  [[nodiscard]] std::optional<std::string> after_write(const SimDisk& disk, const std::string& path,
                                                       uint64_t offset, uint64_t length);
  // All merged partitions of a data directory.
  [[nodiscard]] std::optional<std::string> whole(const SimDisk& disk, const std::string& data_dir);

  // Whether one of these directories has the block under a record of its own.
  [[nodiscard]] bool holds(const SimDisk& disk, const std::vector<std::string>& data_dirs,
                           const WrittenMap& written, merge::PartitionId partition) const;

  // As above, and its bytes are right.
  [[nodiscard]] bool holds_intact(const SimDisk& disk, const std::vector<std::string>& data_dirs,
                                  const WrittenMap& written, merge::PartitionId partition) const;

  // A record of it has the checksum of other bytes: it was pushed again after it was changed.
  [[nodiscard]] bool holds_other(const SimDisk& disk, const std::vector<std::string>& data_dirs,
                                 const WrittenMap& written, merge::PartitionId partition) const;

  // Bytes of the file have been damaged from outside, or lost with the power: it is left out.
  void excuse(const std::string& path);
  void excuse_all(const SimDisk& disk);

 private:
  struct Place {
    merge::ShuffleKey shuffle;
    uint64_t life = 0;
    merge::PartitionId partition{};
    std::string base;  // the path without ".index"
  };
  [[nodiscard]] static std::optional<Place> place_of(const std::string& path);
  [[nodiscard]] std::optional<std::string> check_record(const SimDisk& disk, const Place& place,
                                                        const merge::IndexRecord& record);
  [[nodiscard]] static Result<merge::ParsedIndex> parse(std::span<const std::byte> index,
                                                        const Place& place);
  [[nodiscard]] bool is_excused(const std::string& base) const;
  [[nodiscard]] static bool any_record(
      const SimDisk& disk, const std::vector<std::string>& data_dirs, const WrittenMap& written,
      merge::PartitionId partition,
      const std::function<bool(const Place&, const merge::IndexRecord&)>& wanted);

  Truth& truth_;
  std::set<std::string> excused_;  // by the base of the path, without its disk
};

}  // namespace shufflefs::sim
