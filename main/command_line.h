// The whole command line: which commands there are, help, usage errors. main() and the tests call
// it.
//
// One thread. Returns the exit code of main/commands.h.
#pragma once

#include <string>
#include <vector>

namespace shufflefs {

// `arguments` without the program's name.
[[nodiscard]] int run_command_line(std::vector<std::string> arguments);

}  // namespace shufflefs
