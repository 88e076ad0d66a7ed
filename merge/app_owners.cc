#include "merge/app_owners.h"

#include <fmt/format.h>

#include "base/log.h"

namespace shufflefs::merge {

Status AppOwners::claim(const AppId& app, FileOwner owner) {
  const MutexLock lock(mu_);
  const auto [it, added] = owners_.try_emplace(app, owner);
  if (added || it->second.uid == owner.uid) return ok();
  return make_error(Code::kRefused,
                    fmt::format("the application {} is of user {}, not of user {}: all map outputs "
                                "of an application belong to one user",
                                app.str(), it->second.uid, owner.uid));
}

void AppOwners::heard(const AppId& app, FileOwner owner) {
  const MutexLock lock(mu_);
  const auto [it, added] = owners_.try_emplace(app, owner);
  if (added || it->second.uid == owner.uid || it->second == FileOwner{}) return;
  log_limited(LogLevel::kWarning, "app.two_owners",
              {{"app", app.str()},
               {"user", it->second.uid},
               {"other_user", owner.uid},
               {"consequence", "what is merged of it is readable by root only"},
               {"remedy", "give each user's jobs application names of their own"}});
  it->second = FileOwner{};
}

std::optional<FileOwner> AppOwners::find(const AppId& app) const {
  const MutexLock lock(mu_);
  const auto it = owners_.find(app);
  if (it == owners_.end()) return std::nullopt;
  return it->second;
}

void AppOwners::forget(const AppId& app) {
  const MutexLock lock(mu_);
  owners_.erase(app);
}

}  // namespace shufflefs::merge
