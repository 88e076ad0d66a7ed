#include "main/config_file.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <sstream>

#include "main/config_keys.h"
#include "main/did_you_mean.h"

namespace shufflefs {
namespace {

std::string text_of(const toml::node& node) {
  if (const auto* const text = node.as_string()) return text->get();
  std::ostringstream out;
  out << toml::node_view<const toml::node>(node);
  return out.str();
}

std::string_view expected_type(const ConfigKey& key) {
  switch (key.kind) {
    case ValueKind::kBytes: return "a size such as \"512M\", or a number of bytes";
    case ValueKind::kDuration: return "a duration such as \"500ms\", or a number of seconds";
    case ValueKind::kCount: return "a number, without quotes";
    case ValueKind::kSwitch: return "true or false, without quotes";
    case ValueKind::kPath:
      return key.repeatable() ? "a path in quotes, or a list of them: [\"/disk1\", \"/disk2\"]"
                              : "a path in quotes";
    default: return "a text in quotes";
  }
}

bool has_right_type(const ConfigKey& key, const toml::node& node) {
  switch (key.kind) {
    case ValueKind::kBytes:
    case ValueKind::kDuration: return node.is_string() || node.is_integer();
    case ValueKind::kCount: return node.is_integer();
    case ValueKind::kSwitch: return node.is_boolean();
    default: break;
  }
  if (const auto* const list = node.as_array(); list != nullptr && key.repeatable()) {
    return !list->empty() && list->is_homogeneous(toml::node_type::string);
  }
  return node.is_string();
}

// Walks the tables; every leaf is a key by its dotted name.
class Reader {
 public:
  Reader(std::string path, RawConfig& values, std::vector<Mistake>& mistakes)
      : path_(std::move(path)), values_(values), mistakes_(mistakes) {}

  void walk(const toml::table& table, const std::string& section) {
    for (const auto& [key, node] : table) {
      const std::string name =
          section.empty() ? std::string(key.str()) : fmt::format("{}.{}", section, key.str());
      if (const auto* const inner = node.as_table();
          inner != nullptr && find_config_key(name) == nullptr)
        walk(*inner, name);
      else
        leaf(name, node);
    }
  }

 private:
  void leaf(const std::string& name, const toml::node& node) {
    const std::string source = fmt::format("{} line {}", path_, node.source().begin.line);
    const ConfigKey* const key = find_config_key(name);
    if (key == nullptr) {
      mistakes_.push_back(unknown_key(name, text_of(node), source));
      return;
    }
    if (!has_right_type(*key, node)) {
      mistakes_.push_back({name, text_of(node), source, "the value has the wrong type",
                           fmt::format("write {}", expected_type(*key))});
      return;
    }
    RawValue& value = values_[name];
    value.source = source;
    if (const auto* const list = node.as_array()) {
      for (const toml::node& item : *list) value.texts.push_back(text_of(item));
    } else {
      value.texts.push_back(text_of(node));
    }
  }

  std::string path_;
  RawConfig& values_;
  std::vector<Mistake>& mistakes_;
};

}  // namespace

Mistake unknown_key(const std::string& name, std::string value, std::string source) {
  std::vector<std::string_view> names;
  for (const ConfigKey& key : config_keys()) names.push_back(key.name);
  const auto meant = did_you_mean(name, names);
  return {name, std::move(value), std::move(source), "there is no such key",
          meant ? fmt::format("did you mean {}?", *meant)
                : "remove it; 'shufflefs serve --help' lists the keys"};
}

RawConfig read_config_file(const std::string& path, std::vector<Mistake>& mistakes) {
  RawConfig values;
  try {
    const toml::table table = toml::parse_file(path);
    Reader(path, values, mistakes).walk(table, "");
  } catch (const toml::parse_error& error) {
    const auto line = error.source().begin.line;
    if (line == 0) {
      mistakes.push_back({"config", path, "command line",
                          fmt::format("the file cannot be read: {}", error.description()),
                          "give the path of an existing TOML file"});
    } else {
      mistakes.push_back({"config", path, fmt::format("{} line {}", path, line),
                          fmt::format("this is not TOML: {}", error.description()),
                          "correct the line; every key of the file is ignored until then"});
    }
  }
  return values;
}

}  // namespace shufflefs
