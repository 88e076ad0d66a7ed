// A mount as it passes from process to process: the connection to the kernel, what the kernel said
// first, what the filesystem has to remember (fs/saved_state.h), and the locks of its data
// directories. The supervisor owns one and lends it to each worker.
//
// Threads: one at a time. Ownership: of the descriptors; the mount itself lives while any process
// has the connection open. Failure: an Error; nothing is lost by trying again with another
// receiver.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "fs/saved_state.h"

namespace shufflefs {

struct MountState {
  using KeptId = std::pair<fs::KeptKind, uint64_t>;

  std::string directory;
  Fd connection;
  unsigned connection_number = 0;
  std::vector<std::byte> init;
  bool can_resend = false;  // the kernel offers it
  std::array<Fd, fs::kSavedParts> tables;
  std::map<KeptId, Fd> kept;
  std::vector<Fd> locks;
  uint32_t generation = 0;  // workers that have served it
  Fd settings;              // as a TOML file
};

// Memory for the tables of a new mount.
[[nodiscard]] Status make_tables(MountState& state);

[[nodiscard]] Status send_state(int channel, const MountState& state);
[[nodiscard]] Result<MountState> receive_state(int channel, std::chrono::milliseconds patience);

}  // namespace shufflefs
