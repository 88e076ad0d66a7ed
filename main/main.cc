// shufflefs: see main/commands.h for the commands.
#include <exception>
#include <iostream>

#include "main/commands.h"

int main(int argc, char** argv) {
  try {
    return shufflefs::run_command_line(std::vector<std::string>(argv + 1, argv + argc));
  } catch (const std::exception& error) {
    std::cerr << "shufflefs: internal error: " << error.what() << "\n";
    return 1;
  }
}
