// docs/configuration.md, made from the table of keys; a test compares the two. Pure function.
#pragma once

#include <string>

namespace shufflefs {

[[nodiscard]] std::string configuration_page();

}  // namespace shufflefs
