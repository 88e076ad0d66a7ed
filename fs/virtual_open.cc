// VirtualContents: what an open gives.
#include <fcntl.h>
#include <fmt/format.h>

#include "fs/virtual_contents.h"

namespace shufflefs::fs {
namespace {

// Above it an index is not made into a snapshot in memory: 2 million map outputs.
constexpr uint64_t kLargestText = 64U << 20U;

Result<VirtualContents::Opened> open_text(std::string text, const VirtualNode& node) {
  if (text.size() > kLargestText) {
    return Error{Code::kTooLarge, EFBIG,
                 fmt::format("{} has {} bytes, at most {} are shown", path_of(node), text.size(),
                             kLargestText)};
  }
  return VirtualContents::Opened{make_text_file(std::move(text)), std::nullopt};
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
      if (!co_await exists(plan)) co_return missing(node);
      co_return co_await open_plan(std::move(plan));
    }
    case NodeKind::kMerged: {
      merge::PartitionPlan plan =
          co_await engine_.catalog().merged_plan(node.key(), node.partition);
      if (!co_await exists(plan)) co_return missing(node);
      co_return co_await open_plan(std::move(plan));
    }
    case NodeKind::kIndex: {
      const merge::PartitionPlan plan =
          co_await engine_.catalog().merged_plan(node.key(), node.partition);
      if (!co_await exists(plan)) co_return missing(node);
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
    case NodeKind::kPeerMapFile:
    case NodeKind::kPeerMerged:
    case NodeKind::kPeerIndex: co_return co_await open_peer(std::move(node));
    default: co_return Error{Code::kInternal, EISDIR, path_of(node) + " is a directory"};
  }
}

Task<Result<VirtualContents::Opened>> VirtualContents::open_plan(merge::PartitionPlan plan) {
  Opened opened;
  if (plan.bytes > 0 && !plan.incomplete && plan.whole_at == cluster_.self()) {
    merge::Engine& engine = engine_;
    opened.whole = co_await offload(engine.runtime(), [&engine, &plan] {
      return engine.seal_for_passthrough(plan.shuffle, plan.partition, plan.bytes);
    });
  }
  opened.file = make_stream_file(engine_.open_stream(std::move(plan)));
  co_return opened;
}

Result<VirtualContents::Opened> VirtualContents::open_map_file(const VirtualNode& node) {
  const auto output = places_.spark_map(node.key(), node.map);
  if (!output) return missing(node);
  TRY_ASSIGN(const Facts facts, map_file_facts(node));
  if (facts.size == 0)
    return open_text("", node);  // Spark writes no data file where there are no bytes
  const std::string& path =
      node.file == merge::MapFile::kData ? output->data_path : output->index_path;
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return errno_error("cannot open " + path);
  return Opened{make_backing_file(std::move(fd), facts.size), std::nullopt};
}

Result<VirtualContents::Opened> VirtualContents::open_jar(const VirtualNode& node) const {
  TRY_ASSIGN(const Facts facts, jar_facts(node));
  const std::string path = client_dir_ + "/" + node.info;
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return errno_error("cannot open " + path);
  return Opened{make_backing_file(std::move(fd), facts.size), std::nullopt};
}

Task<Result<VirtualContents::Opened>> VirtualContents::open_peer(VirtualNode node) {
  const std::shared_ptr<merge::NodeApi> api = cluster_.node(node.peer);
  if (!api) co_return make_error(Code::kNotFound, "there is no member " + node.peer.str());
  if (node.kind == NodeKind::kPeerMapFile) {
    CO_TRY_ASSIGN(const uint64_t size,
                  co_await api->map_file_size(node.key(), node.map, node.file));
    co_return Opened{make_peer_file(api, std::move(node), size), std::nullopt};
  }
  CO_TRY_ASSIGN(const merge::PartitionPlan plan, co_await peer_merged_plan(node));
  if (node.kind == NodeKind::kPeerIndex) co_return open_text(index_text(plan), node);
  co_return Opened{make_peer_file(api, std::move(node), plan.bytes), std::nullopt};
}

}  // namespace shufflefs::fs
