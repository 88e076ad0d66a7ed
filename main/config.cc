#include "main/config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <toml++/toml.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <set>
#include <sstream>
#include <tuple>

#include "base/escape.h"
#include "main/commands.h"
#include "main/config_keys.h"

namespace shufflefs {

constexpr std::array<std::string_view, 4> kLocalModes{"auto", "passthrough", "bind", "fuse"};

std::string_view to_string(LocalMode mode) {
  return kLocalModes.at(static_cast<std::size_t>(mode));
}

namespace {

using std::chrono::milliseconds;

template <class Number>
Status read_within(const ConfigKey& key, uint64_t value, Number& place) {
  if (value < key.least || value > key.most) {
    return make_error(Code::kConfig,
                      fmt::format("out of range: {} to {} is allowed", bound_text(key, key.least),
                                  bound_text(key, key.most)));
  }
  place = static_cast<Number>(value);
  return ok();
}

template <class Value>
Status read_word(const std::optional<Value>& value, const std::string& text, std::string_view wrong,
                 Value& place) {
  if (!value) return make_error(Code::kConfig, fmt::format("'{}' {}", text, wrong));
  place = *value;
  return ok();
}

// Absolute, without ".", ".." and trailing slashes; symbolic links stay.
std::string absolute_path(const std::string& path) {
  std::error_code error;
  std::string result = std::filesystem::absolute(path, error).lexically_normal().string();
  while (result.size() > 1 && result.ends_with('/')) result.pop_back();
  return result;
}

// A pair for each type of place: how it is read, and how it is written.

Status read(const ConfigKey&, const std::string& text, merge::NodeName& place) {
  TRY_ASSIGN(place, merge::NodeName::parse(text));
  return ok();
}
std::string write(const merge::NodeName& name) { return name.str(); }

Status read(const ConfigKey& key, const std::string& text, std::string& place) {
  place = key.kind == ValueKind::kPath || key.kind == ValueKind::kFile ? absolute_path(text) : text;
  return ok();
}
std::string write(const std::string& text) { return text; }

Status read(const ConfigKey&, const std::string& text, std::vector<std::string>& place) {
  place.push_back(absolute_path(text));
  return ok();
}

Status read(const ConfigKey&, const std::string& text, HostPort& place) {
  place = HostPort();
  if (text.empty()) return ok();
  TRY_ASSIGN(place, parse_host_port(text));
  return ok();
}
std::string write(const HostPort& address) {
  return address.host.empty() ? std::string() : to_string(address);
}

Status read(const ConfigKey& key, const std::string& text, uint64_t& place) {
  TRY_ASSIGN(const uint64_t bytes, parse_bytes(text));
  return read_within(key, bytes, place);
}
std::string write(uint64_t bytes) { return std::to_string(bytes); }

Status read(const ConfigKey& key, const std::string& text, uint32_t& place) {
  const auto number = parse_decimal(text);
  if (!number) return make_error(Code::kConfig, fmt::format("'{}' is not a plain number", text));
  return read_within(key, *number, place);
}
std::string write(uint32_t count) { return std::to_string(count); }

Status read(const ConfigKey& key, const std::string& text, milliseconds& place) {
  TRY_ASSIGN(const milliseconds duration, parse_duration(text));
  return read_within(key, static_cast<uint64_t>(duration.count()), place);
}
std::string write(milliseconds duration) { return fmt::format("{}ms", duration.count()); }

Status read(const ConfigKey&, const std::string& text, bool& place) {
  std::optional<bool> value;
  if (text == "true" || text == "false") value = text == "true";
  return read_word(value, text, "is neither true nor false", place);
}
std::string write(bool value) { return value ? "true" : "false"; }

Status read(const ConfigKey&, const std::string& text, Replicate& place) {
  std::optional<Replicate> value;
  if (text == "none") value = Replicate::kNone;
  if (text == "all") value = Replicate::kAll;
  return read_word(value, text, "is neither none nor all", place);
}
std::string write(Replicate value) { return value == Replicate::kAll ? "all" : "none"; }

Status read(const ConfigKey&, const std::string& text, LocalMode& place) {
  std::optional<LocalMode> value;
  for (std::size_t i = 0; i < kLocalModes.size(); ++i) {
    if (text == kLocalModes.at(i)) value = static_cast<LocalMode>(i);
  }
  return read_word(value, text, "is neither auto, passthrough, bind nor fuse", place);
}
std::string write(LocalMode mode) { return std::string(to_string(mode)); }

Status read(const ConfigKey&, const std::string& text, SparkRelay& place) {
  std::optional<SparkRelay> value;
  if (text == "off") value = SparkRelay::kOff;
  if (text == "redirect") value = SparkRelay::kRedirect;
  return read_word(value, text, "is neither off nor redirect", place);
}
std::string write(SparkRelay relay) { return relay == SparkRelay::kRedirect ? "redirect" : "off"; }

Status read(const ConfigKey&, const std::string& text, LogLevel& place) {
  return read_word(parse_log_level(text), text, "is not a log level", place);
}
std::string write(LogLevel level) { return std::string(to_string(level)); }

Status read(const ConfigKey&, const std::string& text, LogFormat& place) {
  return read_word(parse_log_format(text), text, "is not a log format", place);
}
std::string write(LogFormat format) { return std::string(to_string(format)); }

void insert(toml::table& table, std::string_view name, const ConfigKey& key,
            const std::vector<std::string>& texts) {
  const std::string& text = texts.front();
  if (key.repeatable()) {
    toml::array list;
    for (const std::string& element : texts) list.push_back(element);
    table.insert(name, std::move(list));
  } else if (key.kind == ValueKind::kSwitch) {
    table.insert(name, text == "true");
  } else if (key.kind == ValueKind::kCount) {
    table.insert(name, static_cast<int64_t>(parse_decimal(text).value()));
  } else {
    table.insert(name, text);
  }
}

}  // namespace

Status read_value(const ConfigKey& key, const std::string& text, Settings& settings) {
  return std::visit([&](const auto& place) { return read(key, text, place(settings)); },
                    key.target);
}

std::vector<std::string> value_texts(const ConfigKey& key, const Settings& settings) {
  std::vector<std::string> texts;
  Settings copy = settings;  // a key knows its place in settings that may be changed
  std::visit(
      [&](const auto& place) {
        const auto& value = place(copy);
        if constexpr (std::is_same_v<decltype(value), const std::vector<std::string>&>)
          texts = value;
        else
          texts.push_back(write(value));
      },
      key.target);
  if (!key.may_be_empty) std::erase(texts, "");
  return texts;
}

std::string settings_as_toml(const Settings& settings) {
  toml::table all;
  for (const ConfigKey& key : config_keys()) {
    const std::vector<std::string> texts = value_texts(key, settings);
    if (texts.empty()) continue;
    const std::size_t dot = key.name.find('.');
    if (dot == std::string_view::npos) {
      insert(all, key.name, key, texts);
    } else {
      toml::node& section = all.emplace<toml::table>(key.name.substr(0, dot)).first->second;
      insert(*section.as_table(), key.name.substr(dot + 1), key, texts);
    }
  }
  std::ostringstream text;
  text << all << "\n";
  return text.str();
}

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
    case ValueKind::kFile:
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

// The mistake of a key that does not exist, with the one that was probably meant.
Mistake unknown_key(const std::string& name, std::string value, std::string source) {
  std::vector<std::string_view> names;
  for (const ConfigKey& key : config_keys()) names.push_back(key.name);
  const auto meant = did_you_mean(name, names);
  return {name, std::move(value), std::move(source), "there is no such key",
          meant ? fmt::format("did you mean {}?", *meant)
                : "remove it; 'shufflefs serve --help' lists the keys"};
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

// What the file says of known keys; mistakes (not readable, not TOML, unknown keys, wrong types)
// are appended.
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

std::string remedy_for(const ConfigKey& key) {
  const std::string range = range_text(key);
  std::string remedy = fmt::format("write {}", placeholder(key.kind));
  if (!range.empty()) remedy += fmt::format(" ({})", range);
  if (!key.default_text.empty())
    remedy += fmt::format(", or leave it out for {}", key.default_text);
  return remedy;
}

class Loader {
 public:
  // Values of one source. Those of a later source replace those of an earlier one.
  void take(const RawConfig& values) {
    for (const auto& [name, raw] : values) {
      const ConfigKey* const key = find_config_key(name);
      if (key == nullptr)
        mistake(unknown_key(name, fmt::format("{}", fmt::join(raw.texts, " ")), raw.source));
      else
        take_key(*key, raw);
    }
  }

  void complete() {
    for (const ConfigKey& key : config_keys()) {
      if (given_.contains(key.name)) continue;
      if (key.required()) {
        mistake({std::string(key.name), "", "", "it is required and not given",
                 fmt::format("give --{} {}: {}", key.name, placeholder(key.kind), key.help)});
      } else if (!key.default_text.empty()) {
        const std::string text(key.default_text);
        std::ignore = read_value(key, text, config_.settings);
      }
    }
    Settings& settings = config_.settings;
    // Without a way to know nodes from strangers, only this machine is listened to.
    if (!settings.peer_security.authenticates() && !settings.peer_security.insecure) {
      std::string& host = settings.peer_listen.host;
      if (host == "0.0.0.0") host = "127.0.0.1";
      if (host == "::") host = "::1";
    }
    if (!given_.contains("push.max-block-bytes")) {
      settings.push.max_block_bytes =
          settings.push.replicate == Replicate::kAll
              ? std::min<uint64_t>(uint64_t{1} << 30U, settings.memory_bytes / 4)
              : std::min<uint64_t>(uint64_t{64} << 20U, settings.memory_bytes / 8);
    }
  }

  // Only after a key has been read well is it worth comparing with others.
  [[nodiscard]] bool is_good(std::string_view name) const {
    const ConfigKey* const key = find_config_key(name);
    return !bad_.contains(name) && (given_.contains(name) || !key->required());
  }
  void mistake(Mistake mistake) { config_.mistakes.push_back(std::move(mistake)); }
  LoadedConfig& config() { return config_; }

 private:
  void take_key(const ConfigKey& key, const RawValue& raw) {
    given_.insert(key.name);
    bad_.erase(key.name);
    auto bad = [&](const std::string& value, const std::string& reason, const std::string& remedy) {
      bad_.insert(key.name);
      mistake({std::string(key.name), value, raw.source, reason, remedy});
    };
    if (key.repeatable())
      std::get<Place<std::vector<std::string>>>(key.target)(config_.settings).clear();
    if (!key.repeatable() && raw.texts.size() > 1) {
      bad(fmt::format("{}", fmt::join(raw.texts, " ")),
          fmt::format("it is given {} times", raw.texts.size()), "give it once");
      return;
    }
    for (const std::string& text : raw.texts) {
      if (text.empty() && !key.may_be_empty) {
        bad(text, "it has no value", remedy_for(key));
        continue;
      }
      if (!is_printable(text)) {
        bad(text, "it is no text: it has control characters, or bytes that are no UTF-8",
            "use other names");
        continue;
      }
      const Status status = read_value(key, text, config_.settings);
      if (!status) bad(text, status.error().message, remedy_for(key));
    }
  }

  LoadedConfig config_;
  std::set<std::string_view> given_;
  std::set<std::string_view> bad_;
};

}  // namespace

Machine this_machine() {
  return {.is_root = ::geteuid() == 0, .has_fuse_device = ::access("/dev/fuse", R_OK | W_OK) == 0};
}

LoadedConfig load_config(const RawConfig& command_line, const std::optional<std::string>& file,
                         const Machine& machine) {
  Loader loader;
  RawConfig from_file;
  if (file) from_file = read_config_file(*file, loader.config().mistakes);
  loader.take(from_file);
  loader.take(command_line);
  loader.complete();
  check_config(
      loader.config().settings, [&](std::string_view name) { return loader.is_good(name); },
      machine, loader.config().mistakes);
  return std::move(loader.config());
}

std::optional<std::string> value_in_file(const std::string& file, std::string_view key) {
  std::vector<Mistake> ignored;
  const RawConfig values = read_config_file(file, ignored);
  const auto found = values.find(key);
  if (found == values.end() || found->second.texts.empty()) return std::nullopt;
  return found->second.texts.back();
}

std::string describe(const std::vector<Mistake>& mistakes) {
  std::string text =
      fmt::format("shufflefs: {} in the configuration; nothing was started or mounted.\n",
                  mistakes.size() == 1 ? "1 mistake" : fmt::format("{} mistakes", mistakes.size()));
  for (const Mistake& mistake : mistakes) {
    text += "\n  ";
    text += printable(mistake.key);
    if (!mistake.value.empty()) text += fmt::format(" = {}", printable(mistake.value));
    if (!mistake.source.empty()) text += fmt::format("  ({})", printable(mistake.source));
    text += fmt::format("\n    {}\n    To do: {}\n", printable(mistake.reason),
                        printable(mistake.remedy));
  }
  text += "\n'shufflefs serve --help' explains every key.\n";
  return text;
}

}  // namespace shufflefs
