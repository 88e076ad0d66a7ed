#include "net/messages.h"

#include <fmt/format.h>

#include "net/message_fields.h"

namespace shufflefs::net {
namespace {

template <std::size_t... i>
constexpr bool are_in_order(std::index_sequence<i...>) {
  return ((std::tuple_element_t<i, Messages>::kType == kRequestTypes.at(i).type) && ...);
}
static_assert(std::tuple_size_v<Messages> == kRequestTypes.size());
static_assert(are_in_order(std::make_index_sequence<kRequestTypes.size()>()));

// Upper bounds of the encoded sizes: a msgpack number takes at most 9 bytes, an array or text at
// most 5 more.
constexpr std::size_t kEndedBytes = 19;

std::size_t encoded_bytes(const merge::AnnouncedMap& announced) {
  std::size_t bytes = 80 + announced.shuffle.app.str().size();
  for (const merge::PartitionBits& bits : announced.ranges) bytes += 25 + bits.non_empty.size();
  return bytes;
}
std::size_t encoded_bytes(const merge::DroppedName& dropped) {
  return 30 + dropped.app.str().size();
}
std::size_t encoded_bytes_without_maps(const merge::EndedMaps& ended) {
  return 45 + ended.shuffle.app.str().size() + ended.ranges.size() * kEndedBytes;
}

}  // namespace

Result<FrameLimits> request_limits(uint16_t type, uint64_t max_push_bytes) {
  const std::size_t at = index_of(static_cast<MessageType>(type));
  if (at == kRequestTypes.size())
    return make_error(Code::kProtocol, fmt::format("message type {} is not a request", type));
  const bool is_push = kRequestTypes.at(at).type == MessageType::kPush;
  return FrameLimits{kRequestTypes.at(at).max_request_bytes, is_push ? max_push_bytes : 0};
}

Result<FrameLimits> response_limits(uint16_t type, MessageType request, uint64_t payload_bytes) {
  if (type == request_number(MessageType::kError)) return FrameLimits{kMaxErrorBytes, 0};
  if (type == response_number(request))
    return FrameLimits{kRequestTypes.at(index_of(request)).max_response_bytes, payload_bytes};
  return make_error(
      Code::kProtocol,
      fmt::format("message type {} is not the answer to a {} request", type, name_of(request)));
}

void check_blocks(MessageReader& reader, const merge::PushRequest& request) {
  if (request.parts.empty()) reader.refuse("parts", "there are none");
  if (request.offer && request.payload.size() > 0) reader.refuse("offer", "it has a payload");
  // What no block has taken yet of the payload, so that the sum cannot overflow.
  uint64_t left = request.offer ? kMaxLength : request.payload.size();
  for (const merge::PushPart& part : request.parts) {
    for (const merge::PushBlock& block : part.blocks) {
      if (block.length > left) {
        reader.refuse("block length", fmt::format("{} is not within 1 to {}", block.length, left));
        return;
      }
      left -= block.length;
    }
  }
  if (!request.offer && left != 0)
    reader.refuse("blocks", fmt::format("{} bytes of the payload belong to no block", left));
}

void check_bits(MessageReader& reader, const merge::PartitionBits& bits) {
  const uint64_t size = (uint64_t{bits.count} + 7) / 8;
  const unsigned used = bits.count % 8;
  const bool has_last =
      !bits.non_empty.empty() && bits.skipped_bytes + bits.non_empty.size() == size;
  if (has_last && used != 0 && (bits.non_empty.back() >> used) != 0)
    reader.refuse("partition bits", "bits behind the last partition are set");
}

std::vector<merge::AnnounceRequest> split_announcement(merge::AnnounceRequest request,
                                                       std::size_t max_bytes) {
  std::vector<merge::AnnounceRequest> parts;
  std::size_t bytes = 0;
  auto part_for = [&](std::size_t more) -> merge::AnnounceRequest& {
    if (parts.empty() || bytes + more > max_bytes) {
      parts.push_back({request.origin, {}, {}, {}, false});
      bytes = 0;
    }
    bytes += more;
    return parts.back();
  };
  for (merge::DroppedName& dropped : request.dropped) {
    merge::AnnounceRequest& part = part_for(encoded_bytes(dropped));
    part.dropped.push_back(std::move(dropped));
  }
  for (merge::AnnouncedMap& announced : request.committed) {
    merge::AnnounceRequest& part = part_for(encoded_bytes(announced));
    part.committed.push_back(std::move(announced));
  }
  for (const merge::EndedMaps& ended : request.ended) {
    const auto begin = [&](std::size_t more) -> merge::AnnounceRequest& {
      merge::AnnounceRequest& part = part_for(encoded_bytes_without_maps(ended) + more);
      part.ended.push_back({ended.shuffle, ended.life, ended.ranges, {}});
      return part;
    };
    merge::AnnounceRequest* part = &begin(0);
    for (const merge::EndedMaps::Ended& one : ended.maps) {
      if (bytes + kEndedBytes > max_bytes && !part->ended.back().maps.empty())
        part = &begin(kEndedBytes);
      else
        bytes += kEndedBytes;
      part->ended.back().maps.push_back(one);
    }
  }
  part_for(0).whole = request.whole;
  return parts;
}

}  // namespace shufflefs::net
