// Another node as one node sees it: NodeApi in frames of the real wire format over the simulated
// network, as net::RemotePeer is over a socket. And the other end: a frame that has arrived becomes
// a call of the node by net::dispatch.
#pragma once

#include <functional>

#include "net/dispatch.h"
#include "net/node_proxy.h"
#include "sim/network.h"

namespace shufflefs::sim {

class SimPeer final : public net::NodeProxy {
 public:
  // What the simulation watches. All references outlive the peer and its calls.
  struct Link {
    Runtime& runtime;
    Network& network;
    ByteBudget& budget;
    std::size_t from = 0;
    std::size_t to = 0;
    // Asked before each call: why to fail at once, as the peer is known to be down.
    std::function<std::optional<std::string>()> refusal;
    std::function<void(bool answered)> heard;                      // after each call
    std::function<void(const merge::AnnounceRequest&)> announced;  // acknowledged by the peer
  };
  explicit SimPeer(Link link) : link_(std::move(link)) {}

 private:
  Task<Result<Carried>> carry(Call call) override;

  Link link_;
};

// Takes a request in under the budget, has the node answer it, and puts the answer into a frame.
[[nodiscard]] Task<Result<WireFrame>> serve_frame(ByteBudget& budget, net::Asked asked,
                                                  WireFrame request);

}  // namespace shufflefs::sim
