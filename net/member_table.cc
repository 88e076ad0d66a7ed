#include "net/member_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <tuple>

#include "base/hash.h"
#include "base/log.h"

namespace shufflefs::net {
namespace {

constexpr std::string_view kHere = "member";
constexpr std::string_view kLeft = "left";

std::string line_of(const MemberRecord& record) {
  const std::string address = to_string(
      HostPort{record.address.host.empty() ? "-" : record.address.host, record.address.port});
  return fmt::format("{} {} {} {} {}\n", record.name.str(), address, record.incarnation,
                     record.clock, record.left ? kLeft : kHere);
}

std::optional<MemberRecord> record_of(std::string_view line) {
  const auto fields = split(line, ' ');
  if (fields.size() != 5) return std::nullopt;
  const auto name = merge::NodeName::parse(fields[0]);
  auto address = parse_host_port(fields[1]);
  const auto incarnation = parse_decimal(fields[2]);
  const auto clock = parse_decimal(fields[3], kMostClock);
  const bool left = fields[4] == kLeft;
  if (!name || !address || !incarnation || !clock || (!left && fields[4] != kHere))
    return std::nullopt;
  if (address->host == "-") address->host.clear();
  return MemberRecord{*name, *address, *incarnation, *clock, left};
}

// Mixed, so that an exclusive or over many of them is as good as each of them.
uint64_t hash_of(const MemberRecord& record) { return mixed_bits(fnv1a(line_of(record))); }

std::size_t bucket_of(const merge::NodeName& name) {
  return mixed_bits(fnv1a(name.str())) % MemberExchange::kBuckets;
}

// A name or a numeric address: what peers say goes into a file of lines.
bool is_host(std::string_view host) {
  return host.size() <= kMaxHostBytes && host != "-" && std::ranges::all_of(host, [](char letter) {
           const bool letter_or_digit = (letter >= 'a' && letter <= 'z') ||
                                        (letter >= 'A' && letter <= 'Z') ||
                                        (letter >= '0' && letter <= '9');
           return letter_or_digit ||
                  std::string_view(".:-_%").find(letter) != std::string_view::npos;
         });
}

uint64_t after(uint64_t clock) { return std::min(clock + 1, kMostClock); }

bool is_loopback_host(const std::string& host) {
  if (host == "localhost") return true;
  boost::system::error_code error;
  const auto address = asio::ip::make_address(host, error);
  return !error && address.is_loopback();
}

bool is_unspecified(const std::string& host) {
  boost::system::error_code error;
  const auto address = asio::ip::make_address(host, error);
  return !error && address.is_unspecified();
}

}  // namespace

bool is_newer(const MemberRecord& record, const MemberRecord& known) {
  const auto rank = [](const MemberRecord& of) {
    return std::tuple(of.clock, of.left, of.incarnation, std::string_view(of.address.host),
                      of.address.port);
  };
  return rank(record) > rank(known);
}

MemberTable::MemberTable(Runtime& runtime, Options options)
    : runtime_(runtime), options_(std::move(options)) {
  MemberRecord own{options_.self.name, options_.address, options_.self.incarnation, 1, false};
  if (is_unspecified(own.address.host)) own.address.host.clear();
  digests_[bucket_of(own.name)] ^= hash_of(own);
  names_.push_back(own.name);
  note_own_address(own.address);
  records_.emplace(own.name, std::move(own));
}

std::vector<merge::NodeName> MemberTable::names() const {
  const MutexLock lock(mu_);
  return names_;
}

uint64_t MemberTable::view_hash() const {
  const MutexLock lock(mu_);
  if (!view_hash_) view_hash_ = merge::hash_of_view(names_);
  return *view_hash_;
}

bool MemberTable::contains(const merge::NodeName& name) const {
  const MutexLock lock(mu_);
  return std::ranges::binary_search(names_, name);
}

std::string MemberTable::own_address() const {
  const MutexLock lock(mu_);
  return own_address_;
}

void MemberTable::note_own_address(const HostPort& address) {
  const MutexLock lock(mu_);
  own_address_ = address.host.empty() ? std::string() : to_string(address);
}

void MemberTable::change_view(const merge::NodeName& name, bool is_member) {
  const MutexLock lock(mu_);
  const auto at = std::ranges::lower_bound(names_, name);
  if (is_member)
    names_.insert(at, name);
  else
    names_.erase(at);
  view_hash_.reset();
}

void MemberTable::put(MemberRecord record) {
  const merge::NodeName name = record.name;
  uint64_t& digest = digests_[bucket_of(name)];
  digest ^= hash_of(record);
  const auto known = records_.find(name);
  const bool was_member = known != records_.end() && !known->second.left;
  // This node is always one of them: also while it leaves it answers as before.
  const bool changes_view = was_member == record.left && name != options_.self.name;
  const bool is_member = !record.left;
  if (known != records_.end()) {
    digest ^= hash_of(known->second);
    if (known->second.left) --left_;
  }
  if (record.left) ++left_;
  if (name == options_.self.name) note_own_address(record.address);
  records_.insert_or_assign(name, std::move(record));
  if (changes_view) change_view(name, is_member);
  if (left_ > options_.most) forget_oldest_left();
  if (listener_) listener_(name);
}

void MemberTable::forget_oldest_left() {
  auto oldest = records_.end();
  for (auto it = records_.begin(); it != records_.end(); ++it) {
    if (!it->second.left || it->first == options_.self.name) continue;
    if (oldest == records_.end() || it->second.clock < oldest->second.clock) oldest = it;
  }
  if (oldest == records_.end()) return;
  digests_[bucket_of(oldest->first)] ^= hash_of(oldest->second);
  records_.erase(oldest);
  --left_;
}

// ---- this node
// ------------------------------------------------------------------------------------------------------

void MemberTable::say_again(uint64_t clock) {
  MemberRecord record = own();
  record.clock = clock;
  put(std::move(record));
}

void MemberTable::set_own_address(HostPort address) {
  MemberRecord record = own();
  if (is_unspecified(address.host)) address.host.clear();
  if (record.address == address) return;
  record.address = std::move(address);
  record.clock = after(record.clock);
  put(std::move(record));
}

void MemberTable::seen_from(const std::string& host) {
  const HostPort known = own().address;
  if (host.empty() || !is_host(host) || known.host == host) return;
  // What was configured stays; of what others say the first counts, but for a better one.
  const bool configured = !options_.address.host.empty() && !is_unspecified(options_.address.host);
  if (configured) return;
  if (known.host.empty() || (is_loopback_host(known.host) && !is_loopback_host(host)))
    set_own_address({host, known.port});
}

void MemberTable::leave() {
  MemberRecord record = own();
  record.left = true;
  record.clock = after(record.clock);
  put(std::move(record));
}

// False news is contradicted: at once, then at growing intervals, as two nodes that were given the
// same name would contradict each other for ever.
bool MemberTable::hear_of_self(const MemberRecord& record) {
  constexpr uint32_t kPatience = 3;
  constexpr Duration kLongestPause = std::chrono::seconds(64);
  const MemberRecord known = own();
  if (known.left || !is_newer(record, known)) return false;
  if (record.incarnation == known.incarnation || record.incarnation == 0 || record.left) {
    if (record.left)
      log_warning("membership.returned",
                  {{"node", record.name.str()}, {"reason", "other nodes take it for gone"}});
    say_again(after(record.clock));
    return true;
  }
  if (!rival_ || rival_->incarnation != record.incarnation)
    rival_ = Rival{record.incarnation, 0, {}};
  if (runtime_.now() < rival_->again_at) return false;
  if (rival_->answers >= kPatience) {
    log_limited(LogLevel::kError, "membership.name_taken",
                {{"node", record.name.str()},
                 {"address", to_string(record.address)},
                 {"remedy", "give each node its own --node"}});
  }
  const Duration pause = std::chrono::seconds(1) * (1U << std::min(rival_->answers, 6U));
  if (++rival_->answers >= kPatience)
    rival_->again_at = runtime_.now() + std::min<Duration>(pause, kLongestPause);
  say_again(after(record.clock));
  return true;
}

// ---- the others
// -----------------------------------------------------------------------------------------------------

std::optional<MemberRecord> MemberTable::find(const merge::NodeName& name) const {
  const auto it = records_.find(name);
  if (it == records_.end() || it->second.left || name == options_.self.name) return std::nullopt;
  return it->second;
}

std::vector<MemberRecord> MemberTable::others() const {
  std::vector<MemberRecord> others;
  for (const auto& [name, record] : records_) {
    if (!record.left && name != options_.self.name) others.push_back(record);
  }
  return others;
}

void MemberTable::refuse(const MemberRecord& record, std::string_view reason) {
  log_limited(
      LogLevel::kWarning, "membership.not_taken",
      {{"node", record.name.str()}, {"address", to_string(record.address)}, {"reason", reason}});
}

bool MemberTable::learn(const MemberRecord& record) {
  if (record.name == options_.self.name) return hear_of_self(record);
  const auto known = records_.find(record.name);
  if (known != records_.end() && !is_newer(record, known->second)) return false;
  const bool was_member = known != records_.end() && !known->second.left;
  if (options_.this_machine_only && !record.left && !record.address.host.empty() &&
      !is_loopback_host(record.address.host)) {
    refuse(record,
           "it is on another machine, and without a secret nodes are reached from their own "
           "machine only");
    return false;
  }
  if (!is_host(record.address.host)) {
    refuse(record, "its address is none");
    return false;
  }
  if (!record.left && !was_member && records_.size() - left_ >= options_.most) {
    refuse(record, fmt::format("there are {} members, and no more are possible", options_.most));
    return false;
  }
  if (record.left && was_member)
    log_info("membership.left", {{"node", record.name.str()}});
  else if (!record.left && !was_member)
    log_info("membership.joined",
             {{"node", record.name.str()}, {"address", to_string(record.address)}});
  else if (!record.left && record.address != known->second.address)
    log_info("membership.address_moved", {{"node", record.name.str()},
                                          {"address", to_string(record.address)},
                                          {"was", to_string(known->second.address)}});
  put(record);
  return true;
}

void MemberTable::met(MemberRecord record, const std::string& host) {
  if (record.address.port == 0) return;
  if (record.address.host.empty()) record.address.host = host;
  if (record.name == options_.self.name && record.incarnation != options_.self.incarnation) {
    log_limited(LogLevel::kError, "membership.name_taken",
                {{"node", record.name.str()},
                 {"address", to_string(record.address)},
                 {"remedy", "give each node its own --node"}});
  }
  learn(record);
}

void MemberTable::remove(const merge::NodeName& name) {
  auto record = find(name);
  if (!record) return;
  record->left = true;
  record->clock = after(record->clock);
  learn(*record);
}

// ---- the comparison
// -------------------------------------------------------------------------------------------------

MemberDigest MemberTable::digest() const {
  uint64_t all = 0;
  for (const uint64_t one : digests_) all = mixed_bits(all ^ one);
  return {std::max<uint64_t>(all, 1), view_hash()};
}

std::vector<MemberRecord> MemberTable::differing(const MemberExchange::Digests& theirs) const {
  std::vector<MemberRecord> records;
  if (theirs == digests_) return records;
  for (const auto& [name, record] : records_) {
    const std::size_t bucket = bucket_of(name);
    if (digests_[bucket] != theirs[bucket]) records.push_back(record);
  }
  return records;
}

MemberExchange MemberTable::answer(const MemberExchange& question) {
  for (const MemberRecord& record : question.records) learn(record);
  return {digests_, differing(question.digests)};
}

// ---- the file
// -------------------------------------------------------------------------------------------------------

std::string MemberTable::text() const {
  std::string text;
  for (const auto& [name, record] : records_) text += line_of(record);
  return text;
}

std::size_t MemberTable::restore(std::string_view text) {
  std::size_t bad = 0;
  for (const std::string_view line : split(text, '\n')) {
    if (line.empty()) continue;
    auto record = record_of(line);
    if (!record) {
      ++bad;
    } else if (record->name == options_.self.name) {
      // An earlier process of ours, which may have left: we are back.
      if (record->clock >= own().clock) say_again(after(record->clock));
    } else {
      learn(*record);
    }
  }
  return bad;
}

}  // namespace shufflefs::net
