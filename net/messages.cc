#include "net/messages.h"

#include <fmt/format.h>

#include <algorithm>

#include "net/message_reader.h"
#include "net/message_writer.h"

namespace shufflefs::net {
namespace {

constexpr std::size_t kTinyHeaderBytes = 64;  // a few numbers

bool is_request(uint16_t type) {
  return std::ranges::any_of(kRequestTypes,
                             [type](MessageType known) { return request_number(known) == type; });
}

uint64_t max_answer_header_bytes(MessageType request) {
  switch (request) {
    case MessageType::kPartitionInfo:
    case MessageType::kMergedInfo:
    case MessageType::kShuffleInfo:
    case MessageType::kListShuffles:
    case MessageType::kMembers: return kMaxHeaderBytes;
    case MessageType::kReport: return merge::kMaxReportBytes + kTinyHeaderBytes;
    default: return kTinyHeaderBytes;
  }
}

}  // namespace

std::string_view name_of(MessageType type) {
  switch (type) {
    case MessageType::kError: return "error";
    case MessageType::kHello: return "hello";
    case MessageType::kPing: return "ping";
    case MessageType::kProve: return "prove";
    case MessageType::kMembers: return "members";
    case MessageType::kPush: return "push";
    case MessageType::kAnnounce: return "announce";
    case MessageType::kPartitionInfo: return "partition_info";
    case MessageType::kShuffleInfo: return "shuffle_info";
    case MessageType::kListShuffles: return "list_shuffles";
    case MessageType::kReadMerged: return "read_merged";
    case MessageType::kReadBlock: return "read_block";
    case MessageType::kDrop: return "drop";
    case MessageType::kMergedInfo: return "merged_info";
    case MessageType::kReport: return "report";
  }
  return "unknown";
}

Result<FrameLimits> request_limits(uint16_t type, uint64_t max_push_bytes) {
  if (!is_request(type))
    return make_error(Code::kProtocol, fmt::format("message type {} is not a request", type));
  switch (static_cast<MessageType>(type)) {
    case MessageType::kPush: return FrameLimits{kMaxHeaderBytes, max_push_bytes};
    case MessageType::kAnnounce:
    case MessageType::kMembers: return FrameLimits{kMaxHeaderBytes, 0};
    default: return FrameLimits{kMaxQuestionBytes, 0};
  }
}

Result<FrameLimits> answer_limits(uint16_t type, MessageType request, uint64_t payload_bytes) {
  if (type == request_number(MessageType::kError)) return FrameLimits{kMaxErrorBytes, 0};
  if (type == answer_number(request))
    return FrameLimits{max_answer_header_bytes(request), payload_bytes};
  return make_error(
      Code::kProtocol,
      fmt::format("message type {} is not the answer to a {} request", type, name_of(request)));
}

Bytes encode(const Error& error) {
  MessageWriter writer;
  writer.tuple(3);
  writer.number(static_cast<uint64_t>(error.code));
  writer.number(static_cast<uint64_t>(error.sys_errno));
  writer.text(error.message, kMaxTextBytes);
  return writer.take();
}

Result<Refusal> decode_error(std::span<const std::byte> header) {
  constexpr uint64_t kMaxErrno = 4095;  // the kernel's own bound
  MessageReader reader("error", header);
  Refusal refusal;
  reader.tuple("fields", 3);
  refusal.error.code = static_cast<Code>(reader.number("code", 1, INT32_MAX));
  refusal.error.sys_errno = static_cast<int>(reader.number("errno", 0, kMaxErrno));
  refusal.error.message = reader.text("message", kMaxTextBytes);
  return reader.finish(std::move(refusal));
}

Bytes encode_nothing() {
  MessageWriter writer;
  writer.tuple(0);
  return writer.take();
}

Status decode_nothing(std::span<const std::byte> header) {
  MessageReader reader("empty", header);
  reader.tuple("fields", 0);
  TRY(reader.finish(true));
  return ok();
}

}  // namespace shufflefs::net
