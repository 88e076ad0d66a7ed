// Who is there: merge::Cluster from a static list or from DNS, with a heartbeat to every peer.
//
// Static: every name of the list is a member, up or not. DNS: the addresses are looked up every few
// seconds; a node is a member once it has told its name in a hello, for as long as its address is
// listed; our own address is recognised by our own incarnation in the answer; a failed lookup keeps
// the last answer.
//
// Threads: names(), is_up(), health() and self() from any thread (own lock); the rest on the
// reactor. Ownership: the context's objects outlive the Membership, and stop() has returned before
// it is destroyed; peers handed out may live longer, their calls end with kCancelled then. Cost:
// one connection and one ping a second per peer.
#pragma once

#include <map>
#include <mutex>

#include "base/gate.h"
#include "merge/cluster.h"
#include "net/members.h"
#include "net/remote_peer.h"

namespace shufflefs::net {

class Membership final : public merge::Cluster {
 public:
  // `local` answers for node(self).
  Membership(Context context, MemberSpec spec, std::shared_ptr<merge::NodeApi> local);
  ~Membership() override;
  Membership(const Membership&) = delete;
  Membership& operator=(const Membership&) = delete;

  void start();
  // Ends the heartbeats and closes all connections to peers. Idempotent.
  [[nodiscard]] Task<void> stop();

  [[nodiscard]] merge::NodeName self() const override { return context_.self.name; }
  [[nodiscard]] std::vector<merge::NodeName> names() const override;
  [[nodiscard]] std::shared_ptr<merge::NodeApi> node(const merge::NodeName& name) override;
  [[nodiscard]] bool is_up(const merge::NodeName& name) const override;
  // A message from this node has just come in: if it was taken for down, it is asked at once.
  void noticed(const merge::NodeName& name);
  // DNS: addresses whose name is not known yet are listed with an empty name.
  [[nodiscard]] std::vector<merge::PeerHealth> health() const override;
  // REQUIRES: before start().
  void on_new_incarnation(std::function<void(merge::NodeName)> listener) override;

 private:
  // One address that is configured, or listed by DNS.
  struct Entry {
    HostPort address;
    std::optional<merge::NodeName> name;  // GUARDED_BY(mu_)
    bool is_self = false;                 // GUARDED_BY(mu_)
    std::shared_ptr<RemotePeer> peer;     // GUARDED_BY(mu_); written on the reactor only
    // Reactor only.
    std::optional<uint64_t> incarnation;
    std::unique_ptr<Timer> next_beat;
    bool removed = false;
  };
  using EntryPtr = std::shared_ptr<Entry>;

  EntryPtr make_entry(HostPort address, std::optional<merge::NodeName> name);
  std::shared_ptr<RemotePeer> make_peer(const EntryPtr& entry, std::string expected);
  [[nodiscard]] Task<void> beat(EntryPtr entry);
  [[nodiscard]] Task<void> lookup_loop();
  void apply_lookup(const std::vector<asio::ip::tcp::endpoint>& endpoints);
  void heard_from(const EntryPtr& entry, const NodeIdentity& who);
  void forget_stranger(const EntryPtr& entry);
  // The entry that answers for `name`: one that is up is preferred. REQUIRES: mu_ held.
  [[nodiscard]] EntryPtr find(const merge::NodeName& name) const;

  const Context context_;
  const std::optional<HostPort> dns_;
  const std::shared_ptr<merge::NodeApi> local_;
  Gate gate_;
  std::vector<std::function<void(merge::NodeName)>> listeners_;  // constant after start()
  std::string last_lookup_failure_;                              // reactor only
  mutable std::mutex mu_;
  std::map<std::string, EntryPtr>
      entries_;  // GUARDED_BY(mu_), by address; written on the reactor only
};

}  // namespace shufflefs::net
