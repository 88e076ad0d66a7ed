#include "net/dispatch.h"

#include <fmt/format.h>

#include "base/parse.h"
#include "net/message_fields.h"

namespace shufflefs::net {
namespace {

Reply reply_error(const Error& error) { return {encode_error_head(error), {}, {}}; }

Reply reply_malformed(Error error) {
  Reply reply = reply_error(error);
  reply.malformed = std::move(error);
  return reply;
}

template <class T>
Reply reply_value(MessageType type, const T& value) {
  const Bytes header = encode(value);
  if (header.size() > kMaxHeaderBytes) {
    return reply_error(make_error(
        Code::kTooLarge,
        fmt::format("the answer to a {} request, {}, is above the limit of {}", name_of(type),
                    format_bytes(header.size()), format_bytes(kMaxHeaderBytes))));
  }
  return {encode_frame_head(response_number(type), header, {}), {}, {}};
}

Reply reply_bytes(MessageType type, Buffer bytes, uint32_t length) {
  if (bytes.size() != length) {
    return reply_error(
        make_error(Code::kInternal,
                   fmt::format("a {} of {} bytes gave {}", name_of(type), length, bytes.size())));
  }
  Bytes head = encode_frame_head(response_number(type), encode(Nothing{}), bytes.span());
  return {std::move(head), std::move(bytes), {}};
}

// A node speaks for itself alone: who could speak for others could end their map outputs.
template <class Request>
Status check_name(const Asked& asked, const Request& request) {
  const merge::NodeName* named = nullptr;
  if constexpr (requires { request.sender; }) named = &request.sender;
  if constexpr (requires { request.origin; }) named = &request.origin;
  if (named == nullptr || *named == asked.caller) return ok();
  return make_error(Code::kPermission, fmt::format("{} sent this in the name of {}",
                                                   asked.caller.str(), named->str()));
}

// `Handler` takes an Asked and the request, and gives a Task of the result.
template <MessageType kType, class Handler>
Task<Reply> handle(Asked asked, Frame frame) {
  using Request = typename MessageOf<kType>::Request;
  Request request{};
  if constexpr (kType == MessageType::kPush) request.payload = std::move(frame.payload);
  auto decoded = decode<Request>(name_of(kType), frame.header, std::move(request));
  if (!decoded) co_return reply_malformed(std::move(decoded).error());
  frame = {};
  if (const Status named = check_name(asked, *decoded); !named)
    co_return reply_error(named.error());
  uint32_t length = 0;
  if constexpr (requires { decoded->length; }) length = decoded->length;
  auto result = co_await Handler{}(asked, *std::move(decoded));
  if (!result) co_return reply_error(result.error());
  if constexpr (std::is_same_v<decltype(result), Status>)
    co_return reply_value(kType, Nothing{});
  else if constexpr (std::is_same_v<decltype(result), Result<Buffer>>)
    co_return reply_bytes(kType, *std::move(result), length);
  else
    co_return reply_value(kType, *result);
}

Task<Result<Pong>> answer_ping(Asked asked, MemberDigest /*digest*/) {
  co_return Pong{asked.incarnation,
                 asked.members != nullptr ? asked.members->digest() : MemberDigest()};
}

Task<Result<MemberExchange>> answer_members(Asked asked, MemberExchange exchange) {
  co_return asked.members != nullptr ? asked.members->answer(exchange) : MemberExchange();
}

struct Row {
  MessageType type;
  Task<Reply> (*run)(Asked asked, Frame frame);
};

template <MessageType kType, class Handler>
constexpr Row row(Handler) {
  return {kType, handle<kType, Handler>};
}

constexpr std::array kRows = {
    row<MessageType::kPing>(
        [](const Asked& asked, MemberDigest digest) { return answer_ping(asked, digest); }),
    row<MessageType::kMembers>([](const Asked& asked, MemberExchange exchange) {
      return answer_members(asked, std::move(exchange));
    }),
    row<MessageType::kPush>([](const Asked& asked, merge::PushRequest request) {
      return asked.node.push(std::move(request));
    }),
    row<MessageType::kAnnounce>([](const Asked& asked, merge::AnnounceRequest request) {
      return asked.node.announce(std::move(request));
    }),
    row<MessageType::kPartitionInfo>([](const Asked& asked, PartitionRequest request) {
      return asked.node.partition_info(std::move(request.shuffle), request.partition);
    }),
    row<MessageType::kMergedInfo>([](const Asked& asked, PartitionRequest request) {
      return asked.node.merged_info(std::move(request.shuffle), request.partition);
    }),
    row<MessageType::kShuffleInfo>([](const Asked& asked, ShuffleRequest request) {
      return asked.node.shuffle_info(std::move(request.shuffle));
    }),
    row<MessageType::kListShuffles>(
        [](const Asked& asked, Nothing) { return asked.node.list_shuffles(); }),
    row<MessageType::kReadMerged>([](const Asked& asked, ReadMergedRequest request) {
      return asked.node.read_merged(std::move(request.shuffle), request.partition, request.offset,
                                    request.length);
    }),
    row<MessageType::kReadBlock>([](const Asked& asked, ReadBlockRequest request) {
      return asked.node.read_block(std::move(request.shuffle), request.map, request.commit,
                                   request.partition, request.offset, request.length);
    }),
    row<MessageType::kDrop>([](const Asked& asked, DropRequest request) {
      return asked.node.drop(std::move(request.app), request.shuffle, request.life);
    }),
    row<MessageType::kReport>([](const Asked& asked, ReportRequest request) {
      return asked.node.report(std::move(request.about));
    }),
};
static_assert(kRows.size() == kRequestTypes.size());

}  // namespace

Bytes encode_error_head(const Error& error) {
  return encode_frame_head(request_number(MessageType::kError), encode(Refusal{error}), {});
}

Task<Reply> dispatch(Asked asked, Frame request) {
  const auto found = std::ranges::find(kRows, static_cast<MessageType>(request.type), &Row::type);
  if (found != kRows.end()) co_return co_await found->run(std::move(asked), std::move(request));
  co_return reply_malformed(
      make_error(Code::kProtocol, fmt::format("message type {} is not a request", request.type)));
}

}  // namespace shufflefs::net
