#include "merge/orphans.h"

#include "base/log.h"

namespace shufflefs::merge {

Task<void> Orphans::run() {
  while (true) {
    co_await sleep_for(runtime_, pause_);
    co_await look();
  }
}

Task<void> Orphans::look() {
  std::set<ShuffleKey> known;
  for (auto&& list : {store_.shuffles(), heard_.shuffles()}) known.insert(list.begin(), list.end());
  std::set<ShuffleKey> suspects;
  for (const ShuffleKey& shuffle : known) {
    if (!maps_.of(shuffle).empty() || !co_await catalog_.is_orphan(shuffle)) continue;
    if (suspects_.contains(shuffle))
      co_await end(shuffle);
    else
      suspects.insert(shuffle);
  }
  suspects_ = std::move(suspects);
}

Task<void> Orphans::end(ShuffleKey shuffle) {
  log_info("shuffle.ended",
           {{"shuffle", to_string(shuffle)}, {"reason", "nobody has a map output of it any more"}});
  heard_.drop(shuffle);
  const Status dropped = co_await offload(runtime_, [&] { return store_.drop(shuffle); });
  if (!dropped)
    log_limited(LogLevel::kWarning, "shuffle.not_dropped",
                {{"shuffle", to_string(shuffle)}, {"reason", dropped.error().message}});
}

}  // namespace shufflefs::merge
