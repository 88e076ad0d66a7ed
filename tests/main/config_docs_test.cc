#include "main/config_docs.h"

#include <catch2/catch_test_macros.hpp>
#include <fstream>
#include <sstream>

#include "main/config_keys.h"

namespace shufflefs {

TEST_CASE("config docs: docs/configuration.md is what the table of keys says") {
  const std::string path = std::string(SHUFFLEFS_SOURCE_DIR) + "/docs/configuration.md";
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  INFO("regenerate it: build/shufflefs generate-docs > docs/configuration.md");
  const bool is_current = text.str() == configuration_page();  // not a page of difference
  CHECK(is_current);
}

TEST_CASE("config docs: every key has help, a price, and a default or a reason") {
  for (const ConfigKey& key : config_keys()) {
    INFO(key.name);
    CHECK_FALSE(key.help.empty());
    CHECK_FALSE(key.price.empty());
    CHECK(key.help.ends_with('.'));
    CHECK(key.price.ends_with('.'));
    CHECK(find_config_key(key.name) == &key);
  }
  CHECK(config_keys().size() <= 60);
}

}  // namespace shufflefs
