#include "net/membership.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "base/log.h"
#include "net/handshake.h"

namespace shufflefs::net {
namespace {

constexpr uint64_t kMostFileBytes = 64U << 20U;

std::string names_text(const std::vector<merge::NodeName>& names) {
  std::vector<std::string_view> texts;
  texts.reserve(names.size());
  for (const merge::NodeName& name : names) texts.push_back(name.str());
  return fmt::format("{}", fmt::join(texts, ","));
}

// One less is `open` when the peer has been told.
Task<void> tell(std::shared_ptr<RemotePeer> remote, std::reference_wrapper<std::size_t> open) {
  static_cast<void>(co_await remote->tell_of_members());
  --open.get();
}

constexpr std::string_view kDnsPrefix = "dns:";

Result<Member> parse_member(std::string_view text) {
  const auto equals = text.find('=');
  if (equals == std::string_view::npos) {
    return make_error(Code::kConfig, fmt::format("'{}' has no '=': write NAME=ADDR:PORT", text));
  }
  TRY_ASSIGN(merge::NodeName name, merge::NodeName::parse(text.substr(0, equals)));
  TRY_ASSIGN(HostPort address, parse_host_port(text.substr(equals + 1), kDefaultPeerPort));
  return Member{std::move(name), std::move(address)};
}

}  // namespace

bool MemberSpec::contains(const merge::NodeName& name) const {
  return std::ranges::any_of(fixed, [&name](const Member& member) { return member.name == name; });
}

Result<MemberSpec> parse_members(std::string_view text) {
  MemberSpec spec;
  if (text.empty()) return spec;
  if (text.starts_with(kDnsPrefix)) {
    auto address = parse_host_port(text.substr(kDnsPrefix.size()), kDefaultPeerPort);
    if (!address)
      return make_error(Code::kConfig,
                        fmt::format("--members {}: {}", text, address.error().message));
    spec.dns = *std::move(address);
    return spec;
  }
  std::vector<std::string> mistakes;
  for (const std::string_view part : split(text, ',')) {
    auto member = parse_member(part);
    if (!member) {
      mistakes.push_back(std::move(member).error().message);
      continue;
    }
    if (spec.contains(member->name))
      mistakes.push_back(fmt::format("the name {} is there twice", member->name.str()));
    const bool same_address = std::ranges::any_of(
        spec.fixed, [&member](const Member& other) { return other.address == member->address; });
    if (same_address)
      mistakes.push_back(fmt::format("the address {} is there twice", to_string(member->address)));
    spec.fixed.push_back(*std::move(member));
  }
  if (!mistakes.empty()) {
    return make_error(Code::kConfig, fmt::format("--members: {}", fmt::join(mistakes, "; ")));
  }
  return spec;
}

Membership::Membership(Context context, MemberSpec spec, std::shared_ptr<merge::NodeApi> local,
                       MembershipOptions options)
    : context_(std::move(context)),
      dns_(std::move(spec.dns)),
      local_(std::move(local)),
      options_(std::move(options)),
      gate_(context_.runtime, "membership") {
  HostPort own = options_.address;
  for (const Member& member : spec.fixed) {
    if (member.name == context_.self.name) own = member.address;
  }
  context_.members = std::make_shared<MemberTable>(
      context_.runtime,
      MemberTable::Options{context_.self, own, options_.this_machine_only, options_.most});
  table().on_change([this](const merge::NodeName& name) { follow(name); });
  for (Member& member : spec.fixed) {
    if (member.name == context_.self.name) continue;
    table().learn({member.name, member.address, 0, 0, false});
    SeedPtr seed = make_seed(std::move(member.address), std::move(member.name));
    seeds_.emplace(to_string(seed->address), std::move(seed));
  }
}

Membership::~Membership() {
  table().on_change({});
  for (const PeerPtr& peer : peers()) peer->remote.get()->close();
}

void Membership::load() {
  if (options_.file.empty()) return;
  const auto bytes = read_file(*options_.io, options_.file, kMostFileBytes);
  if (!bytes) {
    if (bytes.error().code != Code::kNotFound)
      log_warning("membership.not_read",
                  {{"file", options_.file}, {"reason", bytes.error().message}});
    return;
  }
  const std::size_t bad =
      table().restore({reinterpret_cast<const char*>(bytes->data()), bytes->size()});
  if (bad > 0)
    log_warning("membership.not_read",
                {{"file", options_.file}, {"reason", fmt::format("{} lines are not right", bad)}});
}

void Membership::start() {
  started_ = true;
  unsaved_ = true;
  if (dns_) gate_.spawn(lookup_loop());
  for (const SeedPtr& seed : seeds()) gate_.spawn(try_seed(seed));
  for (const PeerPtr& peer : peers()) gate_.spawn(beat(peer));
  if (!options_.file.empty()) gate_.spawn(save_loop());
}

Task<void> Membership::stop() {
  stopped_ = true;
  for (const PeerPtr& peer : peers()) peer->remote.get()->close();
  for (const SeedPtr& seed : seeds()) {
    if (seed->remote) seed->remote->close();
  }
  co_await gate_.close();
  if (started_ && unsaved_ && !saving_ && !options_.file.empty()) co_await save();
}

void Membership::on_new_incarnation(std::function<void(merge::NodeName)> listener) {
  listeners_.push_back(std::move(listener));
}

// ---- members
// ---------------------------------------------------------------------------------------------------------

// The listener refers to the peer weakly (the peer owns the remote) and to us; it is dropped by
// RemotePeer::close(), which every remote gets before we are gone.
std::shared_ptr<RemotePeer> Membership::make_remote(const PeerPtr& peer, const HostPort& address) {
  return std::make_shared<RemotePeer>(context_, peer->name.str(), address,
                                      [this, weak = std::weak_ptr(peer)](const NodeIdentity& who) {
                                        if (const PeerPtr alive = weak.lock())
                                          heard_from(*alive, who);
                                      });
}

void Membership::follow(const merge::NodeName& name) {
  unsaved_ = true;
  if (stopped_ || name == context_.self.name) return;
  const auto record = table().find(name);
  if (!record) {
    remove_peer(name);
    return;
  }
  if (const PeerPtr known = find(name)) {
    follow_address(known, record->address);
    return;
  }
  auto peer = std::make_shared<Peer>();
  peer->name = name;
  peer->address.set(record->address);
  peer->next_beat = context_.runtime.make_timer();
  peer->remote.set(make_remote(peer, record->address));
  {
    const MutexLock lock(mu_);
    peers_.emplace(name, peer);
  }
  if (started_) gate_.spawn(beat(peer));
}

void Membership::follow_address(const PeerPtr& peer, const HostPort& address) {
  if (peer->address.get() == address) return;
  peer->remote.get()->close();
  peer->address.set(address);
  peer->remote.set(make_remote(peer, address));
  peer->next_beat->wake();
}

void Membership::remove_peer(const merge::NodeName& name) {
  const PeerPtr peer = find(name);
  if (!peer) return;
  {
    const MutexLock lock(mu_);
    peers_.erase(name);
  }
  peer->removed = true;
  peer->remote.get()->close();
  peer->next_beat->wake();
}

Task<void> Membership::beat(PeerPtr peer) {
  while (!peer->removed) {
    const std::shared_ptr<RemotePeer> remote = peer->remote.get();
    static_cast<void>(co_await remote->heartbeat());
    if (peer->removed) break;
    if (peer->remote.get() == remote) {
      look_at(*peer);
      if (peer->removed) break;
      co_await peer->next_beat->wait_for(context_.options.heartbeat_interval);
    }
  }
}

// After a heartbeat: is its list the same, and is it gone for good?
void Membership::look_at(Peer& peer) {
  const TimePoint now = context_.runtime.now();
  const std::shared_ptr<RemotePeer> remote = peer.remote.get();
  const bool up = remote->health().up;
  const auto& difference = remote->difference();
  const bool has_differed = peer.difference.get().has_value();
  if (!up || !difference) {
    if (has_differed) log_info("membership.views_agree", {{"node", peer.name.str()}});
    peer.differs_since.reset();
    peer.difference.set(std::nullopt);
  } else if (!peer.differs_since) {
    peer.differs_since = now;
  } else if (now - *peer.differs_since >= context_.options.view_patience) {
    if (!has_differed)
      log_warning("membership.views_differ",
                  {{"node", peer.name.str()},
                   {"missing_here", names_text(difference->missing_here)},
                   {"missing_there", names_text(difference->missing_there)}});
    peer.difference.set(difference);
  }
  if (up) {
    peer.down_since.reset();
    return;
  }
  if (!peer.down_since) peer.down_since = now;
  if (!dns_ || !looked_up_ || now - *peer.down_since < options_.lost_patience || is_listed(peer))
    return;
  log_info("membership.lost",
           {{"node", peer.name.str()}, {"address", to_string(peer.address.get())}});
  table().remove(peer.name);
}

void Membership::heard_from(Peer& peer, const NodeIdentity& who) {
  if (peer.removed || peer.incarnation == who.incarnation) return;
  peer.incarnation = who.incarnation;
  log_info("membership.incarnation",
           {{"node", who.name.str()}, {"address", to_string(peer.address.get())}});
  for (const auto& listener : listeners_) listener(who.name);
}

void Membership::noticed(const merge::NodeName& name) {
  const PeerPtr peer = find(name);
  if (peer && !peer->remote.get()->health().up) peer->next_beat->wake();
}

Task<void> Membership::leave() {
  table().leave();
  log_info("membership.leaving", {{"node", context_.self.name.str()}});
  Gate telling(context_.runtime, "membership.leave");
  std::size_t open = 0;
  for (const PeerPtr& peer : peers()) {
    std::shared_ptr<RemotePeer> remote = peer->remote.get();
    if (!remote->health().up) continue;
    ++open;
    telling.spawn(tell(std::move(remote), open));
  }
  constexpr auto kLook = std::chrono::milliseconds(5);
  const TimePoint deadline = context_.runtime.now() + context_.options.heartbeat_timeout;
  while (open > 0 && context_.runtime.now() < deadline) co_await sleep_for(context_.runtime, kLook);
  co_await telling.close();
}

Task<Status> Membership::forget(merge::NodeName name) {
  if (name == context_.self.name) {
    co_return make_error(Code::kInvalidArgument,
                         fmt::format("this node is {}: 'shufflefs drain' and a stop take it out, "
                                     "or ask another node to forget it when it is down",
                                     name.str()));
  }
  const PeerPtr peer = find(name);
  if (!peer) co_return make_error(Code::kNotFound, fmt::format("{} is no member", name.str()));
  if (co_await peer->remote.get()->heartbeat()) {
    co_return make_error(Code::kExists,
                         fmt::format("{} is up at {}: drain and stop it, then it leaves by itself",
                                     name.str(), to_string(peer->address.get())));
  }
  log_info("membership.forgotten",
           {{"node", name.str()}, {"address", to_string(peer->address.get())}});
  table().remove(name);
  for (const PeerPtr& other : peers()) other->next_beat->wake();
  co_return ok();
}

// ---- where to begin
// --------------------------------------------------------------------------------------------------

Membership::SeedPtr Membership::make_seed(HostPort address, std::optional<merge::NodeName> name) {
  auto seed = std::make_shared<Seed>();
  seed->address = std::move(address);
  seed->name.set(std::move(name));
  seed->reason.set("not contacted yet");
  seed->next_try = context_.runtime.make_timer();
  return seed;
}

Task<void> Membership::try_seed(SeedPtr seed) {
  while (!seed->removed) {
    if (is_needed(*seed)) co_await ask_seed(seed);
    if (seed->removed) break;
    co_await seed->next_try->wait_for(context_.options.heartbeat_interval);
  }
}

// A listed member is asked by its heartbeat, but for when it is known at another address and does
// not answer there.
bool Membership::is_needed(const Seed& seed) const {
  if (seed.is_self) return false;
  const std::optional<merge::NodeName> name = seed.name.get();
  if (!name) return true;
  const PeerPtr peer = find(*name);
  const bool is_up = peer && peer->remote.get()->health().up;
  if (!dns_) return peer && !is_up && peer->address.get() != seed.address;
  return !is_up;
}

Task<void> Membership::ask_seed(SeedPtr seed) {
  // A listed address may go to another node: only DNS may learn a new name for it.
  const std::string expected = dns_ ? std::string() : seed->name.get()->str();
  seed->remote =
      std::make_shared<RemotePeer>(context_, expected, seed->address,
                                   [this, weak = std::weak_ptr(seed)](const NodeIdentity& who) {
                                     if (const SeedPtr alive = weak.lock())
                                       heard_from_seed(*alive, who);
                                   });
  const Status alive = co_await seed->remote->heartbeat();
  seed->remote->close();
  seed->remote.reset();
  seed->reason.set(alive ? std::string() : alive.error().message);
}

void Membership::heard_from_seed(Seed& seed, const NodeIdentity& who) {
  if (seed.removed) return;
  seed.is_self = dns_ && who.incarnation == context_.self.incarnation;
  seed.name.set(who.name);
}

bool Membership::is_listed(const Peer& peer) const {
  const HostPort address = peer.address.get();
  return std::ranges::any_of(seeds(), [&](const SeedPtr& seed) {
    const std::optional<merge::NodeName> name = seed->name.get();
    return name ? *name == peer.name : seed->address == address;
  });
}

Task<void> Membership::lookup_loop() {
  const std::unique_ptr<Timer> pause = context_.runtime.make_timer();
  while (true) {
    auto endpoints = co_await resolve(context_.runtime, *dns_, context_.options.lookup_interval);
    const std::string failure = endpoints ? std::string() : endpoints.error().message;
    if (failure != last_lookup_failure_) {
      if (failure.empty())
        log_info("membership.lookup_ok", {{"host", dns_->host}});
      else
        log_warning("membership.lookup_failed",
                    {{"host", dns_->host}, {"reason", failure}, {"members", "unchanged"}});
      last_lookup_failure_ = failure;
    }
    looked_up_ = endpoints.has_value();
    if (endpoints) apply_lookup(*endpoints);
    co_await pause->wait_for(context_.options.lookup_interval);
  }
}

void Membership::apply_lookup(const std::vector<asio::ip::tcp::endpoint>& endpoints) {
  std::set<std::string> listed;
  std::vector<SeedPtr> added;
  std::vector<SeedPtr> removed;
  {
    const MutexLock lock(mu_);
    for (const auto& endpoint : endpoints) {
      const HostPort address{endpoint.address().to_string(), endpoint.port()};
      listed.insert(to_string(address));
      if (!seeds_.contains(to_string(address))) added.push_back(make_seed(address, std::nullopt));
    }
    for (auto it = seeds_.begin(); it != seeds_.end();) {
      if (listed.contains(it->first)) {
        ++it;
        continue;
      }
      removed.push_back(it->second);
      it = seeds_.erase(it);
    }
    for (const SeedPtr& seed : added) seeds_.emplace(to_string(seed->address), seed);
  }
  for (const SeedPtr& seed : removed) {
    log_info("membership.unlisted", {{"address", to_string(seed->address)}});
    seed->removed = true;
    if (seed->remote) seed->remote->close();
    seed->next_try->wake();
  }
  for (const SeedPtr& seed : added) {
    log_info("membership.listed", {{"address", to_string(seed->address)}});
    gate_.spawn(try_seed(seed));
  }
}

// ---- the file
// --------------------------------------------------------------------------------------------------------

Task<void> Membership::save_loop() {
  const std::unique_ptr<Timer> pause = context_.runtime.make_timer();
  while (true) {
    if (unsaved_) co_await save();
    co_await pause->wait_for(context_.options.heartbeat_interval);
  }
}

Task<void> Membership::save() {
  unsaved_ = false;
  saving_ = true;
  const Status saved = co_await offload(
      context_.runtime, [io = options_.io, file = options_.file, text = table().text()] {
        return replace_file(*io, file, std::as_bytes(std::span(text)));
      });
  saving_ = false;
  if (saved) co_return;
  unsaved_ = true;
  log_limited(LogLevel::kWarning, "membership.not_written",
              {{"file", options_.file}, {"reason", saved.error().message}});
}

// ---- questions
// ------------------------------------------------------------------------------------------------------

Membership::PeerPtr Membership::find(const merge::NodeName& name) const {
  const MutexLock lock(mu_);
  const auto it = peers_.find(name);
  return it != peers_.end() ? it->second : nullptr;
}

std::vector<Membership::PeerPtr> Membership::peers() const {
  const MutexLock lock(mu_);
  std::vector<PeerPtr> peers;
  for (const auto& [name, peer] : peers_) peers.push_back(peer);
  return peers;
}

std::vector<Membership::SeedPtr> Membership::seeds() const {
  const MutexLock lock(mu_);
  std::vector<SeedPtr> seeds;
  for (const auto& [address, seed] : seeds_) seeds.push_back(seed);
  return seeds;
}

std::vector<merge::NodeName> Membership::names() const { return context_.members->names(); }

uint64_t Membership::view_hash() const { return context_.members->view_hash(); }

std::shared_ptr<merge::NodeApi> Membership::node(const merge::NodeName& name) {
  if (name == context_.self.name) return local_;
  const PeerPtr peer = find(name);
  return peer ? peer->remote.get() : nullptr;
}

bool Membership::is_up(const merge::NodeName& name) const {
  if (name == context_.self.name) return true;
  const PeerPtr peer = find(name);
  return peer && peer->remote.get()->health().up;
}

std::vector<merge::PeerHealth> Membership::health() const {
  merge::PeerHealth own{context_.self.name, {}, true, true, {}, 0};
  std::vector<merge::PeerHealth> health;
  for (const PeerPtr& peer : peers()) {
    PeerHealth::View view = peer->remote.get()->health();
    health.push_back({peer->name, to_string(peer->address.get()), false, view.up,
                      std::move(view.reason), view.round_trip_ms});
  }
  for (const SeedPtr& seed : seeds()) {
    const std::string address = to_string(seed->address);
    if (seed->is_self) own.address = address;
    if (!seed->name.get()) health.push_back({{}, address, false, false, seed->reason.get(), 0});
  }
  if (own.address.empty()) own.address = context_.members->own_address();
  health.push_back(std::move(own));
  std::ranges::sort(
      health, {}, [](const merge::PeerHealth& peer) { return std::pair(peer.name, peer.address); });
  return health;
}

std::vector<merge::ViewDifference> Membership::differences() const {
  std::vector<merge::ViewDifference> differences;
  for (const PeerPtr& peer : peers()) {
    if (auto difference = peer->difference.get()) differences.push_back(*std::move(difference));
  }
  return differences;
}

}  // namespace shufflefs::net
