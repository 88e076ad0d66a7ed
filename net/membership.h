// Who is there: merge::Cluster from what the nodes tell each other (net/member_table.h), begun with
// a list or a DNS name, with a heartbeat to every member.
//
// A list or a DNS name is only where to begin: every member that is met is asked for the ones that
// it knows. A member that has been listed, met or heard of stays one while it is down. It leaves
// when it says so itself (leave()), when somebody has it forgotten (forget()), or, where the
// members come from DNS, when DNS does not list it and it has been down for `lost_patience`.
// An address of the list or of DNS is asked who it is until a member answers there.
//
// Threads: names(), view_hash(), is_up(), health(), differences() and self() from any thread (own
// locks); the rest on the reactor. Ownership: the context's objects outlive the Membership, and
// stop() has returned before it is destroyed; peers handed out may live longer, their calls end
// with kCancelled then. Failure: a list that cannot be read or written is logged
// (membership.not_read, membership.not_written), and learnt again from the others. Cost: one
// connection and one ping a second per peer; the list is written at most once a heartbeat.
#pragma once

#include <atomic>
#include <map>

#include "base/file_io.h"
#include "base/gate.h"
#include "base/mutex.h"
#include "merge/cluster.h"
#include "net/member_table.h"
#include "net/remote_peer.h"

namespace shufflefs::net {

// The option --members: a list of nodes, or the DNS name under which all of them are found.
struct Member {
  merge::NodeName name;
  HostPort address;
};

struct MemberSpec {
  std::vector<Member> fixed;
  std::optional<HostPort> dns;  // then `fixed` is empty
  [[nodiscard]] bool contains(const merge::NodeName& name) const;
};

// "NAME=ADDR:PORT,...", "dns:HOST:PORT", or nothing: this node alone. The port may be left out
// (7338). kConfig naming every mistake.
[[nodiscard]] Result<MemberSpec> parse_members(std::string_view text);

struct MembershipOptions {
  HostPort address{};  // where peers reach this node (MemberTable::Options::address)
  bool this_machine_only = false;
  std::size_t most = kMostMembers;
  // With DNS: how long a member that is not listed may be down.
  Duration lost_patience = std::chrono::minutes(10);
  FileIo* io = nullptr;
  std::string file{};  // where the members are kept over a restart; empty: nowhere
};

class Membership final : public merge::Cluster {
 public:
  // `local` answers for node(self).
  Membership(Context context, MemberSpec spec, std::shared_ptr<merge::NodeApi> local,
             MembershipOptions options = {});
  ~Membership() override;
  Membership(const Membership&) = delete;
  Membership& operator=(const Membership&) = delete;

  // What the file says. Reads from the disk: before the reactor runs.
  void load();
  void start();
  // Ends the heartbeats and closes all connections to peers. Idempotent.
  [[nodiscard]] Task<void> stop();
  // For the server: who says hello to it becomes a member.
  [[nodiscard]] const Context& context() const { return context_; }
  [[nodiscard]] MemberTable& table() { return *context_.members; }

  // This node leaves for good; those that are up have been told when it returns.
  [[nodiscard]] Task<void> leave();
  // The member is gone for good. kNotFound, and kExists while it answers: it would come back.
  [[nodiscard]] Task<Status> forget(merge::NodeName name);

  [[nodiscard]] merge::NodeName self() const override { return context_.self.name; }
  [[nodiscard]] std::vector<merge::NodeName> names() const override;
  [[nodiscard]] uint64_t view_hash() const override;
  [[nodiscard]] std::shared_ptr<merge::NodeApi> node(const merge::NodeName& name) override;
  [[nodiscard]] bool is_up(const merge::NodeName& name) const override;
  // A message from this node has just come in: if it was taken for down, it is asked at once.
  void noticed(const merge::NodeName& name);
  // DNS: addresses whose name is not known yet are listed with an empty name.
  [[nodiscard]] std::vector<merge::PeerHealth> health() const override;
  [[nodiscard]] std::vector<merge::ViewDifference> differences() const override;
  // REQUIRES: before start().
  void on_new_incarnation(std::function<void(merge::NodeName)> listener) override;

