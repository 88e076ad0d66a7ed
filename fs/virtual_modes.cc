#include "fs/virtual_modes.h"

namespace shufflefs::fs {

OpenModes::Verdict OpenModes::begin(uint64_t nodeid, uint64_t bytes, bool whole) {
  const MutexLock lock(mu_);
  const auto it = by_nodeid_.find(nodeid);
  const bool open = it != by_nodeid_.end();
  if (open && it->second.passthrough) {
    return whole && it->second.bytes == bytes ? Verdict::kPassthrough : Verdict::kStale;
  }
  if (!open && whole) return Verdict::kPassthrough;
  Opens& opens = by_nodeid_[nodeid];
  ++opens.users;
  opens.bytes = bytes;
  return Verdict::kOrdinary;
}

void OpenModes::opened(uint64_t nodeid, uint64_t bytes) {
  const MutexLock lock(mu_);
  Opens& opens = by_nodeid_[nodeid];
  ++opens.users;
  opens.bytes = bytes;
  opens.passthrough = true;
}

void OpenModes::released(uint64_t nodeid) {
  const MutexLock lock(mu_);
  const auto it = by_nodeid_.find(nodeid);
  if (it != by_nodeid_.end() && --it->second.users == 0) by_nodeid_.erase(it);
}

std::optional<uint64_t> OpenModes::bytes(uint64_t nodeid) const {
  const MutexLock lock(mu_);
  const auto it = by_nodeid_.find(nodeid);
  if (it == by_nodeid_.end()) return std::nullopt;
  return it->second.bytes;
}

}  // namespace shufflefs::fs
