// A directory that goes away with its test, and short ways to put something into it.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include "support/temp_dir.h"

namespace shufflefs {

class TemporaryDirectory {
 public:
  [[nodiscard]] std::string path(const std::string& name = "") const {
    return name.empty() ? directory_.path() : directory_ / name;
  }
  std::string make(const std::string& name) const {
    std::filesystem::create_directories(path(name));
    return path(name);
  }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(path(name)) << text;
    return path(name);
  }

 private:
  testing::TempDir directory_;
};

}  // namespace shufflefs