 private:
  // Written on the reactor, read by any thread.
  template <class T>
  class Shared {
   public:
    [[nodiscard]] T get() const {
      const MutexLock lock(mu_);
      return value_;
    }
    void set(T value) {
      const MutexLock lock(mu_);
      std::swap(value_, value);  // what was there may take its time to end
    }

   private:
    mutable Mutex mu_;
    T value_ GUARDED_BY(mu_){};
  };
  struct Peer {
    merge::NodeName name;  // constant
    Shared<HostPort> address;
    Shared<std::shared_ptr<RemotePeer>> remote;
    Shared<std::optional<merge::ViewDifference>> difference;  // for longer than patience
    // Reactor only.
    std::optional<uint64_t> incarnation;
    std::unique_ptr<Timer> next_beat;
    std::optional<TimePoint> down_since;
    std::optional<TimePoint> differs_since;
    bool removed = false;
  };
  using PeerPtr = std::shared_ptr<Peer>;
  // An address to begin with.
  struct Seed {
    HostPort address;                             // constant
    Shared<std::optional<merge::NodeName>> name;  // as listed, or who answered last
    std::atomic<bool> is_self{false};
    Shared<std::string> reason;  // why nobody answers
    // Reactor only.
    std::unique_ptr<Timer> next_try;
    std::shared_ptr<RemotePeer> remote;  // of the try under way
    bool removed = false;
  };
  using SeedPtr = std::shared_ptr<Seed>;

  std::shared_ptr<RemotePeer> make_remote(const PeerPtr& peer, const HostPort& address);
  [[nodiscard]] Task<void> beat(PeerPtr peer);
  void look_at(Peer& peer);
  void heard_from(Peer& peer, const NodeIdentity& who);
  // The table has changed there.
  void follow(const merge::NodeName& name);
  void follow_address(const PeerPtr& peer, const HostPort& address);
  void remove_peer(const merge::NodeName& name);

  SeedPtr make_seed(HostPort address, std::optional<merge::NodeName> name);
  [[nodiscard]] Task<void> try_seed(SeedPtr seed);
  [[nodiscard]] Task<void> ask_seed(SeedPtr seed);
  [[nodiscard]] bool is_needed(const Seed& seed) const;
  void heard_from_seed(Seed& seed, const NodeIdentity& who);
  [[nodiscard]] bool is_listed(const Peer& peer) const;
  [[nodiscard]] Task<void> lookup_loop();
  void apply_lookup(const std::vector<asio::ip::tcp::endpoint>& endpoints);

  [[nodiscard]] Task<void> save_loop();
  [[nodiscard]] Task<void> save();
  [[nodiscard]] PeerPtr find(const merge::NodeName& name) const EXCLUDES(mu_);
  [[nodiscard]] std::vector<PeerPtr> peers() const EXCLUDES(mu_);
  [[nodiscard]] std::vector<SeedPtr> seeds() const EXCLUDES(mu_);

  Context context_;
  const std::optional<HostPort> dns_;
  const std::shared_ptr<merge::NodeApi> local_;
  const MembershipOptions options_;
  Gate gate_;
  std::vector<std::function<void(merge::NodeName)>> listeners_;  // constant after start()
  // Reactor only.
  std::string last_lookup_failure_;
  bool looked_up_ = false;
  bool started_ = false;
  bool stopped_ = false;
  bool unsaved_ = false;
  bool saving_ = false;
  mutable Mutex mu_;  // before the locks of Shared
  std::map<merge::NodeName, PeerPtr> peers_ GUARDED_BY(mu_);
  std::map<std::string, SeedPtr> seeds_ GUARDED_BY(mu_);  // by address
};

}  // namespace shufflefs::net
