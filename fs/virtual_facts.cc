#include "fs/virtual_facts.h"

namespace shufflefs::fs {

std::optional<Facts> RecentFacts::find(const std::string& path, Clock::time_point now) const {
  const MutexLock lock(mu_);
  const auto it = entries_.find(path);
  if (it == entries_.end() || now - it->second.learnt >= kFresh) return std::nullopt;
  return it->second.facts;
}

void RecentFacts::put(const std::string& path, Facts facts, Clock::time_point now) {
  if (facts.text && facts.text->size() > kTextBytes) facts.text.reset();
  const MutexLock lock(mu_);
  if (entries_.size() >= kCapacity && !entries_.contains(path)) make_room(now);
  entries_.insert_or_assign(path, Entry{std::move(facts), now});
}

void RecentFacts::make_room(Clock::time_point now) {
  std::erase_if(entries_, [now](const auto& entry) { return now - entry.second.learnt >= kFresh; });
  if (entries_.size() >= kCapacity) entries_.clear();
}

void RecentFacts::forget_below(std::string_view directory) {
  const MutexLock lock(mu_);
  auto it = entries_.lower_bound(directory);
  while (it != entries_.end() && it->first.starts_with(directory)) {
    const bool below = it->first.size() == directory.size() || it->first[directory.size()] == '/';
    it = below ? entries_.erase(it) : std::next(it);
  }
}

std::size_t RecentFacts::size() const {
  const MutexLock lock(mu_);
  return entries_.size();
}

}  // namespace shufflefs::fs
