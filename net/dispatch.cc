#include "net/dispatch.h"

#include <fmt/format.h>

#include "base/parse.h"

namespace shufflefs::net {
namespace {

using Local = std::reference_wrapper<merge::NodeApi>;

Reply reply_error(const Error& error) { return {encode_error_head(error), {}, {}}; }

Reply reply_malformed(Error error) {
  Reply reply = reply_error(error);
  reply.malformed = std::move(error);
  return reply;
}

Reply reply_header(MessageType request, const Bytes& header) {
  if (header.size() > kMaxHeaderBytes) {
    return reply_error(make_error(
        Code::kTooLarge,
        fmt::format("the answer to a {} request, {}, is above the limit of {}", name_of(request),
                    format_bytes(header.size()), format_bytes(kMaxHeaderBytes))));
  }
  return {encode_frame_head(answer_number(request), header, {}), {}, {}};
}

template <class T>
Reply reply_result(MessageType request, const Result<T>& result) {
  return result ? reply_header(request, encode(*result)) : reply_error(result.error());
}

Reply reply_status(MessageType request, const Status& status) {
  return status ? reply_header(request, encode_nothing()) : reply_error(status.error());
}

Reply reply_bytes(MessageType request, Result<Buffer> bytes, uint32_t length) {
  if (!bytes) return reply_error(bytes.error());
  if (bytes->size() != length) {
    return reply_error(make_error(
        Code::kInternal,
        fmt::format("a {} of {} bytes gave {}", name_of(request), length, bytes->size())));
  }
  Bytes head = encode_frame_head(answer_number(request), encode_nothing(), bytes->span());
  return {std::move(head), *std::move(bytes), {}};
}

// What nodes ask to know who is there; not for the node behind.
Reply answer_member(uint64_t incarnation, MemberTable* members, MessageType type,
                    const Frame& request) {
  if (type == MessageType::kPing) {
    const auto ping = decode_ping(request.header);
    if (!ping) return reply_malformed(ping.error());
    return reply_header(
        type, encode(Pong{incarnation, members != nullptr ? members->digest() : MemberDigest()}));
  }
  const auto question = decode_members(request.header);
  if (!question) return reply_malformed(question.error());
  return reply_header(type,
                      encode(members != nullptr ? members->answer(*question) : MemberExchange()));
}

Task<Reply> answer_writing(Local local, MessageType type, Frame request) {
  if (type == MessageType::kPush) {
    auto push = decode_push(request.header, std::move(request.payload));
    if (!push) co_return reply_malformed(std::move(push).error());
    co_return reply_result(type, co_await local.get().push(*std::move(push)));
  }
  if (type == MessageType::kAnnounce) {
    auto announce = decode_announce(request.header);
    if (!announce) co_return reply_malformed(std::move(announce).error());
    request.header_lease.give_back();
    co_return reply_status(type, co_await local.get().announce(*std::move(announce)));
  }
  auto drop = decode_drop(request.header);
  if (!drop) co_return reply_malformed(std::move(drop).error());
  co_return reply_status(
      type, co_await local.get().drop(std::move(drop->app), drop->shuffle, drop->life));
}

Task<Reply> answer_question(Local local, MessageType type, Frame request) {
  if (type == MessageType::kListShuffles) {
    if (auto nothing = decode_nothing(request.header); !nothing)
      co_return reply_malformed(std::move(nothing).error());
    co_return reply_result(type, co_await local.get().list_shuffles());
  }
  if (type == MessageType::kPartitionInfo || type == MessageType::kMergedInfo) {
    auto question = decode_partition_question(request.header);
    if (!question) co_return reply_malformed(std::move(question).error());
    if (type == MessageType::kMergedInfo) {
      co_return reply_result(type, co_await local.get().merged_info(std::move(question->shuffle),
                                                                    question->partition));
    }
    co_return reply_result(type, co_await local.get().partition_info(std::move(question->shuffle),
                                                                     question->partition));
  }
  if (type == MessageType::kReport) {
    auto question = decode_report_question(request.header);
    if (!question) co_return reply_malformed(std::move(question).error());
    const auto text = co_await local.get().report(std::move(question->about));
    co_return text ? reply_header(type, encode_report(*text)) : reply_error(text.error());
  }
  auto question = decode_shuffle_question(request.header);
  if (!question) co_return reply_malformed(std::move(question).error());
  co_return reply_result(type, co_await local.get().shuffle_info(std::move(question->shuffle)));
}

Task<Reply> answer_reading(Local local, MessageType type, Frame request) {
  if (type == MessageType::kReadMerged) {
    auto question = decode_read_merged(request.header);
    if (!question) co_return reply_malformed(std::move(question).error());
    const uint32_t length = question->length;
    co_return reply_bytes(
        type,
        co_await local.get().read_merged(std::move(question->shuffle), question->partition,
                                         question->offset, length),
        length);
  }
  auto question = decode_read_block(request.header);
  if (!question) co_return reply_malformed(std::move(question).error());
  const uint32_t length = question->length;
  co_return reply_bytes(
      type,
      co_await local.get().read_block(std::move(question->shuffle), question->map, question->commit,
                                      question->partition, question->offset, length),
      length);
}

}  // namespace

Bytes encode_error_head(const Error& error) {
  return encode_frame_head(request_number(MessageType::kError), encode(error), {});
}

Task<Reply> dispatch(Local local, uint64_t incarnation, Frame request, MemberTable* members) {
  const auto type = static_cast<MessageType>(request.type);
  switch (type) {
    case MessageType::kPing:
    case MessageType::kMembers: co_return answer_member(incarnation, members, type, request);
    case MessageType::kPush:
    case MessageType::kAnnounce:
    case MessageType::kDrop: co_return co_await answer_writing(local, type, std::move(request));
    case MessageType::kPartitionInfo:
    case MessageType::kMergedInfo:
    case MessageType::kShuffleInfo:
    case MessageType::kListShuffles:
    case MessageType::kReport: co_return co_await answer_question(local, type, std::move(request));
    case MessageType::kReadMerged:
    case MessageType::kReadBlock:
      co_return co_await answer_reading(local, type, std::move(request));
    case MessageType::kError:
    case MessageType::kHello:
    case MessageType::kProve: break;
  }
  co_return reply_malformed(
      make_error(Code::kProtocol, fmt::format("message type {} is not a request", request.type)));
}

}  // namespace shufflefs::net
