#include "net/membership.h"

#include <algorithm>
#include <set>

#include "base/log.h"
#include "net/resolve.h"

namespace shufflefs::net {

Membership::Membership(Context context, MemberSpec spec, std::shared_ptr<merge::NodeApi> local)
    : context_(std::move(context)),
      dns_(std::move(spec.dns)),
      local_(std::move(local)),
      gate_(context_.runtime, "membership") {
  for (Member& member : spec.fixed) {
    const bool is_self = member.name == context_.self.name;
    const EntryPtr entry = make_entry(std::move(member.address), std::move(member.name));
    if (is_self) {
      entry->is_self = true;
      entry->peer.reset();
    }
    entries_.emplace(to_string(entry->address), entry);
  }
}

Membership::~Membership() {
  for (const auto& [address, entry] : entries_) {
    if (entry->peer) entry->peer->close();
  }
}

Membership::EntryPtr Membership::make_entry(HostPort address, std::optional<merge::NodeName> name) {
  auto entry = std::make_shared<Entry>();
  entry->address = std::move(address);
  entry->name = std::move(name);
  entry->next_beat = context_.runtime.make_timer();
  entry->peer = make_peer(entry, entry->name ? entry->name->str() : std::string());
  return entry;
}

// The listener refers to the entry weakly (the entry owns the peer) and to us; it is dropped by
// RemotePeer::close(), which every peer gets before we are gone.
std::shared_ptr<RemotePeer> Membership::make_peer(const EntryPtr& entry, std::string expected) {
  return std::make_shared<RemotePeer>(context_, std::move(expected), entry->address,
                                      [this, weak = std::weak_ptr(entry)](const NodeIdentity& who) {
                                        if (const EntryPtr alive = weak.lock())
                                          heard_from(alive, who);
                                      });
}

void Membership::start() {
  if (dns_) gate_.spawn(lookup_loop());
  for (const auto& [address, entry] : entries_) {
    if (!entry->is_self) gate_.spawn(beat(entry));
  }
}

Task<void> Membership::stop() {
  for (const auto& [address, entry] : entries_) {
    if (entry->peer) entry->peer->close();
  }
  co_await gate_.close();
}

void Membership::on_new_incarnation(std::function<void(merge::NodeName)> listener) {
  listeners_.push_back(std::move(listener));
}

// ---- heartbeats
// -----------------------------------------------------------------------------------------------------

Task<void> Membership::beat(EntryPtr entry) {
  while (!entry->removed && !entry->is_self) {
    const std::shared_ptr<RemotePeer> peer = entry->peer;
    const Status alive = co_await peer->heartbeat();
    // A listed address may go to another node: only DNS may learn a new name for it.
    if (!alive && alive.error().code == Code::kWrongPeer && dns_) forget_stranger(entry);
    if (entry->removed || entry->is_self) break;
    co_await entry->next_beat->wait_for(context_.options.heartbeat_interval);
  }
  if (entry->peer) entry->peer->close();
}

void Membership::heard_from(const EntryPtr& entry, const NodeIdentity& who) {
  if (entry->removed) return;
  const bool is_self = dns_ && who.incarnation == context_.self.incarnation;
  const bool is_new = entry->incarnation != who.incarnation;
  entry->incarnation = who.incarnation;
  {
    const std::lock_guard lock(mu_);
    entry->is_self = is_self;
    if (!entry->name) entry->name = who.name;
  }
  if (is_self || !is_new) return;
  if (who.name == context_.self.name) {
    log_limited(LogLevel::kError, "membership.name_taken",
                {{"node", who.name.str()},
                 {"address", to_string(entry->address)},
                 {"remedy", "give each node its own --node"}});
    return;
  }
  log_info("membership.incarnation",
           {{"node", who.name.str()}, {"address", to_string(entry->address)}});
  for (const auto& listener : listeners_) listener(who.name);
}

void Membership::noticed(const merge::NodeName& name) {
  for (const auto& [address, entry] : entries_) {
    if (entry->name == name && !entry->is_self && !entry->peer->health().up)
      entry->next_beat->wake();
  }
}

void Membership::forget_stranger(const EntryPtr& entry) {
  log_info("membership.address_moved", {{"address", to_string(entry->address)},
                                        {"was", entry->name ? entry->name->str() : ""}});
  entry->peer->close();
  entry->incarnation.reset();
  const std::lock_guard lock(mu_);
  entry->name.reset();
  entry->peer = make_peer(entry, {});
}

// ---- DNS
// ------------------------------------------------------------------------------------------------------------

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
    if (endpoints) apply_lookup(*endpoints);
    co_await pause->wait_for(context_.options.lookup_interval);
  }
}

