#include "fs/exchange_journal.h"

namespace shufflefs::fs {

ExchangeJournal::ExchangeJournal(Fd saved) : saved_(std::move(saved), "exchanges") {
  for (const uint32_t at : saved_.all()) before_.emplace(saved_[at].request, at);
}

ExchangeJournal::Begun ExchangeJournal::begin(const RequestId& request, const struct stat& first) {
  if (request.resent) {
    const MutexLock lock(mu_);
    const auto it = before_.find(request.number);
    if (it != before_.end()) {
      const Record& record = saved_[it->second];
      const bool is_done = record.device != first.st_dev || record.inode != first.st_ino;
      const Begun begun{it->second, is_done};
      before_.erase(it);
      return begun;
    }
  }
  return {saved_.add({request.number, first.st_dev, first.st_ino}), false};
}

}  // namespace shufflefs::fs
