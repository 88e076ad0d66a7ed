#include "main/terminal.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace shufflefs {
namespace {

std::string_view code_of(Colour colour) {
  switch (colour) {
    case Colour::kNone: return "";
    case Colour::kBold: return "\x1b[1m";
    case Colour::kDim: return "\x1b[2m";
    case Colour::kGreen: return "\x1b[32m";
    case Colour::kYellow: return "\x1b[33m";
    case Colour::kRed: return "\x1b[31m";
  }
  return "";
}

std::size_t visible_width(std::string_view text) {
  std::size_t width = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\x1b')
      i = std::min(text.find('m', i), text.size() - 1);
    else
      ++width;
  }
  return width;
}

}  // namespace

Terminal Terminal::of(int fd) {
  Terminal terminal;
  terminal.interactive_ = ::isatty(fd) == 1;
  const char* const term = std::getenv("TERM");
  const char* const no_colour = std::getenv("NO_COLOR");
  const bool is_dumb = term == nullptr || std::string_view(term) == "dumb";
  terminal.colour_ =
      terminal.interactive_ && !is_dumb && (no_colour == nullptr || *no_colour == '\0');
  return terminal;
}

std::string Terminal::paint(Colour colour, std::string_view text) const {
  if (!colour_ || colour == Colour::kNone) return std::string(text);
  return fmt::format("{}{}\x1b[0m", code_of(colour), text);
}

std::string Terminal::bar(uint64_t done, uint64_t total, std::size_t width) const {
  done = std::min(done, total);
  const double part = total == 0 ? 1.0 : static_cast<double>(done) / static_cast<double>(total);
  std::string percent = fmt::format("{:3d} %", static_cast<int>(part * 100.0));
  if (!interactive_) return percent;
  const auto filled = static_cast<std::size_t>(part * static_cast<double>(width));
  const std::string bar =
      fmt::format("[{}{}]", std::string(filled, '#'), std::string(width - filled, '-'));
  return fmt::format("{} {}", paint(done == total ? Colour::kGreen : Colour::kYellow, bar),
                     percent);
}

std::string align(const std::vector<std::vector<std::string>>& rows, std::string_view indent) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], visible_width(row[i]));
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line(indent);
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size()) line += std::string(widths[i] - visible_width(row[i]) + 2, ' ');
    }
    while (line.ends_with(' ')) line.pop_back();
    text += line + "\n";
  }
  return text;
}

}  // namespace shufflefs
