// How output looks for people: colour and bars only where a terminal shows them, plain text
// everywhere else.
//
// Values; any thread. NO_COLOR (https://no-color.org) and TERM=dumb switch colour off.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace shufflefs {

enum class Colour { kNone, kBold, kDim, kGreen, kYellow, kRed };

class Terminal {
 public:
  // Of the descriptor that will be written to, 1 or 2.
  [[nodiscard]] static Terminal of(int fd);
  [[nodiscard]] static Terminal plain() { return {}; }

  [[nodiscard]] bool is_interactive() const { return interactive_; }
  [[nodiscard]] std::string paint(Colour colour, std::string_view text) const;
  // "[#######---]  70 %"; only the percentage where there is no terminal.
  [[nodiscard]] std::string bar(uint64_t done, uint64_t total, std::size_t width = 20) const;

 private:
  bool interactive_ = false;
  bool colour_ = false;
};

// Columns padded to the widest cell, two spaces between; escape sequences do not count. Each line
// is indented and ends with a newline.
[[nodiscard]] std::string align(const std::vector<std::vector<std::string>>& rows,
                                std::string_view indent = "  ");

}  // namespace shufflefs
