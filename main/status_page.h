// What `shufflefs status` shows of one node. Pure functions of what the node answers.
#pragma once

#include <string>

#include "main/status_view.h"
#include "main/terminal.h"

namespace shufflefs {

[[nodiscard]] std::string status_page(const StatusView& status, const Terminal& terminal);

// What an operator must know of a shuffle beyond its line in a table: a line each for what was
// given up or refused, and for nodes that do not answer. Empty if all is well.
[[nodiscard]] std::string shuffle_remarks(const ShuffleView& shuffle, const Terminal& terminal);

}  // namespace shufflefs
