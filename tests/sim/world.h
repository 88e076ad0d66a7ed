// One simulation: the nodes, the network, what happens to them, and what must hold all the time.
// run() plays a scenario to its end:
//
//   1. active: map outputs are written, removed and read while things go wrong;
//   2. healed: every fault ends, whoever is down comes back;
//   3. settled: within kSettleBound of virtual time every chunk is merged, given up or refused, and
//      everybody who has to be told is told;
//   4. checked: all disks, all partitions on a node, all memory given back; then a stop in order.
//
// Threads: none; several Worlds may run in several threads. Failure: the first violation ends the
// run.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sim/merged_check.h"
#include "sim/network.h"
#include "sim/scenario.h"
#include "sim/sim_node.h"
#include "sim/truth.h"

namespace shufflefs::sim {

struct Outcome {
  std::optional<std::string> violation;
  uint64_t history = 0;  // a hash of all that happened: equal for equal runs
  uint64_t steps = 0;
  Duration virtual_time{};
  std::map<net::MessageType, uint64_t> requests;
  uint64_t crashes = 0;
  uint64_t reads_right = 0;
  uint64_t reads_failed = 0;     // with an error, as they may while something is wrong
  uint64_t reads_forgetful = 0;  // short, as all who had been told have been restarted
  uint64_t chunks_given_up = 0;
  uint64_t segments = 0;   // further files of merged partitions, at rest
  uint64_t drains = 0;     // that came to their end
  SimNode::Counts counts;  // of all nodes
};

class World {
 public:
  World(Scenario scenario, bool verbose);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  [[nodiscard]] Outcome run();

 private:
  static constexpr Duration kSettleBound = std::chrono::minutes(10);
  // By then each node has noticed who is there and has told whoever has to be told.
  static constexpr Duration kNoticed = std::chrono::seconds(3);
  static constexpr uint64_t kMaxBlockBytes = 16U << 10U;  // push.max-block-bytes of all nodes
  static constexpr uint64_t kStepBound = 50'000'000;      // more is a loop that does not end

  // ---- world.cc: building and running ------------------------------------------------------------
  void build();
  void add_node();
  bool advance(Duration most);  // until the time has passed; false at a violation
  bool advance_until(const std::function<bool()>& condition, Duration most);
  bool step();
  void heal();
  void bring_back(SimNode& node);
  void notice(const SimNode& started);  // soon, as a heartbeat would
  bool settle();
  struct Survey;
  static Task<void> ask_node(World& world, SimNode& node, std::shared_ptr<Survey> survey);
  [[nodiscard]] bool is_settled();
  void stop_all();
  void note(const std::string& line);
  void violate(const std::string& what);
  [[nodiscard]] std::vector<SimNode::Member> members() const;
  [[nodiscard]] SimNode* any_working_node();
  [[nodiscard]] merge::ShuffleKey any_shuffle();

  // ---- activities.cc: what happens ---------------------------------------------------------------
  void plan_activities();
  void repeat(uint64_t times, void (World::*activity)());
  void after(Duration delay, std::function<void()> what);
  void write_map();
  void burst();
  void write_twins();
  void write_output(SimNode& node, const merge::ShuffleKey& shuffle, merge::MapId map,
                    bool may_be_spark = true);
  [[nodiscard]] bool put_files(SimNode& node, WrittenMap& written);
  [[nodiscard]] std::vector<WrittenMap*> live_outputs(
      const std::function<bool(const WrittenMap&)>& eligible);
  void remove_map();
  void rewrite_map();
  // `then`: when the remover has its answer, if it is that all went well.
  void remove_output(WrittenMap& written, std::function<void()> then);
  [[nodiscard]] bool unlink_files(SimNode& node, WrittenMap& written);
  void drop_shuffle();
  void reuse_some_name();
  void use_again(const merge::ShuffleKey& shuffle);
  static Task<void> drop(World& world, SimNode& node, merge::ShuffleKey shuffle, bool uses_again);
  // May what the node writes under that name now count as of before a drop?
  [[nodiscard]] bool is_murky(const merge::ShuffleKey& shuffle, std::size_t node) const;

  // ---- faults.cc: what goes wrong ----------------------------------------------------------------
  void crash_some_node();
  void crash(SimNode& node);
  void stop_some_node();
  void restart(SimNode& node);
  void cut_something();
  void slow_some_node();
  // For a time, which it returns.
  Duration make_disks_slow(std::size_t node, uint64_t factor);
  void squeeze_some_node();
  static Task<void> hold(SimNode& node, uint64_t bytes, Duration time);
  void sicken_disk();
  void distrust_log(const SimNode& node);
  void fill_disk();
  void flip_bit();
  void harm_some_output();
  void replace_some_disk();
  void hang_some_disk();
  [[nodiscard]] static bool disks_hang(SimNode& node);
  void jump_some_clock();
  [[nodiscard]] std::vector<SimNode::Member> members_for(std::size_t node) const;
  void forget_members(std::size_t node);
  void forget_member(std::size_t node, std::size_t member);
  void join_node();
  void leave_node();
  void tell_members();

  // ---- drain.cc ----------------------------------------------------------------------------------
  void drain_some_node();
  void drain_two_nodes();
  // Whether nothing but the drain itself may take a merged copy away.
  [[nodiscard]] bool copies_last() const;
  void check_nothing_left_behind();
  void watch_drain(SimNode& node, uint64_t incarnation, int looks);
  void check_drained(SimNode& node);

