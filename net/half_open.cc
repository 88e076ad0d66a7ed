#include "net/half_open.h"

#include <algorithm>

namespace shufflefs::net {

HalfOpen::Entry::Entry(HalfOpen& owner, Connection& connection, std::string address)
    : owner_(owner), connection_(connection), address_(std::move(address)) {
  owner_.make_room(address_);
  place_ = owner_.entries_.insert(owner_.entries_.end(), this);
  ++owner_.per_address_[address_];
}

HalfOpen::Entry::~Entry() { owner_.remove(*this); }

void HalfOpen::remove(Entry& entry) {
  if (std::exchange(entry.gone_, true)) return;
  entries_.erase(entry.place_);
  const auto counted = per_address_.find(entry.address_);
  if (--counted->second == 0) per_address_.erase(counted);
}

void HalfOpen::make_room(const std::string& address) {
  const auto counted = per_address_.find(address);
  Entry* oldest = nullptr;
  if (counted != per_address_.end() && counted->second >= most_per_address_) {
    oldest = *std::ranges::find_if(
        entries_, [&](const Entry* entry) { return entry->address_ == address; });
  } else if (entries_.size() >= most_) {
    oldest = entries_.front();
  }
  if (oldest == nullptr) return;
  remove(*oldest);
  oldest->connection_.close();
}

}  // namespace shufflefs::net
