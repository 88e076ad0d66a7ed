// The connections whose handshake is not over. There are at most so many in all and from one address;
// when one more comes, the oldest gives way, of that address if it has too many. So a flood of
// connections that say nothing ends itself, and a node that shakes hands at once, be it from the
// flooder's own address, gets through.
//
// Threads: reactor. Ownership: refers to the connections; the entry ends before its connection does
// and before the HalfOpen. Cost: a walk over at most `most` entries where there are too many.
#pragma once

#include <cstddef>
#include <list>
#include <map>
#include <string>

#include "net/connection.h"

namespace shufflefs::net {

class HalfOpen {
 public:
  HalfOpen(std::size_t most, std::size_t most_per_address)
      : most_(most), most_per_address_(most_per_address) {}

  // Counts its connection until its end, or until it has given way.
  class Entry {
   public:
    Entry(HalfOpen& owner, Connection& connection, std::string address);
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;
    ~Entry();
    [[nodiscard]] bool gave_way() const { return gone_; }

   private:
    friend class HalfOpen;
    HalfOpen& owner_;
    bool gone_ = false;
    std::list<Entry*>::iterator place_;
    Connection& connection_;
    const std::string address_;
  };

  [[nodiscard]] std::size_t size() const { return entries_.size(); }

 private:
  void remove(Entry& entry);
  void make_room(const std::string& address);

  const std::size_t most_;
  const std::size_t most_per_address_;
  std::list<Entry*> entries_;  // the oldest first
  std::map<std::string, std::size_t> per_address_;
};

}  // namespace shufflefs::net
