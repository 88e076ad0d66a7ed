// A set of map ids. Spark numbers them densely, so they are kept as bits, 512 to a piece: about a
// bit for each id of a dense range, 100 bytes for a lonely one.
#pragma once

#include <bitset>
#include <cstdint>
#include <unordered_map>

#include "base/hash.h"
#include "merge/ids.h"

namespace shufflefs::merge {

class MapSet {
 public:
  [[nodiscard]] bool contains(MapId map) const {
    const auto it = pieces_.find(number(map) / kPiece);
    return it != pieces_.end() && it->second.test(number(map) % kPiece);
  }
  void insert(MapId map) { pieces_[number(map) / kPiece].set(number(map) % kPiece); }
  void erase(MapId map) {
    const auto it = pieces_.find(number(map) / kPiece);
    if (it != pieces_.end()) it->second.reset(number(map) % kPiece);
  }
  void clear() { pieces_.clear(); }
  [[nodiscard]] std::size_t memory_bytes() const { return pieces_.size() * (kPiece / 8 + 40); }

 private:
  static constexpr std::size_t kPiece = 512;
  std::unordered_map<uint64_t, std::bitset<kPiece>, SeededHash> pieces_;
};

}  // namespace shufflefs::merge
