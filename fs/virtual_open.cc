// VirtualContents: what an open gives.
#include <fcntl.h>
#include <fmt/format.h>

#include "base/reactor_mark.h"
#include "fs/virtual_contents.h"

namespace shufflefs::fs {
namespace {

// Above it an index is not made into a snapshot in memory: 2 million map outputs.
constexpr uint64_t kLargestText = 64U << 20U;

// Partitions up to that size are compared with their checksums before their first open is
// answered, which takes some milliseconds; of larger ones the first readers are streamed to.
constexpr uint64_t kCheckedAtOpen = 16U << 20U;
constexpr uint64_t kCheckStep = 4U << 20U;  // at a time on a disk thread
constexpr std::size_t kMostChecks = 2;      // of large partitions at a time

Result<VirtualContents::Opened> open_text(std::string text, const VirtualNode& node) {
  if (text.size() > kLargestText) {
    return Error{Code::kTooLarge, EFBIG,
                 fmt::format("{} has {} bytes, at most {} are shown", path_of(node), text.size(),
                             kLargestText)};
  }
  return VirtualContents::Opened{make_text_file(std::move(text)), std::nullopt};
}

// What may be with a node that does not answer is there: its reads say what is missing.
bool exists(const merge::PartitionPlan& plan) {
  return plan.known || plan.incomplete || !plan.blocks.empty();
}

std::string index_text(const merge::PartitionPlan& plan) {
  const std::vector<std::byte> bytes = merge::render_index_view(plan);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

Task<Result<VirtualContents::Opened>> VirtualContents::open(VirtualNode node) {
  switch (node.kind) {
    case NodeKind::kPartition: {
      merge::PartitionPlan plan =
          co_await engine_.catalog().plan_for_reading(node.key(), node.partition);
      if (!exists(plan)) co_return missing(node);
      co_return co_await open_plan(std::move(plan), Passed::kChecked);
    }
    case NodeKind::kMerged: {
      merge::PartitionPlan plan =
          co_await engine_.catalog().merged_plan(node.key(), node.partition);
      if (!exists(plan)) co_return missing(node);
      co_return co_await open_plan(std::move(plan), Passed::kUnchecked);
    }
    case NodeKind::kIndex: {
      const merge::PartitionPlan plan =
          co_await engine_.catalog().merged_plan(node.key(), node.partition);
      if (!exists(plan)) co_return missing(node);
      co_return open_text(index_text(plan), node);
    }
    case NodeKind::kStatus:
    case NodeKind::kOwnersOf:
    case NodeKind::kInfoFile: {
      // The text that a stat has just measured, if it was a moment ago: tar and cp compare.
      CO_TRY_ASSIGN(Facts known, co_await facts(node));
      if (known.text) co_return open_text(*known.text, node);
      CO_TRY_ASSIGN(std::string text, co_await text_of(node));
      co_return open_text(std::move(text), node);
    }
    case NodeKind::kMapFile:
      co_return co_await offload(engine_.runtime(), [this, &node] { return open_map_file(node); });
    case NodeKind::kReport: co_return open_text("", node);
    case NodeKind::kJar:
      co_return co_await offload(engine_.runtime(), [this, &node] { return open_jar(node); });
    default: co_return Error{Code::kInternal, EISDIR, path_of(node) + " is a directory"};
  }
}

Task<Result<VirtualContents::Opened>> VirtualContents::open_plan(merge::PartitionPlan plan,
                                                                 Passed passed) {
  Opened opened;
  if (plan.bytes > 0 && !plan.incomplete && plan.whole_at == cluster_.self()) {
    merge::Engine& engine = engine_;
    opened.whole = co_await offload(engine.runtime(), [&engine, &plan] {
      return engine.seal_for_passthrough(plan.shuffle, plan.partition, plan.bytes);
    });
    if (opened.whole && passed == Passed::kChecked)
      opened.whole = co_await checked(std::move(*opened.whole), plan);
  }
  opened.file = make_stream_file(
      engine_.runtime(), engine_.open_stream(std::move(plan)),
      passed == Passed::kChecked ? LargeBlocks::kReadTwice : LargeBlocks::kAsTheyCome);
  co_return opened;
}

Task<std::optional<Fd>> VirtualContents::checked(Fd file, const merge::PartitionPlan& plan) {
  const auto identity = identity_of(file.get());  // of an open file: no disk is asked
  if (!identity) co_return std::nullopt;
  if (checked_.contains(*identity)) co_return std::move(file);
  auto left = FileCheck::of(plan);
  if (!left || being_checked_.contains(*identity)) co_return std::nullopt;
  if (plan.bytes <= kCheckedAtOpen) {
    if (co_await check(file.get(), *identity, std::move(*left))) co_return std::move(file);
  } else if (being_checked_.size() < kMostChecks) {
    being_checked_.insert(*identity);
    gate_.spawn(check_meanwhile(std::move(file), *identity, std::move(*left)));
  }
  co_return std::nullopt;
}

Task<bool> VirtualContents::check(int fd, FileIdentity file, FileCheck check) {
  while (!check.is_done()) {
    const Status right =
        co_await offload(engine_.runtime(), [&check, fd] { return check.go_on(fd, kCheckStep); });
    if (right) continue;
    // Its readers get the blocks by streams, which say what is wrong with which one. A disk that
    // has damaged one file may have damaged others.
    checked_.clear();
    co_return false;
  }
  checked_.add(file);
  co_return true;
}

Task<void> VirtualContents::check_meanwhile(Fd fd, FileIdentity file, FileCheck left) {
  const std::shared_ptr<void> done(nullptr, [this, file](void*) { being_checked_.erase(file); });
  co_await check(fd.get(), file, std::move(left));
}

Result<VirtualContents::Opened> VirtualContents::open_map_file(const VirtualNode& node) {
  const auto output = places_.spark_map(node.key(), node.map);
  if (!output) return missing(node);
  TRY_ASSIGN(const Facts facts, map_file_facts(node));
  if (facts.size == 0)
    return open_text("", node);  // Spark writes no data file where there are no bytes
  const std::string& path = node.file == MapFile::kData ? output->data_path : output->index_path;
  on_disk_wait(path);
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return errno_error("cannot open " + path);
  return Opened{make_backing_file(std::move(fd), facts.size), std::nullopt};
}

Result<VirtualContents::Opened> VirtualContents::open_jar(const VirtualNode& node) const {
  TRY_ASSIGN(const Facts facts, jar_facts(node));
  const std::string path = client_dir_ + "/" + node.info;
  on_disk_wait(path);
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return errno_error("cannot open " + path);
  return Opened{make_backing_file(std::move(fd), facts.size), std::nullopt};
}

}  // namespace shufflefs::fs
