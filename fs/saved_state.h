// What the mount needs to go on after its worker was killed: tables in shared memory, and open
// files that would be lost with their last descriptor (a removed file that is open without
// passthrough, a file system without handles, the snapshot behind an open partition).
//
// Threads: KeptFiles from any. Ownership: the supervisor's; a worker has duplicates. Tests use a
// default-constructed SavedState, which lives in their process alone.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/fd.h"

namespace shufflefs::fs {

enum class SavedPart : uint8_t {
  kInodes,
  kBackingIds,
  kOpenFiles,
  kTrees,
  kVirtualNames = 5,  // 4 is not used any more
  kVirtualLongNames,
  kVirtualOpens,
  kEmptyApps,
};
inline constexpr std::size_t kSavedParts = 9;
// Changes with the meaning of any record, and with what is negotiated with the kernel.
inline constexpr uint32_t kSavedVersion = 1;

enum class KeptKind : uint32_t {
  kInode = 1,        // id: nodeid; the descriptor of InodeTable
  kVirtualOpen = 2,  // id: the handle's key; its snapshot
};

struct KeptFile {
  KeptKind kind{};
  uint64_t id = 0;
  Fd fd;
};

class KeptFiles {
 public:
  KeptFiles() = default;
  virtual ~KeptFiles() = default;
  KeptFiles(const KeptFiles&) = delete;
  KeptFiles& operator=(const KeptFiles&) = delete;

  // When it returns, the file is safe from our own death. `fd` stays the caller's.
  virtual void keep(KeptKind kind, uint64_t id, int fd) = 0;
  virtual void drop(KeptKind kind, uint64_t id) = 0;
};

class NothingKept final : public KeptFiles {
 public:
  void keep(KeptKind /*kind*/, uint64_t /*id*/, int /*fd*/) override {}
  void drop(KeptKind /*kind*/, uint64_t /*id*/) override {}
};

struct SavedState {
  std::array<Fd, kSavedParts> tables;
  std::vector<KeptFile> kept;  // by the worker before
  // How many workers have served this mount before.
  uint32_t generation = 0;

  [[nodiscard]] Fd take(SavedPart part) {
    return std::move(tables.at(static_cast<std::size_t>(part)));
  }
};

}  // namespace shufflefs::fs
