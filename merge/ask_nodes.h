// One question to several nodes, all at the same time.
//
// Threads: reactor only. Failure: each node's own; a name that is no member "did not answer".
// Bound: the nodes' own deadlines.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "base/gate.h"
#include "merge/cluster.h"

namespace shufflefs::merge {

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

// Returns the answers in the order of `names`. `ask` is called as Task<Result<T>>(NodeApi&). The
// questions belong to `gate`.
template <class T, class Ask>
Task<std::vector<Result<T>>> ask_nodes(Runtime& runtime, Gate& gate, Cluster& cluster,
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
  std::vector<Result<T>> answers;
  answers.reserve(names.size());
  for (auto& answer : asked->answers) {
    if (answer)
      answers.push_back(std::move(*answer));
    else
      answers.push_back(make_error(Code::kPeerUnreachable, "it did not answer"));
  }
  co_return answers;
}

}  // namespace shufflefs::merge
