// The user that an application belongs to. That user owns its map outputs. The mount shows their
// merged data to that user and to root only.
//
// The first user counts, by a commit here, an announcement or a push of another node, or mkdir.
// Later ones are refused. If two nodes have accepted different users before they heard of each
// other, the application becomes root's. User ids mean the same on every node.
//
// Threads: any; own lock. Memory: some hundred bytes for each application that the node knows.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "base/mutex.h"
#include "merge/ids.h"

namespace shufflefs::merge {

struct FileOwner {
  uint32_t uid = 0;
  uint32_t gid = 0;
  friend bool operator==(const FileOwner&, const FileOwner&) = default;
};

class AppOwners {
 public:
  // For what happens here. kRefused if the application is another user's; otherwise it is theirs.
  [[nodiscard]] Status claim(const AppId& app, FileOwner owner);
  // What another node has accepted.
  void heard(const AppId& app, FileOwner owner);
  [[nodiscard]] std::optional<FileOwner> find(const AppId& app) const;
  // The application has ended.
  void forget(const AppId& app);

 private:
  mutable Mutex mu_;
  std::map<AppId, FileOwner> owners_ GUARDED_BY(mu_);
};

}  // namespace shufflefs::merge
