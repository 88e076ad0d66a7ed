#include "net/node_proxy.h"

#include <fmt/format.h>

#include "net/message_fields.h"

namespace shufflefs::net {

Duration NodeProxy::timeout_of(const NetOptions& options, MessageType type) {
  if (type == MessageType::kPing) return options.heartbeat_timeout;
  return kRequestTypes.at(index_of(type)).has_payload ? options.payload_timeout
                                                      : options.request_timeout;
}

// Static, with the proxy as a parameter: a parameter lives as long as the coroutine, `this` may
// not.
template <MessageType kType>
Task<Result<typename MessageOf<kType>::Response>> NodeProxy::ask(
    Self self, typename MessageOf<kType>::Request request) {
  std::span<const std::byte> payload;
  if constexpr (kType == MessageType::kPush) payload = request.payload.span();
  CO_TRY_ASSIGN(const Carried carried,
                co_await self->carry(Call{kType, encode(request), payload, 0}));
  auto decoded = decode<typename MessageOf<kType>::Response>(name_of(kType), carried.header);
  if (!decoded) co_return self->bad_response(kType, std::move(decoded).error());
  co_return decoded;
}

template <MessageType kType>
Task<Status> NodeProxy::tell(Self self, typename MessageOf<kType>::Request request) {
  CO_TRY(co_await ask<kType>(std::move(self), std::move(request)));
  co_return ok();
}

template <MessageType kType>
Task<Result<Buffer>> NodeProxy::read(Self self, typename MessageOf<kType>::Request request) {
  const uint32_t length = request.length;
  if (length == 0 || length > merge::kMaxReadBytes) {
    co_return make_error(
        Code::kInvalidArgument,
        fmt::format("a read of {} bytes: 1 to {} are possible", length, merge::kMaxReadBytes));
  }
  CO_TRY_ASSIGN(Carried carried, co_await self->carry(Call{kType, encode(request), {}, length}));
  auto decoded = decode<Nothing>(name_of(kType), carried.header);
  if (decoded && carried.payload.size() != length) {
    decoded = make_error(Code::kProtocol,
                         fmt::format("asked for {} bytes, got {}", length, carried.payload.size()));
  }
  if (decoded) co_return std::move(carried.payload);
  co_return self->bad_response(kType, std::move(decoded).error());
}

Task<Result<Pong>> NodeProxy::ping(Self self, MemberDigest digest) {
  return ask<MessageType::kPing>(std::move(self), digest);
}

Task<Result<MemberExchange>> NodeProxy::exchange_members(Self self, MemberExchange exchange) {
  return ask<MessageType::kMembers>(std::move(self), std::move(exchange));
}

Task<Result<merge::PushReply>> NodeProxy::push(merge::PushRequest request) {
  return ask<MessageType::kPush>(shared_from_this(), std::move(request));
}

Task<Status> NodeProxy::announce(merge::AnnounceRequest request) {
  return announce_parts(shared_from_this(), std::move(request));
}

Task<Status> NodeProxy::announce_parts(Self self, merge::AnnounceRequest request) {
  constexpr std::size_t kPartBytes = 1U << 20U;
  for (merge::AnnounceRequest& part : split_announcement(std::move(request), kPartBytes)) {
    CO_TRY(co_await tell<MessageType::kAnnounce>(self, std::move(part)));
  }
  co_return ok();
}

Task<Result<merge::PartitionInfo>> NodeProxy::partition_info(merge::ShuffleKey shuffle,
                                                             merge::PartitionId partition) {
  return ask<MessageType::kPartitionInfo>(shared_from_this(), {std::move(shuffle), partition});
}

Task<Result<merge::PartitionInfo>> NodeProxy::merged_info(merge::ShuffleKey shuffle,
                                                          merge::PartitionId partition) {
  return ask<MessageType::kMergedInfo>(shared_from_this(), {std::move(shuffle), partition});
}

Task<Result<merge::ShuffleInfo>> NodeProxy::shuffle_info(merge::ShuffleKey shuffle) {
  return ask<MessageType::kShuffleInfo>(shared_from_this(), {std::move(shuffle)});
}

Task<Result<std::vector<merge::ShuffleKey>>> NodeProxy::list_shuffles() {
  return ask<MessageType::kListShuffles>(shared_from_this(), {});
}

Task<Result<Buffer>> NodeProxy::read_merged(merge::ShuffleKey shuffle, merge::PartitionId partition,
                                            uint64_t offset, uint32_t length) {
  return read<MessageType::kReadMerged>(shared_from_this(),
                                        {std::move(shuffle), partition, offset, length});
}

Task<Result<Buffer>> NodeProxy::read_block(merge::ShuffleKey shuffle, merge::MapId map,
                                           uint64_t commit, merge::PartitionId partition,
                                           uint64_t offset, uint32_t length) {
  return read<MessageType::kReadBlock>(
      shared_from_this(), {std::move(shuffle), map, commit, partition, offset, length});
}

Task<Result<merge::DropReply>> NodeProxy::drop(merge::AppId app,
                                               std::optional<merge::ShuffleId> shuffle,
                                               uint64_t life) {
  return ask<MessageType::kDrop>(shared_from_this(), {std::move(app), shuffle, life});
}

Task<Result<std::string>> NodeProxy::report(std::string about) {
  return ask<MessageType::kReport>(shared_from_this(), {std::move(about)});
}

}  // namespace shufflefs::net
