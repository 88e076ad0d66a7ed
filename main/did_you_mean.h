// The remedy for a misspelt name: the closest known one, if one is close enough to be meant. Pure
// function.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace shufflefs {

[[nodiscard]] std::optional<std::string> did_you_mean(std::string_view written,
                                                      const std::vector<std::string_view>& known);

}  // namespace shufflefs
