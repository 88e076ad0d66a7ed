// merge::NodeApi as messages: makes each call a request, and its response the result. Who derives
// carries the bytes there and back: net::RemotePeer over sockets, the simulator over its network.
//
// Threads: reactor. Ownership: by shared_ptr; every call holds the proxy until it has ended, so a
// caller may let go of it. Failure: what carry() gives; kProtocol for a response that does not
// decode; kInvalidArgument for a read of more than kMaxReadBytes or of nothing.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "base/memory_budget.h"
#include "net/messages.h"

namespace shufflefs::net {

class NodeProxy : public merge::NodeApi, public std::enable_shared_from_this<NodeProxy> {
 public:
  Task<Result<merge::PushReply>> push(merge::PushRequest request) override;
  Task<Status> announce(merge::AnnounceRequest request) override;
  Task<Result<merge::PartitionInfo>> merged_info(merge::ShuffleKey shuffle,
                                                 merge::PartitionId partition) override;
  Task<Result<merge::PartitionInfo>> partition_info(merge::ShuffleKey shuffle,
                                                    merge::PartitionId partition) override;
  Task<Result<merge::ShuffleInfo>> shuffle_info(merge::ShuffleKey shuffle) override;
  Task<Result<std::vector<merge::ShuffleKey>>> list_shuffles() override;
  Task<Result<Buffer>> read_merged(merge::ShuffleKey shuffle, merge::PartitionId partition,
                                   uint64_t offset, uint32_t length) override;
  Task<Result<Buffer>> read_block(merge::ShuffleKey shuffle, merge::MapId map, uint64_t commit,
                                  merge::PartitionId partition, uint64_t offset,
                                  uint32_t length) override;
  Task<Result<merge::DropReply>> drop(merge::AppId app, std::optional<merge::ShuffleId> shuffle,
                                      uint64_t life) override;
  Task<Result<std::string>> report(std::string about) override;

  // What a request may take, from the call to the response.
  [[nodiscard]] static Duration timeout_of(const NetOptions& options, MessageType type);

 protected:
  struct Call {
    MessageType type{};
    Bytes header;
    std::span<const std::byte> payload;  // kept until the call has ended
    uint32_t response_bytes = 0;         // of payload in the response, exactly
  };
  struct Carried {
    Bytes header;
    Buffer payload;
    ByteBudget::Lease header_lease;
  };
  // The response, or the error that the node responded with. The proxy outlives the call.
  [[nodiscard]] virtual Task<Result<Carried>> carry(Call call) = 0;
  // The response was not understood: the error to give to the caller.
  [[nodiscard]] virtual Error bad_response(MessageType /*type*/, Error error) { return error; }

  // `self` is held until the end of the call.
  [[nodiscard]] static Task<Result<Pong>> ping(std::shared_ptr<NodeProxy> self,
                                               MemberDigest digest);
  [[nodiscard]] static Task<Result<MemberExchange>> exchange_members(
      std::shared_ptr<NodeProxy> self, MemberExchange exchange);

 private:
  using Self = std::shared_ptr<NodeProxy>;
  template <MessageType kType>
  static Task<Result<typename MessageOf<kType>::Response>> ask(
      Self self, typename MessageOf<kType>::Request request);
  template <MessageType kType>
  static Task<Status> tell(Self self, typename MessageOf<kType>::Request request);
  template <MessageType kType>
  static Task<Result<Buffer>> read(Self self, typename MessageOf<kType>::Request request);
  static Task<Status> announce_parts(Self self, merge::AnnounceRequest request);
};

}  // namespace shufflefs::net
