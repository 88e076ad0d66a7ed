// Who is a member, as far as this node knows: one record for each name that has ever been heard of.
// Nodes give each other their records and keep the newer one of each name, so that all come to the
// same list, in whatever order and however often they hear of it.
//
// Of two records of one name the one with the higher clock is newer. The clock is a counter: who
// has something new to say of a name (the node itself when it starts, moves or leaves; whoever
// forgets a node that is down) counts on from the highest that it has seen. A node that hears that
// it has left, or something newer of an earlier process of itself, counts on and says again that it
// is there. Where the clocks are equal, "has left" is newer, then the higher incarnation, then the
// address that is later in the alphabet: all that matters is that everybody decides alike.
//
// Threads: names(), view_hash(), contains() and own_address() from any thread (own lock); the rest
// on the reactor. Failure: a record that cannot be taken is logged (membership.not_taken) and left
// out. Cost: a record is about 200 bytes; digests are kept up to date, names() copies. Bound:
// Options::most members, and as many names that have left, the oldest of which are forgotten.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/parse.h"
#include "base/runtime.h"
#include "merge/cluster.h"
#include "net/context.h"

namespace shufflefs::net {

inline constexpr std::size_t kMostMembers = 10'000;
inline constexpr std::size_t kMaxHostBytes = 255;
// A peer's clock is below it, so that counting on from it never overflows.
inline constexpr uint64_t kMostClock = 1ULL << 62U;

struct MemberRecord {
  merge::NodeName name;
  HostPort address;          // no host: it is not known yet
  uint64_t incarnation = 0;  // 0: it has been configured, and not been heard of
  uint64_t clock = 0;
  bool left = false;
  friend bool operator==(const MemberRecord&, const MemberRecord&) = default;
};

// Whether `record` replaces `known`, which is of the same name.
[[nodiscard]] bool is_newer(const MemberRecord& record, const MemberRecord& known);

// What two nodes compare, and the records that it shows one of them to lack.
struct MemberExchange {
  static constexpr std::size_t kBuckets = 256;
  using Digests = std::array<uint64_t, kBuckets>;  // of the records, by a hash of their names
  Digests digests{};
  std::vector<MemberRecord> records;
};

// In pings and their answers. 0: the sender is no member and keeps no list.
struct MemberDigest {
  uint64_t records = 0;  // of all records
  uint64_t view = 0;     // merge::hash_of_view
};

class MemberTable {
 public:
  struct Options {
    NodeIdentity self{};
    // Where peers reach this node. No host: other nodes say from where they see it. No port: it
    // only asks, and is no member for others.
    HostPort address{};
    // Nodes have no way to prove who they are: only addresses of this machine are taken.
    bool this_machine_only = false;
    std::size_t most = kMostMembers;
  };
  MemberTable(Runtime& runtime, Options options);

  [[nodiscard]] std::vector<merge::NodeName> names() const;
  [[nodiscard]] uint64_t view_hash() const;
  [[nodiscard]] bool contains(const merge::NodeName& name) const;
  [[nodiscard]] std::string own_address() const;  // host:port; empty: not known yet

  // Told of each name whose record has changed.
  void on_change(std::function<void(const merge::NodeName&)> listener) {
    listener_ = std::move(listener);
  }

  [[nodiscard]] MemberRecord own() const { return records_.at(options_.self.name); }
  void set_own_address(HostPort address);
  // Another node has seen us come from there.
  void seen_from(const std::string& host);
  // The node says for good that it leaves.
  void leave();

  // Of a member that is not this node; nothing if there is none.
  [[nodiscard]] std::optional<MemberRecord> find(const merge::NodeName& name) const;
  [[nodiscard]] std::vector<MemberRecord> others() const;  // members only
  // True if it was news.
  bool learn(const MemberRecord& record);
  // A node that has just said hello: as learn(); `host` is where it was met, for want of its own.
  void met(MemberRecord record, const std::string& host);
  // The member has left. REQUIRES: it is not this node.
  void remove(const merge::NodeName& name);

  [[nodiscard]] MemberDigest digest() const;
  [[nodiscard]] const MemberExchange::Digests& digests() const { return digests_; }
  // The records of the buckets that differ.
  [[nodiscard]] std::vector<MemberRecord> differing(const MemberExchange::Digests& theirs) const;
  // What a question is answered with; its records are learnt first.
  [[nodiscard]] MemberExchange answer(const MemberExchange& question);

  // One line a record, for a file.
  [[nodiscard]] std::string text() const;
  // Of an earlier process of this node. Returns how many lines were not understood.
  std::size_t restore(std::string_view text);

 private:
  // Another process that uses our name.
  struct Rival {
    uint64_t incarnation = 0;
    uint32_t answers = 0;  // how often it was contradicted
    TimePoint again_at{};
  };

  bool hear_of_self(const MemberRecord& record);
  void say_again(uint64_t clock);
  void put(MemberRecord record);
  void refuse(const MemberRecord& record, std::string_view reason);
  void forget_oldest_left();
  void note_own_address(const HostPort& address);
  void change_view(const merge::NodeName& name, bool is_member);

  Runtime& runtime_;
  const Options options_;
  std::function<void(const merge::NodeName&)> listener_;
  std::map<merge::NodeName, MemberRecord> records_;  // reactor only; own record included
  MemberExchange::Digests digests_{};
  std::size_t left_ = 0;  // records of names that have left
  std::optional<Rival> rival_;
  mutable Mutex mu_;
  std::vector<merge::NodeName> names_ GUARDED_BY(mu_);
  std::string own_address_ GUARDED_BY(mu_);
  mutable std::optional<uint64_t> view_hash_ GUARDED_BY(mu_);  // nothing: to be computed
};

}  // namespace shufflefs::net
