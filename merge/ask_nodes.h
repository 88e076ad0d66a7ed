// Requests to other nodes: one to several of them at the same time, and again for a while.
//
// Threads: reactor only. Failure of ask_nodes(): each node's own; a name that is no member "did not
// answer". Bound: the nodes' own deadlines.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/gate.h"
#include "base/result.h"
#include "merge/cluster.h"

namespace shufflefs::merge {

struct UnreachableNode {
  NodeName node;
  std::string reason;
};

template <class T>
struct Answers {
  std::vector<std::pair<NodeName, T>> good;
  std::vector<UnreachableNode> bad;
};

template <class T>
struct Asked {
  std::vector<std::optional<Result<T>>> answers;
  std::size_t open = 0;
  std::unique_ptr<Timer> all_in;
};

template <class T, class Ask>
Task<void> ask_one(std::shared_ptr<Asked<T>> asked, std::size_t place,
                   std::shared_ptr<NodeApi> node, Ask ask) {
  asked->answers[place] = co_await ask(*node);
  if (--asked->open == 0) asked->all_in->wake();
}

// The answers are in the order of `names`. `ask` is called as Task<Result<T>>(NodeApi&). The
// requests belong to `gate`.
template <class T, class Ask>
Task<Answers<T>> ask_nodes(Runtime& runtime, Gate& gate, Cluster& cluster,
                           std::vector<NodeName> names, Ask ask) {
  auto asked = std::make_shared<Asked<T>>();
  asked->answers.resize(names.size());
  asked->all_in = runtime.make_timer();
  for (std::size_t i = 0; i < names.size(); ++i) {
    std::shared_ptr<NodeApi> node = cluster.node(names[i]);
    if (!node) continue;
    ++asked->open;
    gate.spawn(ask_one<T>(asked, i, std::move(node), ask));
  }
  // Each answer is bounded by the node's own deadline; this one only guards against a bug there.
  while (asked->open > 0) {
    if (co_await asked->all_in->wait_for(std::chrono::seconds(60))) break;
  }
  Answers<T> answers;
  for (std::size_t i = 0; i < names.size(); ++i) {
    std::optional<Result<T>>& answer = asked->answers[i];
    if (answer && *answer)
      answers.good.emplace_back(names[i], std::move(**answer));
    else
      answers.bad.push_back({names[i], answer ? answer->error().message : "it did not answer"});
  }
  co_return answers;
}

// How long a request is repeated before its answer is taken for lost: a node that is being
// restarted, or that a short trouble made look dead, answers a moment later.
class Retries {
 public:
  Retries(Runtime& runtime, Duration timeout)
      : runtime_(runtime), deadline_(runtime.now() + timeout) {}

  // Pauses, longer each time. False, at once, when the time is over.
  [[nodiscard]] Task<bool> pause() {
    const Duration left = deadline_ - runtime_.now();
    if (left <= Duration(0)) co_return false;
    co_await sleep_for(runtime_, std::min(pause_, left));
    pause_ = std::min<Duration>(pause_ * 2, kMax);
    co_return true;
  }

 private:
  static constexpr Duration kMin = std::chrono::milliseconds(20);
  static constexpr Duration kMax = std::chrono::milliseconds(500);
  Runtime& runtime_;
  const TimePoint deadline_;
  Duration pause_ = kMin;
};

// Whether the same request may succeed a moment later.
[[nodiscard]] inline bool is_passing(Code code) {
  return code == Code::kPeerUnreachable || code == Code::kTimeout || code == Code::kCancelled ||
         code == Code::kNoMemory;
}

// Whether trying the same push again may help. What the owner refused for good is not sent
// twice.
[[nodiscard]] inline bool is_retryable(Code code) {
  return is_passing(code) || code == Code::kIo || code == Code::kCorruptData ||  // on the way
         code == Code::kProtocol;
}

}  // namespace shufflefs::merge
