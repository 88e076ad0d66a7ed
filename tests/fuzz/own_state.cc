// What a node finds again of itself: the tables in memory that the last worker left, and its own
// files below the data directory. Nobody but root can write them; they are taken for input all the
// same.
//
// Held to, of the tables: what a look-up finds is what was asked for, and no number that is in use
// is given out again.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <stdexcept>
#include <string>

#include "base/crc32c.h"
#include "base/endian.h"
#include "fs/mount.h"
#include "fs/native_tables.h"
#include "fs/native_trees.h"
#include "fs/request.h"
#include "fs/saved_tables.h"
#include "fs/virtual_inodes.h"
#include "fs/virtual_opens.h"
#include "merge/executors.h"
#include "merge/logical_clock.h"
#include "net/member_table.h"
#include "support/in_memory.h"
#include "support/temp_dir.h"
#include "tests/fuzz/session.h"
#include "tests/fuzz/state_targets.h"

namespace shufflefs::fuzz {
namespace {

Fd memory_of(Input bytes) {
  Fd file(::memfd_create("fuzz", MFD_CLOEXEC));
  require(::write(file.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  return file;
}

// A table with the right head, and counters and records of the script's bytes.
Fd table_of(Script& script, uint32_t record_bytes) {
  constexpr std::size_t kMostRecords = 16;
  Fd file(::memfd_create("fuzz", MFD_CLOEXEC));
  fs::SavedMemory memory(Fd(::fcntl(file.get(), F_DUPFD_CLOEXEC, 3)), "fuzz",
                         static_cast<uint32_t>(sizeof(uint64_t)) + record_bytes);
  std::vector<uint32_t> free;
  for (uint32_t i = kMostRecords; i-- > 0;) free.push_back(i);
  memory.set_free(std::move(free));
  memory.counter(script.byte() % fs::SavedMemory::kCounters) = script.number(8);
  for (std::size_t records = script.byte() % kMostRecords; records > 0; --records) {
    std::byte* const slot = memory.slot(memory.take());
    const uint64_t in_use = 1;
    std::memcpy(slot, &in_use, sizeof in_use);
    const Input record = script.piece(2);
    std::memcpy(slot + sizeof in_use, record.data(),
                std::min<std::size_t>(record.size(), record_bytes));
  }
  return file;
}

void use_inodes(Script& script) {
  fs::InodeTable table(table_of(script, sizeof(fs::InodeRecord)));
  const std::size_t before = table.size();
  (void)table.count_by_tree();
  while (!script.done()) {
    const uint64_t nodeid = script.number(8);
    const auto found = table.find(nodeid);
    fs::InodeRecord seen;
    seen.device = script.number(8);
    seen.inode = script.number(8);
    seen.handle.length = script.byte() % (fs::FileHandle::kMaxBytes + 1);
    if (found) {
      require(found->nodeid == nodeid);
      seen = *found;
    }
    const bool known = table.nodeid_of(seen.device, seen.inode) != 0;
    const auto remembered = table.remember(seen, Fd());
    require(known || remembered.is_new);
    require(table.find(remembered.nodeid)->inode == seen.inode);
    if (script.byte() % 2 == 0) (void)table.forget(remembered.nodeid, script.number(8));
    if (found) (void)table.forget(nodeid, found->lookups);
  }
  require(table.size() <= before + 65536);
}

void use_opens(Script& script) {
  fs::HandleTable table(table_of(script, sizeof(fs::OpenRecord)));
  const std::vector<fs::OpenRecord> saved = table.saved();
  for (const fs::OpenRecord& record : saved) {
    table.restore(record,
                  std::make_shared<fs::OpenFile>(record.nodeid, record.flags, nullptr, Fd()));
    require(table.find(record.key)->nodeid == record.nodeid);
  }
  const std::size_t before = table.size();
  const auto added = std::make_shared<fs::OpenFile>(script.number(8), O_RDWR, nullptr, Fd());
  const uint64_t key = table.add(added, script.number(8));
  require(table.size() == before + 1 && table.find(key) == added);
  for (const fs::OpenRecord& record : saved) {
    require(table.any_of(record.nodeid) != nullptr);
    (void)table.has_writer(record.nodeid);
    (void)table.remove(record.key);
  }
  require(table.remove(key).file == added);
}

void use_virtual_opens(Script& script) {
  fs::VirtualHandles table(table_of(script, sizeof(fs::VirtualOpenRecord)));
  for (const fs::VirtualOpenRecord& record : table.saved()) {
    table.restore(record, {.nodeid = record.nodeid, .has_mode = record.has_mode != 0});
    require(table.find(record.key).nodeid == record.nodeid);
  }
  const uint64_t key = table.add({.nodeid = 7}, script.number(8));
  require(table.remove(key).nodeid == 7);
  (void)table.remove_all();
}

void use_names(Script& script) {
  // As SavedNames lays them out: nodeid, look-ups, retired, length, path.
  constexpr uint32_t kHead = 24;
  Fd short_names = table_of(script, kHead + 104);
  Fd long_names = table_of(script, kHead + fs::SavedNames::kMaxPathBytes);
  fs::VirtualInodes inodes(std::move(short_names), std::move(long_names));
  while (!script.done()) {
    const fuse_ino_t ino = script.number(8);
    const auto node = inodes.find(ino);
    if (script.byte() % 2 == 0) inodes.retire(ino);
    if (!node) continue;
    const fuse_ino_t now = inodes.remember(*node);
    require(inodes.find(now) == node);
    inodes.forget(ino, script.number(8));
  }
}

void use_others(Script& script) {
  fs::SavedTable<fs::TreeRecord> trees(table_of(script, sizeof(fs::TreeRecord)), "trees");
  for (const uint32_t at : trees.all()) (void)merge::parse_shuffle_key(trees[at].label.data());
}

void put(const std::string& path, Input bytes) {
  const Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  require(::write(file.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
}

struct Directory {
  testing::InMemory in_memory;
  testing::TempDir path;
};

}  // namespace

void takeover_state(Input input) {
  struct Record {
    std::array<std::byte, 48> bytes;
  };
  (void)fs::offers_resend({input.begin(), input.end()});
  try {  // the whole file, as it is
    fs::SavedTable<Record> table(memory_of(input), "fuzz");
    for (const uint32_t number : table.all()) (void)table[number];
    table.remove(table.add(Record{}));
    // NOLINTNEXTLINE(bugprone-empty-catch): another layout is refused, and that is all
  } catch (const std::runtime_error&) {
  }
  Script script(input);
  switch (script.byte() % 5) {
    case 0: return use_inodes(script);
    case 1: return use_opens(script);
    case 2: return use_virtual_opens(script);
    case 3: return use_names(script);
    default: return use_others(script);
  }
}

// As it is, and as the fields of an executor whose checksum is right.
void kept_files(Input input) {
  static const Directory directory;
  static const std::unique_ptr<FileIo> io = make_posix_file_io();
  const std::string path = directory.path / "file";
  put(path, input);
  merge::LogicalClock clock(*io, path);
  if (clock.load(WallTime())) {
    const uint64_t begin = clock.now();
    merge::LogicalClock next(*io, path);
    require(next.load(WallTime()).has_value() && next.now() >= begin);
  }
  std::vector<std::byte> sealed(12);
  std::memcpy(sealed.data(), "SFSEXEC2", 8);
  store_le(&sealed[8], crc32c(input));
  sealed.insert(sealed.end(), input.begin(), input.end());
  const std::string root = directory.path / "executors";
  require(io->make_directories(root + "/app-1").has_value());
  for (const Input bytes : {input, Input(sealed)}) {
    put(root + "/app-1/0", bytes);
    merge::Executors executors(*io, root, merge::LocalDirs({"/mnt"}, {"/data/local"}, {}));
    if (!executors.load()) continue;
    // What was found is found again.
    const std::size_t found = executors.size();
    merge::Executors again(*io, root, merge::LocalDirs({"/mnt"}, {"/data/local"}, {}));
    require(again.load().has_value() && again.size() == found);
  }
  static AsioRuntime runtime(1);
  const net::MemberTable::Options self{.self = {*merge::NodeName::parse("n1"), 7},
                                       .address = {"127.0.0.1", 7338}};
  net::MemberTable members(runtime, self);
  (void)members.restore({reinterpret_cast<const char*>(input.data()), input.size()});
  net::MemberTable members_again(runtime, self);
  require(members_again.restore(members.text()) == 0);
  require(members_again.names() == members.names());
}

}  // namespace shufflefs::fuzz
