// Several engines in one process without a network: each node calls the others' LocalNode directly,
// through a Link that can be cut or made to damage what passes. For tests of the domain over
// several nodes.
#pragma once

#include <fmt/format.h>

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "base/crc32c.h"
#include "base/endian.h"
#include "merge/engine.h"
#include "support/node_doubles.h"
#include "support/run_task.h"
#include "support/temp_dir.h"

namespace shufflefs::testing {

inline merge::ShuffleKey shuffle_key(std::string_view text) {
  return *merge::parse_shuffle_key(text);
}

// What can be done to the links; shared by all nodes of a cluster.
struct Faults {
  std::set<merge::NodeName> down;          // nobody reaches it
  std::set<merge::NodeName> damage_reads;  // what it answers to read_merged has a flipped bit
  bool damage_pushes = false;
  std::map<merge::NodeName, int> busy;  // how often it will still say so
  std::set<merge::NodeName> full;       // it has no room for merged data
  // How many pushes it will still take and lose, as if it died with them in its memory.
  std::map<merge::NodeName, int> forgetful;
  bool hold = false;  // pushes wait on their way
  std::size_t pushes = 0;
  std::vector<merge::ShuffleKey> pushed;  // of each push that was not only offered
  std::size_t merged_questions = 0;
};

// The other node as seen over a link.
class Link final : public ForwardingNode {
 public:
  Link(merge::NodeName name, std::shared_ptr<merge::NodeApi> to, Faults& faults)
      : ForwardingNode(std::move(to)), name_(std::move(name)), faults_(faults) {}

  Task<Result<merge::PushReply>> push(merge::PushRequest request) override {
    ++faults_.pushes;
    if (!request.offer) faults_.pushed.push_back(request.shuffle);
    asio::steady_timer timer(co_await asio::this_coro::executor);
    while (faults_.hold) {
      timer.expires_after(std::chrono::milliseconds(1));
      co_await timer.async_wait(asio::use_awaitable);
    }
    CO_TRY(before("push"));
    if (faults_.full.contains(name_))
      co_return make_error(Code::kNoSpace, "no disk has room for merged data");
    if (int& times = faults_.busy[name_]; times > 0) {
      --times;
      co_return merge::PushReply{.busy_ms = 3};
    }
    if (int& times = faults_.forgetful[name_]; times > 0 && !request.offer) {
      --times;
      merge::PushReply taken;
      for (const merge::PushPart& part : request.parts)
        taken.merged += static_cast<uint32_t>(part.blocks.size());
      co_return taken;
    }
    if (faults_.damage_pushes) request.payload.data()[0] ^= std::byte{1};
    co_return co_await ForwardingNode::push(std::move(request));
  }
  Task<Result<Buffer>> read_merged(merge::ShuffleKey shuffle, merge::PartitionId partition,
                                   uint64_t offset, uint32_t length) override {
    auto bytes =
        co_await ForwardingNode::read_merged(std::move(shuffle), partition, offset, length);
    if (bytes && faults_.damage_reads.contains(name_))
      bytes->data()[bytes->size() / 2] ^= std::byte{4};
    co_return bytes;
  }

 protected:
  Status before(std::string_view call) override {
    if (faults_.down.contains(name_))
      return make_error(Code::kPeerUnreachable, "connection refused");
    if (call == "merged_info") ++faults_.merged_questions;
    return ok();
  }

 private:
  const merge::NodeName name_;
  Faults& faults_;
};

class TestCluster {
 public:
  explicit TestCluster(std::size_t nodes, merge::PushOptions push = quick(),
                       Duration lost_patience = std::chrono::milliseconds(30),
                       uint64_t memory_bytes = 256U << 20U,
                       Duration trash_grace = std::chrono::seconds(60))
      : io_(make_posix_file_io()) {
    for (std::size_t i = 0; i < nodes; ++i) {
      auto node = std::make_unique<Node>();
      node->memory = std::make_unique<MemoryBudget>(runtime, memory_bytes);
      merge::EngineOptions options;
      options.self = node_name(i);
      options.data_dirs = {data_dir(i)};
      options.mounts = {"/mnt"};
      options.tell_before_answering = false;
      options.push = push;
      options.trash_grace = trash_grace;
      options.disk.reserve_bytes = 1;  // whatever the machine that runs the test has left
      options.stream.lost_patience = lost_patience;
      node->engine =
          std::make_unique<merge::Engine>(runtime, *io_, *node->memory, node->metrics, options);
      node->view = std::make_unique<FixedCluster>(node_name(i), &faults.down);
      nodes_.push_back(std::move(node));
    }
    for (std::size_t i = 0; i < nodes; ++i) {
      for (std::size_t j = 0; j < nodes; ++j) {
        std::shared_ptr<merge::NodeApi> api = nodes_[j]->engine->local_node();
        if (i != j) api = std::make_shared<Link>(node_name(j), api, faults);
        nodes_[i]->view->add(node_name(j), api);
      }
    }
  }
  ~TestCluster() {
    for (auto& node : nodes_) run_task(runtime, node->engine->stop());
    runtime.join_disk_threads();
  }
  TestCluster(const TestCluster&) = delete;
  TestCluster& operator=(const TestCluster&) = delete;