  // ---- read_check.cc: the readers ----------------------------------------------------------------
  void read_something();
  // partitions/<p>. `holds`: it keeps the partition open for long before it reads.
  static Task<void> read_partition(World& world, SimNode& node, merge::ShuffleKey shuffle,
                                   merge::PartitionId partition, bool holds, bool at_rest);
  // <p>.merged and <p>.index.
  static Task<void> read_merged(World& world, SimNode& node, merge::ShuffleKey shuffle,
                                merge::PartitionId partition, bool at_rest);
  // One block at its origin.
  static Task<void> read_block(World& world, SimNode& node, merge::ShuffleKey shuffle,
                               merge::PartitionId partition, bool at_rest);
  // As Spark's client, which knows the map outputs and their origins.
  static Task<void> read_as_spark(World& world, SimNode& node, merge::ShuffleKey shuffle,
                                  merge::PartitionId partition, bool at_rest);
  void spawn_readers(SimNode& node, const merge::ShuffleKey& shuffle, merge::PartitionId partition);
  void check_failed_read(const merge::PartitionPlan& plan, const Error& error);

  // ---- promise.cc: what a read may give ----------------------------------------------------------
  struct Reading;
  struct ReadBlock;
  [[nodiscard]] Reading begin_reading(SimNode& node, std::string kind,
                                      const merge::ShuffleKey& shuffle,
                                      merge::PartitionId partition, bool at_rest);
  // These blocks were read to the end without an error. `all`: nothing may be missing.
  void check_read(const Reading& reading, const std::vector<ReadBlock>& blocks, bool all);
  void check_missing(const Reading& reading, const std::vector<ReadBlock>& blocks);
  [[nodiscard]] bool may_be_read(const Reading& reading, const WrittenMap& written,
                                 const std::optional<merge::NodeName>& holder) const;
  void check_attempts(const Reading& reading, merge::MapId map,
                      const std::vector<const WrittenMap*>& read);
  // It has failed with an error.
  void failed(const Reading& reading, const std::string& why, bool may_fail_at_rest = false);
  [[nodiscard]] bool may_count_backwards() const;
  [[nodiscard]] bool somebody_knows(const WrittenMap& written, merge::PartitionId partition) const;
  [[nodiscard]] bool was_reached(const Reading& reading, const WrittenMap& written) const;
  [[nodiscard]] bool is_at_origin(const WrittenMap& written) const;
  [[nodiscard]] bool can_be_had(const WrittenMap& written, merge::PartitionId partition) const;
  // As Spark fetches it: from its origin, or from what the candidates have merged.
  [[nodiscard]] bool can_be_fetched(const WrittenMap& written, merge::PartitionId partition) const;
  // `reading`: where it could be had from there.
  [[nodiscard]] bool is_merged(const WrittenMap& written, merge::PartitionId partition,
                               const Reading* reading = nullptr) const;
  // Another merged copy of it has the bytes of a file that was changed in place.
  [[nodiscard]] bool has_two_copies(const WrittenMap& written, merge::PartitionId partition) const;
  [[nodiscard]] bool is_all_merged(const WrittenMap& written) const;

  // ---- final_check.cc ----------------------------------------------------------------------------
  bool check_rest();
  void check_disks();
  void check_memory();
  void check_told();
  void check_all_merged();
  void read_everything();
  void spread_drops();

  const Scenario scenario_;
  const bool verbose_;
  Random random_;
  Schedule schedule_;
  Network network_;
  Random cut_random_;
  Truth truth_;
  MergedCheck merged_check_;
  std::vector<std::unique_ptr<SimNode>> nodes_;
  std::vector<bool> is_member_;  // by node
  std::vector<bool> has_left_;   // for good, with its disks
  std::vector<bool> drained_;    // before it has left
  std::vector<uint32_t> disk_slowness_;
  std::vector<std::size_t> crashing_;  // nodes whose disks have frozen in this step
  std::vector<merge::ShuffleKey> shuffles_;
  uint64_t next_map_ = 0;
  bool active_ = true;
  struct Drops {
    uint64_t begun = 0;
    uint64_t answered = 0;         // that they have reached everybody
    std::set<uint64_t> under_way;  // or ended with the node that asked
    std::set<std::size_t> missed_by;
  };
  std::map<merge::ShuffleKey, Drops> drops_;
  // A drop that some have missed: who carries it out tells them when they are back.
  struct PartialDrop {
    std::vector<uint64_t> writings;
    std::set<std::size_t> carried_out_by;
  };
  std::vector<PartialDrop> partial_drops_;
  std::map<std::pair<merge::ShuffleKey, merge::MapId>, std::set<uint64_t>> attempts_;  // at rest
  std::vector<Duration> clock_skew_;
  std::set<std::size_t> has_unsafe_log_;  // nodes that had a disk that fails or is full
  bool has_unreadable_ = false;  // a file cannot be read, for good: its node says that of all reads
  std::set<std::pair<std::size_t, std::size_t>> unknown_;  // a node, and whom it has not heard of
  std::size_t reads_open_ = 0;
  std::string open_;  // what kept the last look from being settled
  Outcome outcome_;
};

// ---- what a read may give (docs/simulation.md): promise.cc; the readers are in read_check.cc ---------------------

// What was certain when the reading began.
struct World::Reading {
  std::string kind;  // for people: "partitions", ".merged"
  merge::ShuffleKey shuffle;
  merge::PartitionId partition{};
  merge::NodeName reader;
  uint64_t began = 0;           // in steps
  std::vector<uint64_t> there;  // writings that were there, with or without bytes
  bool at_rest = false;
  std::vector<merge::NodeName> members{};            // as the reader knew them
  std::vector<std::string> unreachable{};            // "node3: connection refused", from its plan
  std::map<uint64_t, std::set<std::size_t>> told{};  // which nodes of each that was there
};

struct World::ReadBlock {
  merge::MapId map{};
  std::string_view bytes;
  std::optional<merge::NodeName> holder;  // of the merged copy that it was planned from
};

}  // namespace shufflefs::sim
