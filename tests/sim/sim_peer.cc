#include "sim/sim_peer.h"

#include "net/context.h"
#include "net/dispatch.h"

namespace shufflefs::sim {
namespace {

using net::Bytes;
using net::MessageType;

const net::NetOptions kOptions{};  // what production uses

Duration patience_of(MessageType type) {
  switch (type) {
    case MessageType::kPush:
    case MessageType::kReadMerged:
    case MessageType::kReadBlock: return kOptions.payload_timeout;
    default: return kOptions.request_timeout;
  }
}

// What net::Connection::receive does with bytes: prefix, limits, memory, checksums.
Task<Result<net::Frame>> take_in(ByteBudget& budget, WireFrame raw) {
  CO_TRY_ASSIGN(const net::FramePrefix prefix,
                net::decode_prefix(std::span(raw.head).first<net::kPrefixBytes>()));
  net::Frame frame;
  frame.type = prefix.type;
  frame.header.assign(raw.head.begin() + net::kPrefixBytes, raw.head.end());
  CO_TRY(net::check_header(prefix, frame.header));
  CO_TRY_ASSIGN(
      ByteBudget::Lease lease,
      co_await budget.acquire(frame.header.size() + raw.payload.size(), kOptions.budget_patience));
  CO_TRY(net::check_payload(prefix, raw.payload));
  frame.payload = Buffer(raw.payload.size(), std::move(lease));
  std::ranges::copy(raw.payload, frame.payload.data());
  co_return frame;
}

}  // namespace

Task<Result<WireFrame>> serve_frame(ByteBudget& budget, merge::NodeApi& node, uint64_t incarnation,
                                    WireFrame request) {
  const auto prefix = net::decode_prefix(std::span(request.head).first<net::kPrefixBytes>());
  const uint16_t type = prefix ? prefix->type : 0;
  auto frame = co_await take_in(budget, std::move(request));
  if (!frame) {
    // No memory: the sender is told to try later. Damage: the connection is closed.
    if (frame.error().code == Code::kNoMemory && type == net::request_number(MessageType::kPush)) {
      merge::PushReply busy;
      busy.busy_ms = static_cast<uint32_t>(kOptions.busy_pause / std::chrono::milliseconds(1));
      co_return WireFrame{
          net::encode_frame_head(net::answer_number(MessageType::kPush), net::encode(busy), {}),
          {}};
    }
    if (frame.error().code == Code::kNoMemory || frame.error().code == Code::kTooLarge)
      co_return WireFrame{net::encode_error_head(frame.error()), {}};
    co_return make_error(Code::kPeerUnreachable, frame.error().message);
  }
  const net::Reply reply = co_await net::dispatch(node, incarnation, *std::move(frame));
  if (reply.malformed) co_return make_error(Code::kProtocol, reply.malformed->message);
  co_return WireFrame{reply.head,
                      {reply.payload.data(), reply.payload.data() + reply.payload.size()}};
}

Task<Result<SimPeer::Answer>> SimPeer::ask(MessageType type, Bytes header,
                                           std::span<const std::byte> payload) {
  if (const auto reason = link_.refusal())
    co_return make_error(Code::kPeerUnreachable, "it is down: " + *reason);
  WireFrame request{net::encode_frame_head(net::request_number(type), header, payload),
                    {payload.begin(), payload.end()}};
  auto raw = co_await link_.network.exchange(link_.runtime, link_.from, link_.to,
                                             std::move(request), patience_of(type));
  link_.heard(raw.has_value());
  if (!raw) co_return std::move(raw).error();
  CO_TRY_ASSIGN(net::Frame frame, co_await take_in(link_.budget, *std::move(raw)));
  if (frame.type == net::request_number(MessageType::kError)) {
    auto refusal = net::decode_error(frame.header);
    if (refusal) co_return std::move(refusal->error);
    co_return std::move(refusal).error();
  }
  co_return Answer{std::move(frame.header), std::move(frame.payload)};
}

template <class T>
Task<Result<T>> SimPeer::ask_for(MessageType type, Bytes header,
                                 Result<T> (*decode)(std::span<const std::byte>)) {
  CO_TRY_ASSIGN(const Answer answer, co_await ask(type, std::move(header), {}));
  co_return decode(answer.header);
}

Task<Result<Buffer>> SimPeer::ask_for_bytes(MessageType type, Bytes header, uint32_t length) {
  CO_TRY_ASSIGN(Answer answer, co_await ask(type, std::move(header), {}));
  CO_TRY(net::decode_nothing(answer.header));
  if (answer.payload.size() != length)
    co_return make_error(Code::kProtocol, "a wrong number of bytes");
  co_return std::move(answer.payload);
}

Task<Result<merge::PushReply>> SimPeer::push(merge::PushRequest request) {
  CO_TRY_ASSIGN(const Answer answer,
                co_await ask(MessageType::kPush, net::encode(request), request.payload.span()));
  co_return net::decode_push_reply(answer.header);
}

Task<Status> SimPeer::announce(merge::AnnounceRequest request) {
  constexpr std::size_t kPartBytes = 1U << 20U;
  for (const merge::AnnounceRequest& part : net::split(std::move(request), kPartBytes)) {
    CO_TRY(co_await ask(MessageType::kAnnounce, net::encode(part), {}));
    link_.announced(part);
  }
  co_return ok();
}

Task<Result<merge::PartitionInfo>> SimPeer::partition_info(merge::ShuffleKey shuffle,
                                                           merge::PartitionId partition) {
  return ask_for(MessageType::kPartitionInfo,
                 net::encode(net::PartitionQuestion{std::move(shuffle), partition}),
                 net::decode_partition_info);
}

Task<Result<merge::PartitionInfo>> SimPeer::merged_info(merge::ShuffleKey shuffle,
                                                        merge::PartitionId partition) {
  return ask_for(MessageType::kMergedInfo,
                 net::encode(net::PartitionQuestion{std::move(shuffle), partition}),
                 net::decode_partition_info);
}

Task<Result<merge::ShuffleInfo>> SimPeer::shuffle_info(merge::ShuffleKey shuffle) {
  return ask_for(MessageType::kShuffleInfo, net::encode(net::ShuffleQuestion{std::move(shuffle)}),
                 net::decode_shuffle_info);
}

Task<Result<std::vector<merge::ShuffleKey>>> SimPeer::list_shuffles() {
  return ask_for(MessageType::kListShuffles, net::encode_nothing(), net::decode_shuffles);
}

Task<Result<Buffer>> SimPeer::read_merged(merge::ShuffleKey shuffle, merge::PartitionId partition,
                                          uint64_t offset, uint32_t length) {
  return ask_for_bytes(
      MessageType::kReadMerged,
      net::encode(net::ReadMergedQuestion{std::move(shuffle), partition, offset, length}), length);
}

Task<Result<Buffer>> SimPeer::read_block(merge::ShuffleKey shuffle, merge::MapId map,
                                         uint64_t commit, merge::PartitionId partition,
                                         uint64_t offset, uint32_t length) {
  return ask_for_bytes(MessageType::kReadBlock,
                       net::encode(net::ReadBlockQuestion{std::move(shuffle), map, commit,
                                                          partition, offset, length}),
                       length);
}

Task<Status> SimPeer::drop(merge::AppId app, std::optional<merge::ShuffleId> shuffle,
                           uint64_t life) {
  CO_TRY_ASSIGN(const Answer answer,
                co_await ask(MessageType::kDrop,
                             net::encode(net::DropRequest{std::move(app), shuffle, life}), {}));
  co_return net::decode_nothing(answer.header);
}

}  // namespace shufflefs::sim