  // Fast enough for tests; the schedule is the same.
  static merge::PushOptions quick() {
    merge::PushOptions push;
    push.jitter = std::chrono::milliseconds(1);
    push.first_backoff = std::chrono::milliseconds(1);
    push.longest_backoff = std::chrono::milliseconds(4);
    push.max_retries = 3;
    return push;
  }

  void start() {
    for (auto& node : nodes_) REQUIRE(node->engine->prepare());
    for (auto& node : nodes_) node->engine->start(*node->view);
  }

  template <class T>
  T run(Task<T> task) {
    return run_task(runtime, std::move(task));
  }
  merge::Engine& engine(std::size_t i) { return *nodes_[i]->engine; }
  Metrics& metrics(std::size_t i) { return nodes_[i]->metrics; }
  MemoryBudget& memory(std::size_t i) { return *nodes_[i]->memory; }
  FixedCluster& view(std::size_t i) { return *nodes_[i]->view; }
  FileIo& io() { return *io_; }
  [[nodiscard]] std::string data_dir(std::size_t i) const { return dir_ / node_name(i).str(); }

  // Writes a map output in the generic form of a <data, index> pair and commits it.
  void write_map(std::size_t node, const merge::ShuffleKey& shuffle, uint64_t map,
                 const std::vector<std::string>& blocks) {
    std::string data;
    std::vector<uint64_t> lengths;
    for (const std::string& block : blocks) {
      data += block;
      lengths.push_back(block.size());
    }
    merge::CommitSink& commits = engine(node).commits();
    const std::string place = *commits.generic_directory(shuffle, true);
    const auto index = merge::make_spark_index(lengths);
    REQUIRE(replace_file(*io_, fmt::format("{}/{}.index", place, map), index));
    REQUIRE(
        replace_file(*io_, fmt::format("{}/{}.data", place, map), std::as_bytes(std::span(data))));
    commits.generic_appeared(shuffle, fmt::format("{}.data", map));
  }

  merge::PartitionPlan plan(std::size_t node, const merge::ShuffleKey& shuffle,
                            uint32_t partition) {
    return run(engine(node).catalog().plan(shuffle, static_cast<merge::PartitionId>(partition)));
  }
  merge::PartitionPlan plan_for_reading(std::size_t node, const merge::ShuffleKey& shuffle,
                                        uint32_t partition) {
    return run(engine(node).catalog().plan_for_reading(shuffle,
                                                       static_cast<merge::PartitionId>(partition)));
  }
  merge::ShuffleTotals totals(std::size_t node, const merge::ShuffleKey& shuffle) {
    return run(engine(node).catalog().totals(shuffle));
  }
  // The whole partition as the node reads it, in pieces of `step`.
  Result<std::string> read(std::size_t node, const merge::PartitionPlan& plan,
                           uint32_t step = 100'000) {
    const auto stream = engine(node).open_stream(plan);
    std::string text;
    while (true) {
      const auto bytes = run(stream->read(text.size(), step));
      if (!bytes) {
        run(stream->close());
        return bytes.error();
      }
      if (bytes->size() == 0) break;
      text.append(reinterpret_cast<const char*>(bytes->data()), bytes->size());
    }
    run(stream->close());
    return text;
  }
  // Runs until every map output is settled, given up or not to be pushed.
  void settle(const merge::ShuffleKey& shuffle, uint64_t maps) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (true) {
      uint64_t done = 0;
      for (std::size_t i = 0; i < nodes_.size(); ++i) {
        const auto info = run(engine(i).local_node()->shuffle_info(shuffle));
        REQUIRE(info);
        done += info->maps_settled + info->maps_given_up + info->maps_unpushed;
      }
      if (done == maps) return;
      REQUIRE(std::chrono::steady_clock::now() < deadline);
      run(sleep_for(runtime, std::chrono::milliseconds(2)));
    }
  }

  AsioRuntime runtime{2};
  Faults faults;

 private:
  struct Node {
    Metrics metrics;
    std::unique_ptr<MemoryBudget> memory;
    std::unique_ptr<merge::Engine> engine;
    std::unique_ptr<FixedCluster> view;
  };
  TempDir dir_;
  std::unique_ptr<FileIo> io_;
  std::vector<std::unique_ptr<Node>> nodes_;
};

// The blocks of map output `map`: sizes and bytes follow from the seed, so that any reader can
// check them. A block begins with "<map>/<partition>/<length>:".
inline std::vector<std::string> random_blocks(uint64_t map, const std::vector<uint64_t>& sizes) {
  std::mt19937_64 random(map * 1000 + 17);
  std::vector<std::string> blocks;
  for (std::size_t p = 0; p < sizes.size(); ++p) {
    std::string block;
    if (sizes[p] > 0) {
      block = fmt::format("{}/{}/{}:", map, p, sizes[p]);
      while (block.size() < sizes[p]) block += static_cast<char>(random());
    }
    blocks.push_back(std::move(block));
  }
  return blocks;
}

}  // namespace shufflefs::testing
