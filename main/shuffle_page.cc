#include "main/shuffle_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "base/parse.h"
#include "main/status_page.h"

namespace shufflefs {
namespace {

using Rows = std::vector<std::vector<std::string>>;

std::string name_of(const ShuffleView& shuffle) {
  return fmt::format("{}/{}", shuffle.app, shuffle.shuffle);
}

std::string percent(uint64_t part, uint64_t whole) {
  if (whole == 0) return "-";
  return fmt::format("{:.1f} %", 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

std::string skew_text(const Skew& skew, const Terminal& terminal) {
  constexpr std::size_t kWidth = 40;
  if (skew.classes.empty()) return "";
  std::size_t most = 0;
  for (const Skew::Class& size : skew.classes) most = std::max(most, size.partitions);
  std::string text = terminal.paint(Colour::kBold, "Sizes of partitions");
  text += fmt::format(
      ": median {}, largest {} ({}, {:.1f} times the median)\n", format_bytes(skew.median),
      format_bytes(skew.largest), skew.largest_partition,
      static_cast<double>(skew.largest) / static_cast<double>(std::max<uint64_t>(skew.median, 1)));
  Rows rows;
  if (skew.empty > 0) rows.push_back({"empty", fmt::format("{}", skew.empty), ""});
  for (const Skew::Class& size : skew.classes) {
    const std::size_t width = size.partitions == 0 ? 0 : 1 + (kWidth - 1) * size.partitions / most;
    rows.push_back({fmt::format("{} to {}", format_bytes(size.least), format_bytes(size.below)),
                    fmt::format("{}", size.partitions), std::string(width, '#')});
  }
  return text + align(rows);
}

std::string owner_of(const PartitionView& partition) {
  return partition.owner.empty() ? "?" : partition.owner;
}

}  // namespace

std::string shuffle_list_page(const std::vector<ShuffleView>& shuffles, const Terminal& terminal) {
  if (shuffles.empty()) return "no shuffles\n";
  Rows rows = {{"SHUFFLE", "MAPS", "PARTITIONS", "BYTES", "MERGED", "RATIO", "MAPS MERGED"}};
  std::string remarks;
  for (const ShuffleView& shuffle : shuffles) {
    rows.push_back({name_of(shuffle), fmt::format("{}", shuffle.maps),
                    fmt::format("{}", shuffle.partitions), format_bytes(shuffle.bytes),
                    format_bytes(shuffle.merged_bytes),
                    percent(shuffle.merged_bytes, shuffle.bytes),
                    shuffle.maps == 0 ? "-" : terminal.bar(shuffle.maps_settled, shuffle.maps)});
    remarks += shuffle_remarks(shuffle, terminal);
  }
  return align(rows, "") + remarks;
}

Skew skew_of(const std::vector<PartitionView>& partitions) {
  Skew skew;
  std::vector<uint64_t> sizes;
  for (const PartitionView& partition : partitions) {
    if (partition.bytes == 0) {
      ++skew.empty;
      continue;
    }
    sizes.push_back(partition.bytes);
    if (partition.bytes > skew.largest) {
      skew.largest = partition.bytes;
      skew.largest_partition = partition.partition;
    }
  }
  if (sizes.empty()) return skew;
  std::sort(sizes.begin(), sizes.end());
  skew.median = sizes[(sizes.size() - 1) / 2];
  auto next = sizes.begin();
  for (uint64_t least = std::bit_floor(sizes.front()); next != sizes.end(); least *= 2) {
    const bool is_last = least > UINT64_MAX / 2;  // twice as much would be no number
    const uint64_t below = is_last ? UINT64_MAX : least * 2;
    const auto end = is_last ? sizes.end() : std::lower_bound(next, sizes.end(), below);
    skew.classes.push_back({least, below, static_cast<std::size_t>(end - next)});
    next = end;
  }
  return skew;
}

std::string shuffle_page(const ShuffleView& shuffle, const std::vector<PartitionView>& partitions,
                         std::size_t most, const Terminal& terminal) {
  std::string text =
      fmt::format("{}: {} map outputs, {} partitions, {}; {} merged in {} partitions ({})\n",
                  terminal.paint(Colour::kBold, name_of(shuffle)), shuffle.maps, shuffle.partitions,
                  format_bytes(shuffle.bytes), format_bytes(shuffle.merged_bytes),
                  shuffle.merged_partitions, percent(shuffle.merged_bytes, shuffle.bytes));
  if (shuffle.blocks_left_home > 0) {
    text += fmt::format(
        "  left at their origin, as they are above push.max-block-bytes: {} blocks, {}\n",
        shuffle.blocks_left_home, format_bytes(shuffle.bytes_left_home));
  }
  text += shuffle_remarks(shuffle, terminal);
  for (const PartitionView& partition : partitions) {
    if (partition.incomplete.empty()) continue;
    text += fmt::format("  {} partition {}: {}\n", terminal.paint(Colour::kRed, "incomplete"),
                        partition.partition, partition.incomplete);
  }
  Skew skew = skew_of(partitions);
  // Those that are not listed.
  skew.empty += shuffle.partitions - std::min<uint64_t>(shuffle.partitions, partitions.size());
  text += "\n" + skew_text(skew, terminal) + "\n";

  std::vector<PartitionView> largest = partitions;
  std::ranges::sort(largest, [](const PartitionView& a, const PartitionView& b) {
    return std::pair(b.bytes, a.partition) < std::pair(a.bytes, b.partition);
  });
  const std::size_t shown = std::min(most, largest.size());
  Rows rows = {{"PARTITION", "OWNER", "BYTES", "MERGED", "RATIO", "MAPS", "MAPS MERGED"}};
  for (const PartitionView& partition : std::span(largest).first(shown)) {
    rows.push_back({fmt::format("{}", partition.partition), owner_of(partition),
                    format_bytes(partition.bytes), format_bytes(partition.merged_bytes),
                    percent(partition.merged_bytes, partition.bytes),
                    fmt::format("{}", partition.maps), fmt::format("{}", partition.maps_merged)});
  }
  text += align(rows, "");
  if (shown < largest.size())
    text += fmt::format("and {} smaller ones; --all lists them\n", largest.size() - shown);
  return text;
}

std::string partition_page(const std::string& shuffle, const PartitionView& partition,
                           const std::vector<BlockView>& blocks, std::size_t most) {
  std::string text = fmt::format(
      "{}/{}: {} blocks, {}; {} merged ({}); its owner is {}\n", shuffle, partition.partition,
      partition.blocks, format_bytes(partition.bytes), format_bytes(partition.merged_bytes),
      percent(partition.merged_bytes, partition.bytes), owner_of(partition));
  if (!partition.incomplete.empty())
    text += fmt::format("  incomplete: {}\n", partition.incomplete);
  for (const std::string& node : partition.unreachable)
    text += fmt::format("  not reached: {}\n", node);
  Rows rows = {{"MAP", "OFFSET", "BYTES", "MERGED AT", "WRITTEN ON", "CRC32C"}};
  const std::size_t shown = std::min(most, blocks.size());
  for (const BlockView& block : std::span(blocks).first(shown)) {
    rows.push_back({fmt::format("{}", block.map), fmt::format("{}", block.offset),
                    format_bytes(block.bytes), block.merged_at.empty() ? "-" : block.merged_at,
                    block.origin.empty() ? "does not answer" : block.origin,
                    block.crc32c.empty() ? "-" : block.crc32c});
  }
  text += "\n" + align(rows, "");
  if (shown < blocks.size())
    text += fmt::format("and {} more; --all lists them\n", blocks.size() - shown);
  return text;
}

}  // namespace shufflefs