void Membership::apply_lookup(const std::vector<asio::ip::tcp::endpoint>& endpoints) {
  std::set<std::string> listed;
  std::vector<EntryPtr> added;
  std::vector<EntryPtr> removed;
  for (const auto& endpoint : endpoints) {
    const HostPort address{endpoint.address().to_string(), endpoint.port()};
    listed.insert(to_string(address));
    if (!entries_.contains(to_string(address))) added.push_back(make_entry(address, std::nullopt));
  }
  {
    const std::lock_guard lock(mu_);
    for (auto it = entries_.begin(); it != entries_.end();) {
      if (listed.contains(it->first)) {
        ++it;
        continue;
      }
      removed.push_back(it->second);
      it = entries_.erase(it);
    }
    for (const EntryPtr& entry : added) entries_.emplace(to_string(entry->address), entry);
  }
  for (const EntryPtr& entry : removed) {
    log_info("membership.left", {{"address", to_string(entry->address)}});
    entry->removed = true;
    entry->peer->close();
    entry->next_beat->wake();
  }
  for (const EntryPtr& entry : added) {
    log_info("membership.listed", {{"address", to_string(entry->address)}});
    gate_.spawn(beat(entry));
  }
}

// ---- questions
// ------------------------------------------------------------------------------------------------------

Membership::EntryPtr Membership::find(const merge::NodeName& name) const {
  EntryPtr found;
  for (const auto& [address, entry] : entries_) {
    if (entry->is_self || entry->name != name) continue;
    if (!found || entry->peer->health().up) found = entry;
  }
  return found;
}

std::vector<merge::NodeName> Membership::names() const {
  std::set<merge::NodeName> names = {context_.self.name};
  const std::lock_guard lock(mu_);
  for (const auto& [address, entry] : entries_) {
    if (entry->name) names.insert(*entry->name);
  }
  return {names.begin(), names.end()};
}

std::shared_ptr<merge::NodeApi> Membership::node(const merge::NodeName& name) {
  if (name == context_.self.name) return local_;
  const std::lock_guard lock(mu_);
  const EntryPtr entry = find(name);
  return entry ? entry->peer : nullptr;
}

bool Membership::is_up(const merge::NodeName& name) const {
  if (name == context_.self.name) return true;
  const std::lock_guard lock(mu_);
  const EntryPtr entry = find(name);
  return entry && entry->peer->health().up;
}

std::vector<merge::PeerHealth> Membership::health() const {
  merge::PeerHealth own{context_.self.name, {}, true, true, {}, 0};
  std::vector<merge::PeerHealth> health;
  {
    const std::lock_guard lock(mu_);
    for (const auto& [address, entry] : entries_) {
      if (entry->is_self) {
        own.address = address;
        continue;
      }
      PeerHealth::View view = entry->peer->health();
      health.push_back({entry->name.value_or(merge::NodeName()), address, false, view.up,
                        std::move(view.reason), view.round_trip_ms});
    }
  }
  health.push_back(std::move(own));
  std::ranges::sort(
      health, {}, [](const merge::PeerHealth& peer) { return std::pair(peer.name, peer.address); });
  return health;
}

}  // namespace shufflefs::net
