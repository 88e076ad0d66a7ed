#include "net/ess/diagnose.h"

#include <isa-l/crc.h>
#include <isa-l/igzip_lib.h>

#include <algorithm>
#include <array>

#include "base/crc32c.h"
#include "base/endian.h"
#include "base/file_io.h"
#include "base/log.h"
#include "merge/spark_files.h"

namespace shufflefs::net::ess {
namespace {

// One of java.util.zip's: ADLER32, CRC32 (gzip's polynomial), CRC32C (from Spark 4.1).
class Checksum {
 public:
  [[nodiscard]] static std::optional<Checksum> of(std::string_view algorithm) {
    if (algorithm == "ADLER32") return Checksum(Kind::kAdler32, 1);
    if (algorithm == "CRC32") return Checksum(Kind::kCrc32, 0);
    if (algorithm == "CRC32C") return Checksum(Kind::kCrc32c, 0);
    return std::nullopt;
  }
  void add(std::span<const std::byte> bytes) {
    const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
    switch (kind_) {
      case Kind::kAdler32: value_ = isal_adler32(value_, data, bytes.size()); break;
      case Kind::kCrc32: value_ = crc32_gzip_refl(value_, data, bytes.size()); break;
      case Kind::kCrc32c: value_ = crc32c(value_, bytes); break;
    }
  }
  [[nodiscard]] int64_t value() const { return value_; }

 private:
  enum class Kind { kAdler32, kCrc32, kCrc32c };
  Checksum(Kind kind, uint32_t value) : kind_(kind), value_(value) {}
  Kind kind_;
  uint32_t value_;
};

Result<int64_t> written_checksum(const FilePlace& place, int32_t reduce) {
  TRY_ASSIGN(const Fd fd, open_beneath(place));
  std::array<std::byte, 8> raw{};
  TRY(read_exactly(fd.get(), place.shown, static_cast<uint64_t>(reduce) * raw.size(), raw));
  return load_be<int64_t>(raw.data());
}

Result<int64_t> computed_checksum(OpenOutput& output, int32_t reduce, Checksum checksum) {
  const auto range =
      output.range(static_cast<uint32_t>(reduce), static_cast<uint32_t>(reduce) + 1, Wait::kYes);
  if (!range || !*range) return range->error();
  constexpr uint64_t kPieceBytes = 256U << 10U;
  Bytes piece(std::min((*range)->length, kPieceBytes));
  for (uint64_t done = 0; done < (*range)->length;) {
    const auto part = std::span(piece).first(std::min((*range)->length - done, kPieceBytes));
    TRY(read_exactly(output.data_fd(), output.data_path(), (*range)->offset + done, part));
    checksum.add(part);
    done += part.size();
  }
  return checksum.value();
}

}  // namespace

CorruptionCause diagnose(const BlockFiles& files, const merge::Executor& executor,
                         const DiagnoseCorruption& question) {
  const auto checksum = Checksum::of(question.algorithm);
  if (!checksum) return CorruptionCause::kUnsupportedAlgorithm;
  const auto shuffle = static_cast<merge::ShuffleId>(question.shuffle);
  const auto map = static_cast<merge::MapId>(question.map);
  auto look = [&]() -> Result<CorruptionCause> {
    TRY_ASSIGN(const int64_t written,
               written_checksum(files.place_of(executor, merge::spark_checksum_name(
                                                             shuffle, map, question.algorithm)),
                                question.reduce));
    std::size_t lane = 0;
    FilePlace data = files.place_of(
        executor, merge::spark_file_name(shuffle, map, merge::SparkFile::kData), &lane);
    TRY_ASSIGN(
        const auto output,
        OpenOutput::open(std::move(data),
                         files.place_of(executor, merge::spark_file_name(shuffle, map,
                                                                         merge::SparkFile::kIndex)),
                         lane));
    TRY_ASSIGN(const int64_t computed, computed_checksum(*output, question.reduce, *checksum));
    if (computed != written) return CorruptionCause::kDisk;
    if (question.checksum != written) return CorruptionCause::kNetwork;
    return CorruptionCause::kChecksumVerified;
  };
  const auto cause = look();
  log_limited(
      LogLevel::kWarning, "spark.corruption_reported",
      {{"app", question.app},
       {"executor", question.executor},
       {"shuffle", question.shuffle},
       {"map", question.map},
       {"partition", question.reduce},
       {"cause", cause ? static_cast<int>(*cause) : 2},
       {"reason", cause ? std::string("compared with the checksum file") : cause.error().message}});
  return cause ? *cause : CorruptionCause::kUnknown;
}

}  // namespace shufflefs::net::ess
