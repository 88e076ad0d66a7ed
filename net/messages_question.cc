// The requests that are only ids and numbers.
#include "net/message_fields.h"

namespace shufflefs::net {

// Found by argument-dependent lookup from net/message_fields.h, which does not
// look into unnamed namespaces.

template <class A, class Offset, class Length>
static void range_fields(A& a, Offset& offset, Length& length) {
  a.number("offset", offset, 0, kMaxLength - merge::kMaxReadBytes);
  a.number("length", length, 1, merge::kMaxReadBytes);
}

template <class A>
static void fields(A& a, typename A::template Of<PartitionQuestion> question) {
  a.tuple("fields", 3);
  a.shuffle_key(question.shuffle);
  a.partition("partition", question.partition);
}

template <class A>
static void fields(A& a, typename A::template Of<ShuffleQuestion> question) {
  a.tuple("fields", 2);
  a.shuffle_key(question.shuffle);
}

template <class A>
static void fields(A& a, typename A::template Of<ReadMergedQuestion> question) {
  a.tuple("fields", 5);
  a.shuffle_key(question.shuffle);
  a.partition("partition", question.partition);
  range_fields(a, question.offset, question.length);
}

template <class A>
static void fields(A& a, typename A::template Of<ReadBlockQuestion> question) {
  a.tuple("fields", 7);
  a.shuffle_key(question.shuffle);
  a.map(question.map);
  a.clock_number("commit", question.commit);
  a.partition("partition", question.partition);
  range_fields(a, question.offset, question.length);
}

template <class A>
static void fields(A& a, typename A::template Of<DropRequest> request) {
  a.tuple("fields", 3);
  a.app(request.app);
  a.shuffle_or_nil(request.shuffle);
  a.clock_number("life", request.life);
}

template <class A>
static void fields(A& a, typename A::template Of<ReportQuestion> question) {
  a.tuple("fields", 1);
  a.text("about", question.about, merge::kMaxReportNameBytes);
}

Bytes encode(const PartitionQuestion& question) { return write_fields(question); }
Bytes encode(const ShuffleQuestion& question) { return write_fields(question); }
Bytes encode(const ReadMergedQuestion& question) { return write_fields(question); }
Bytes encode(const ReadBlockQuestion& question) { return write_fields(question); }
Bytes encode(const DropRequest& request) { return write_fields(request); }
Bytes encode(const ReportQuestion& question) { return write_fields(question); }

Result<PartitionQuestion> decode_partition_question(std::span<const std::byte> header) {
  return read_fields<PartitionQuestion>("partition question", header);
}
Result<ShuffleQuestion> decode_shuffle_question(std::span<const std::byte> header) {
  return read_fields<ShuffleQuestion>("shuffle question", header);
}
Result<ReadMergedQuestion> decode_read_merged(std::span<const std::byte> header) {
  return read_fields<ReadMergedQuestion>("read_merged", header);
}
Result<ReadBlockQuestion> decode_read_block(std::span<const std::byte> header) {
  return read_fields<ReadBlockQuestion>("read_block", header);
}
Result<DropRequest> decode_drop(std::span<const std::byte> header) {
  return read_fields<DropRequest>("drop", header);
}
Result<ReportQuestion> decode_report_question(std::span<const std::byte> header) {
  return read_fields<ReportQuestion>("report", header);
}

}  // namespace shufflefs::net
