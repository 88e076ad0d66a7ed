// The requests that are only ids and numbers.
#include "net/message_reader.h"
#include "net/message_writer.h"
#include "net/messages.h"

namespace shufflefs::net {
namespace {

void write_range(MessageWriter& writer, uint64_t offset, uint32_t length) {
  writer.number(offset);
  writer.number(length);
}

uint64_t read_offset(MessageReader& reader) {
  return reader.number("offset", 0, kMaxLength - merge::kMaxReadBytes);
}

uint32_t read_length(MessageReader& reader) {
  return static_cast<uint32_t>(reader.number("length", 1, merge::kMaxReadBytes));
}

void write_map_file(MessageWriter& writer, const MapFileQuestion& question) {
  writer.shuffle_key(question.shuffle);
  writer.map(question.map);
  writer.number(static_cast<uint64_t>(question.file));
}

MapFileQuestion read_map_file(MessageReader& reader) {
  MapFileQuestion question;
  question.shuffle = reader.shuffle_key();
  question.map = reader.map();
  question.file = static_cast<merge::MapFile>(
      reader.number("file", 0, static_cast<uint64_t>(merge::MapFile::kIndex)));
  return question;
}

}  // namespace

Bytes encode(const PartitionQuestion& question) {
  MessageWriter writer;
  writer.tuple(3);
  writer.shuffle_key(question.shuffle);
  writer.partition(question.partition);
  return writer.take();
}

Result<PartitionQuestion> decode_partition_question(std::span<const std::byte> header) {
  MessageReader reader("partition question", header);
  PartitionQuestion question;
  reader.tuple("fields", 3);
  question.shuffle = reader.shuffle_key();
  question.partition = reader.partition("partition");
  return reader.finish(std::move(question));
}

Bytes encode(const ShuffleQuestion& question) {
  MessageWriter writer;
  writer.tuple(2);
  writer.shuffle_key(question.shuffle);
  return writer.take();
}

Result<ShuffleQuestion> decode_shuffle_question(std::span<const std::byte> header) {
  MessageReader reader("shuffle question", header);
  ShuffleQuestion question;
  reader.tuple("fields", 2);
  question.shuffle = reader.shuffle_key();
  return reader.finish(std::move(question));
}

Bytes encode(const ReadMergedQuestion& question) {
  MessageWriter writer;
  writer.tuple(5);
  writer.shuffle_key(question.shuffle);
  writer.partition(question.partition);
  write_range(writer, question.offset, question.length);
  return writer.take();
}

Result<ReadMergedQuestion> decode_read_merged(std::span<const std::byte> header) {
  MessageReader reader("read_merged", header);
  ReadMergedQuestion question;
  reader.tuple("fields", 5);
  question.shuffle = reader.shuffle_key();
  question.partition = reader.partition("partition");
  question.offset = read_offset(reader);
  question.length = read_length(reader);
  return reader.finish(std::move(question));
}

Bytes encode(const ReadBlockQuestion& question) {
  MessageWriter writer;
  writer.tuple(6);
  writer.shuffle_key(question.shuffle);
  writer.map(question.map);
  writer.partition(question.partition);
  write_range(writer, question.offset, question.length);
  return writer.take();
}

Result<ReadBlockQuestion> decode_read_block(std::span<const std::byte> header) {
  MessageReader reader("read_block", header);
  ReadBlockQuestion question;
  reader.tuple("fields", 6);
  question.shuffle = reader.shuffle_key();
  question.map = reader.map();
  question.partition = reader.partition("partition");
  question.offset = read_offset(reader);
  question.length = read_length(reader);
  return reader.finish(std::move(question));
}

Bytes encode(const MapFileQuestion& question) {
  MessageWriter writer;
  writer.tuple(4);
  write_map_file(writer, question);
  return writer.take();
}

Result<MapFileQuestion> decode_map_file_question(std::span<const std::byte> header) {
  MessageReader reader("map_file_size", header);
  reader.tuple("fields", 4);
  MapFileQuestion question = read_map_file(reader);
  return reader.finish(std::move(question));
}

Bytes encode(const ReadMapFileQuestion& question) {
  MessageWriter writer;
  writer.tuple(6);
  write_map_file(writer, question.file);
  write_range(writer, question.offset, question.length);
  return writer.take();
}

Result<ReadMapFileQuestion> decode_read_map_file(std::span<const std::byte> header) {
  MessageReader reader("read_map_file", header);
  ReadMapFileQuestion question;
  reader.tuple("fields", 6);
  question.file = read_map_file(reader);
  question.offset = read_offset(reader);
  question.length = read_length(reader);
  return reader.finish(std::move(question));
}

Bytes encode(const DropRequest& request) {
  MessageWriter writer;
  writer.tuple(3);
  writer.app(request.app);
  if (request.shuffle)
    writer.number(merge::number(*request.shuffle));
  else
    writer.nil();
  writer.number(request.epoch);
  return writer.take();
}

Result<DropRequest> decode_drop(std::span<const std::byte> header) {
  MessageReader reader("drop", header);
  DropRequest request;
  reader.tuple("fields", 3);
  request.app = reader.app();
  if (!reader.nil()) request.shuffle = reader.shuffle();
  request.epoch = reader.epoch();
  return reader.finish(std::move(request));
}

Bytes encode(const ReportQuestion& question) {
  MessageWriter writer;
  writer.tuple(1);
  writer.text(question.about, merge::kMaxReportNameBytes);
  return writer.take();
}

Result<ReportQuestion> decode_report_question(std::span<const std::byte> header) {
  MessageReader reader("report", header);
  ReportQuestion question;
  reader.tuple("fields", 1);
  question.about = reader.text("about", merge::kMaxReportNameBytes);
  return reader.finish(std::move(question));
}

}  // namespace shufflefs::net
