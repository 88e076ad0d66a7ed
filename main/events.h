// The one table of what may be logged: docs/events.md is made from it, and a test compares it with
// the sources: a code that is logged and not here, or here and not logged, fails. What to do about
// each warning and error is in docs/troubleshooting.md.
//
// Values, constant; any thread.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/log.h"

namespace shufflefs {

struct EventInfo {
  std::string_view code;
  LogLevel level{};  // the worst that it is logged at
  std::string_view meaning;
};

// Sorted by code.
[[nodiscard]] std::span<const EventInfo> events();

// docs/events.md.
[[nodiscard]] std::string events_page();

}  // namespace shufflefs
