// What `shufflefs status` shows of one node. Pure function of what the node answers.
#pragma once

#include <string>

#include "main/status_view.h"
#include "main/terminal.h"

namespace shufflefs {

[[nodiscard]] std::string status_page(const StatusView& status, const Terminal& terminal);

}  // namespace shufflefs
