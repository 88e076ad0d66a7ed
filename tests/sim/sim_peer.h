// Another node as one node sees it: NodeApi in frames of the real wire format over the simulated
// network, as net::RemotePeer is over a socket. And the other end: a frame that has arrived becomes
// a call of the node by net::dispatch.
#pragma once

#include <functional>

#include "merge/node_api.h"
#include "sim/network.h"

namespace shufflefs::sim {

class SimPeer final : public merge::NodeApi {
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

  Task<Result<merge::PushReply>> push(merge::PushRequest request) override;
  Task<Status> announce(merge::AnnounceRequest request) override;
  Task<Result<merge::PartitionInfo>> partition_info(merge::ShuffleKey shuffle,
                                                    merge::PartitionId partition) override;
  Task<Result<merge::PartitionInfo>> merged_info(merge::ShuffleKey shuffle,
                                                 merge::PartitionId partition) override;
  Task<Result<merge::ShuffleInfo>> shuffle_info(merge::ShuffleKey shuffle) override;
  Task<Result<std::vector<merge::ShuffleKey>>> list_shuffles() override;
  Task<Result<Buffer>> read_merged(merge::ShuffleKey shuffle, merge::PartitionId partition,
                                   uint64_t offset, uint32_t length) override;
  Task<Result<Buffer>> read_block(merge::ShuffleKey shuffle, merge::MapId map, uint64_t commit,
                                  merge::PartitionId partition, uint64_t offset,
                                  uint32_t length) override;
  Task<Status> drop(merge::AppId app, std::optional<merge::ShuffleId> shuffle,
                    uint64_t life) override;

 private:
  struct Answer {
    net::Bytes header;
    Buffer payload;
  };
  Task<Result<Answer>> ask(net::MessageType type, net::Bytes header,
                           std::span<const std::byte> payload);
  template <class T>
  Task<Result<T>> ask_for(net::MessageType type, net::Bytes header,
                          Result<T> (*decode)(std::span<const std::byte>));
  Task<Result<Buffer>> ask_for_bytes(net::MessageType type, net::Bytes header, uint32_t length);

  Link link_;
};

// Takes a request in under the budget, has the node answer it, and puts the answer into a frame.
[[nodiscard]] Task<Result<WireFrame>> serve_frame(ByteBudget& budget, merge::NodeApi& node,
                                                  uint64_t incarnation, WireFrame request);

}  // namespace shufflefs::sim
