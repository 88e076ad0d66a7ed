// What RENAME_EXCHANGE needs to be done exactly once: done twice, it is undone, and afterwards the
// directory does not say how often it was done. So the file behind the first name is written down
// (saved_memory.h) before, and looked at when the request comes again after a worker's death.
//
// Threads: any. Cost: a record while the exchange lasts.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <map>

#include "base/mutex.h"
#include "fs/request.h"
#include "fs/saved_memory.h"

namespace shufflefs::fs {

class ExchangeJournal {
 public:
  explicit ExchangeJournal(Fd saved = Fd());

  struct Begun {
    uint32_t record = 0;
    bool is_done = false;  // by the first execution of the same request
  };
  // `first` is what the first name stands for now.
  Begun begin(const RequestId& request, const struct stat& first);
  // When the request has been answered.
  void end(const Begun& begun) { saved_.remove(begun.record); }

 private:
  struct Record {
    uint64_t request = 0;
    uint64_t device = 0;
    uint64_t inode = 0;
  };
  SavedTable<Record> saved_;
  Mutex mu_;
  std::map<uint64_t, uint32_t> before_ GUARDED_BY(mu_);  // of a worker that died, by request
};

}  // namespace shufflefs::fs
