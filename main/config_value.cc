#include "main/config_value.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <sstream>

#include "main/config_checks.h"

namespace shufflefs {
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

// A pair for each type of place: how it is read, and how it is written.

Status read(const ConfigKey&, const std::string& text, merge::NodeName& place) {
  TRY_ASSIGN(place, merge::NodeName::parse(text));
  return ok();
}
std::string write(const merge::NodeName& name) { return name.str(); }

Status read(const ConfigKey& key, const std::string& text, std::string& place) {
  place = key.kind == ValueKind::kPath ? absolute_path(text) : text;
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

}  // namespace shufflefs
