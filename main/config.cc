#include "main/config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <set>
#include <tuple>

#include "base/escape.h"
#include "main/config_checks.h"
#include "main/config_file.h"
#include "main/config_keys.h"
#include "main/config_value.h"

namespace shufflefs {
namespace {

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
