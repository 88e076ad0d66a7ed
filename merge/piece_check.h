// The checksum of a large block from the pieces in which it is read, in any order.
//
// Pure. Memory: 48 bytes a piece.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>

#include "base/crc32c.h"
#include "base/crc32c_combine.h"

namespace shufflefs::merge {

class PieceCheck {
 public:
  // Of the whole block. Without one every block is right.
  void expect(uint32_t crc) { expected_ = crc; }
  [[nodiscard]] std::optional<uint32_t> expected() const { return expected_; }
  // The copy that is read was found wrong: it is not to be read again.
  [[nodiscard]] bool copy_is_bad() const { return copy_is_bad_; }
  void set_copy_bad() { copy_is_bad_ = true; }

  // False if this was the last piece that was missing and all of them together are wrong: which one
  // is not known, so all are forgotten.
  [[nodiscard]] bool add(uint64_t at, std::span<const std::byte> piece, uint64_t block_length) {
    const std::pair<uint64_t, uint32_t> one{piece.size(), crc32c(piece)};
    const auto [place, is_new] = pieces_.try_emplace(at, one);
    if (!is_new && place->second == one) return true;  // read again: nothing has changed
    place->second = one;
    uint64_t covered = 0;
    uint32_t crc = 0;
    for (const auto& [offset, read] : pieces_) {
      crc = offset == 0 ? read.second : crc32c_combine(crc, read.second, read.first);
      covered += read.first;
    }
    if (covered < block_length || crc == expected_.value_or(crc)) return true;
    pieces_.clear();
    return false;
  }

 private:
  std::map<uint64_t, std::pair<uint64_t, uint32_t>> pieces_;  // offset -> (length, crc)
  std::optional<uint32_t> expected_;
  bool copy_is_bad_ = false;
};

}  // namespace shufflefs::merge
