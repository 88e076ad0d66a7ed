#include "merge/epochs.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "base/parse.h"

namespace shufflefs::merge {
namespace {

constexpr std::size_t kMost = 10'000;
constexpr std::string_view kWholeApp = "*";

}  // namespace

Status Epochs::load() {
  const auto bytes = read_file(io_, path_, 16U << 20U);
  if (!bytes && bytes.error().code == Code::kNotFound) return ok();
  if (!bytes) return bytes.error();
  const std::lock_guard lock(mu_);
  // One drop a line: "<app> <shuffle or *> <epoch>".
  for (const std::string_view line :
       split({reinterpret_cast<const char*>(bytes->data()), bytes->size()}, '\n')) {
    if (line.empty()) continue;
    const auto fields = split(line, ' ');
    const auto app = AppId::parse(fields[0]);
    const auto epoch = fields.size() == 3 ? parse_decimal(fields[2]) : std::nullopt;
    const bool whole = fields.size() == 3 && fields[1] == kWholeApp;
    const auto shuffle = fields.size() == 3 && !whole ? parse_shuffle_id(fields[1])
                                                      : Result<ShuffleId>(ShuffleId{0});
    if (!app || !epoch || !shuffle) {
      log_warning("epochs.bad_line", {{"file", path_}, {"line", line.substr(0, 100)}});
      continue;
    }
    epochs_[{*app, whole ? std::nullopt : std::optional(*shuffle)}] = *epoch;
  }
  return ok();
}

uint64_t Epochs::of(const ShuffleKey& shuffle) const {
  const std::lock_guard lock(mu_);
  const auto whole = epochs_.find({shuffle.app, std::nullopt});
  const auto one = epochs_.find({shuffle.app, shuffle.shuffle});
  return std::max(whole != epochs_.end() ? whole->second : 0,
                  one != epochs_.end() ? one->second : 0);
}

std::string Epochs::render() const {
  std::string text;
  for (const auto& [key, epoch] : epochs_) {
    const std::string shuffle =
        key.second ? std::to_string(number(*key.second)) : std::string(kWholeApp);
    text += fmt::format("{} {} {}\n", key.first.str(), shuffle, epoch);
  }
  return text;
}

uint64_t Epochs::next(const AppId& app, WallTime now) const {
  const std::lock_guard lock(mu_);
  auto epoch = static_cast<uint64_t>(now.time_since_epoch() / std::chrono::milliseconds(1));
  for (auto it = epochs_.lower_bound({app, std::nullopt});
       it != epochs_.end() && it->first.first == app; ++it)
    epoch = std::max(epoch, it->second + 1);
  return epoch;
}

Status Epochs::raise(const AppId& app, std::optional<ShuffleId> shuffle, uint64_t epoch) {
  const std::lock_guard lock(mu_);
  uint64_t& known = epochs_[{app, shuffle}];
  if (known >= epoch && !unwritten_) return ok();
  known = std::max(known, epoch);
  if (epochs_.size() > kMost) {
    epochs_.erase(
        std::min_element(epochs_.begin(), epochs_.end(),
                         [](const auto& a, const auto& b) { return a.second < b.second; }));
  }
  if (path_.empty()) return ok();
  const std::string text = render();
  auto written = replace_file(io_, path_, std::as_bytes(std::span(text)));
  unwritten_ = !written;
  if (!written) log_warning("epochs.not_written", {{"reason", written.error().message}});
  return written;
}

}  // namespace shufflefs::merge
