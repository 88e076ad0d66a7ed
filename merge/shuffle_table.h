// The one place that knows what exists: this node's map outputs and how far each is, what other
// nodes have told of theirs, what is over, and which life each name is in. Everybody else asks it,
// and tells it events.
//
//   an own map output:    committed -> announced -> planned -> settled | given up, until it ends
//   another node's:       announced, until it ends
//   it ends by an event:  its files are removed, a later commit of its map id, a drop of its name
//
// An event is a fact; absence is none. A map output whose files are gone without an event is lost,
// not over. An ended one leaves a tombstone, so nodes that were away are told of the end. When the
// last own map output of a shuffle ends, its tombstones become one range: all commits since the
// first scan of this table. Commits of an earlier table, which was lost with its disk, are not in
// it.
//
// Threads: any; one lock, never held over I/O. Durability: each event is a record of the shuffle's
// log; callers flush() before they tell anybody of an event. Memory: about 600 bytes for an own map
// output with its news, 150 and the bits of its ranges for another node's; the block sizes of own
// map outputs that are still to be announced or pushed are kept up to `max_held_bytes`, and are
// read again otherwise.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/hash.h"
#include "base/mutex.h"
#include "merge/logical_clock.h"
#include "merge/table_log.h"
#include "merge/table_records.h"

namespace shufflefs::merge {

using MapOutputRef = std::shared_ptr<const MapOutput>;
using BlockSizesRef = std::shared_ptr<const BlockSizes>;

// Whether the partition's block has bytes; nothing if no range covers it.
[[nodiscard]] std::optional<bool> bit_of(const std::vector<PartitionBits>& ranges,
                                         PartitionId partition);

class ShuffleTable {
 public:
  // `heard_path`: of the small file that says which nodes have told everything.
  ShuffleTable(FileIo& io, TableLog& log, LogicalClock& clock, const NodeName& self,
               std::string heard_path, uint64_t max_held_bytes);

  // Reads the log and looks whether the files of this node's map outputs are as they were
  // committed. Before anything else; blocks on the disk.
  [[nodiscard]] Status load();
  // All disks have been scanned: what an earlier table had known, and is left, has been found. Says
  // something the first time. Blocks on the disk.
  void scanned();
  // Writes the events so far to the log. Blocks on the disk.
  [[nodiscard]] Status flush();
  // Forgets names that have nothing left, the oldest first, if there are very many. Blocks.
  [[nodiscard]] Status forget_old();

  // ---- events of this node -------------------------------------------------------------------------------------------
  struct Committed {
    MapOutputRef output;    // with its commit and life; nothing if it is not new
    MapOutputRef replaced;  // an earlier commit of the map id
  };
  // The files are there. Not new: they are those of a map output that is known, or of one that has
  // ended and whose files remain. `drops`: drops_heard() when the files appeared. What appeared
  // before a drop was heard of is of the life that ended, however late it was looked at: it is not
  // new either. Nothing: it is not known when.
  Committed committed(MapOutput output, BlockSizes sizes, std::optional<uint64_t> drops = {});
  // How many drops this process has heard of.
  [[nodiscard]] uint64_t drops_heard() const;
  MapOutputRef removed(const ShuffleKey& shuffle, MapId map);
  // Of the map output whose data or index file this is; nothing if there is none.
  MapOutputRef file_removed(const std::string& path);
  // Those whose files are below the directory: an executor has registered anew without it.
  std::vector<MapOutputRef> directory_left(const std::string& directory);
  // No file below the directory is of a map output of the shuffle any more.
  void files_gone_below(const ShuffleKey& shuffle, const std::string& directory);
  // Its files are gone or changed, and no event says so.
  void lost(const MapOutput& output, const std::string& reason);
  // Looks again at the files of those that are lost: their disk may be back. Whether it has found
  // any. Blocks.
  [[nodiscard]] bool look_for_lost();
  void refused(const ShuffleKey& shuffle, std::string message);

  // ---- events of other nodes; false if they are of an earlier life of the name ---------------------------------------
  bool announced(const NodeName& origin, const AnnouncedMap& announced);
  bool ended(const NodeName& origin, const EndedMaps& ended);
  // A block of it was pushed here, perhaps before it is announced.
  void pushed(const ShuffleKey& shuffle, const NodeName& origin, MapId map, const CommitId& id);

  // The node has told everything that it had to tell. A restart forgets it: the node may have
  // committed meanwhile, and be gone before it tells us. Of one that was down all the time it is
  // kept.
  void told_whole_by(const NodeName& origin);
  // Who is down, as far as this node knows.
  void set_down(std::set<NodeName> down);
  // Who of these has not, since this table was begun.
  [[nodiscard]] std::vector<NodeName> unheard(const std::vector<NodeName>& members) const;

  // ---- drops ---------------------------------------------------------------------------------------------------------
  // A new life of the name begins, and everything of earlier ones ends. Returns this node's map
  // outputs that have ended. Nothing happens if this life, or a later one, is known.
  std::vector<MapOutputRef> dropped(const DroppedName& name);
  [[nodiscard]] uint64_t life_of(const ShuffleKey& shuffle) const;

  // ---- what there is -------------------------------------------------------------------------------------------------
  [[nodiscard]] MapOutputRef find(const ShuffleKey& shuffle, MapId map) const;
  [[nodiscard]] bool is_current(const MapOutput& output) const;
  [[nodiscard]] std::vector<MapOutputRef> of(const ShuffleKey& shuffle) const;  // by map id
  [[nodiscard]] std::vector<MapOutputRef> all() const;
  [[nodiscard]] std::vector<ShuffleKey> shuffles() const;  // with map outputs, here or elsewhere
  [[nodiscard]] bool has_own(const ShuffleKey& shuffle) const;
  [[nodiscard]] uint64_t bytes_of(const AppId& app) const;
  // The largest that was heard of in this life; 0 if nothing was.
  [[nodiscard]] uint32_t partition_count(const ShuffleKey& shuffle) const;
  [[nodiscard]] std::vector<std::string> refusals(const ShuffleKey& shuffle) const;
  // Why the map output is lost; nothing if it is not.
  [[nodiscard]] std::optional<std::string> loss_of(const MapOutput& output) const;
  [[nodiscard]] uint64_t lost_maps() const;

  // ---- what there is, for answers to other nodes ---------------------------------------------------------------------
  // Everything but the lengths of own blocks (they need the disk) and what is merged. The own map
  // outputs are those of `own`, in its order.
  void describe(const ShuffleKey& shuffle, PartitionId partition, PartitionInfo& info,
                std::vector<MapOutputRef>& own) const;
  // Of the map ids of these blocks: the commits that count instead. One that is empty here is
  // merged nowhere, so only the table knows of it.
  [[nodiscard]] std::vector<HeardBlock> later_than(const ShuffleKey& shuffle,
                                                   const std::vector<MergedBlock>& merged) const;
  // maps, maps_*, bytes, *_left_home, given_up, partition_count, refused_commits.
  void describe(const ShuffleKey& shuffle, ShuffleInfo& info) const;
  // kDropped with the reason if a block of this commit is not to be merged any more.
  [[nodiscard]] Status check_push(const ShuffleKey& shuffle, uint64_t life, MapId map,
                                  const CommitId& id) const;
  // Has everything ended that was ever heard of the shuffle, in this life of its name?
  [[nodiscard]] bool is_over(const ShuffleKey& shuffle) const;
  [[nodiscard]] std::vector<EndedAt> ended_of(const ShuffleKey& shuffle) const;

  // ---- news for other nodes (merge/announcer.h) ----------------------------------------------------------------------
  struct News {
    uint64_t number = 0;  // its place in the order of events
    enum class Kind : uint8_t { kCommitted, kEnded, kAllEnded, kDropped } kind{};
    ShuffleKey shuffle;
    MapOutputRef output;     // kCommitted
    EndedMaps::Ended ended;  // kEnded
    CommitRange all_ended;   // kAllEnded
    uint64_t life = 0;       // of the name
    bool whole_app = false;  // kDropped
  };
  // The first ones behind `number`, in order. All of them are all that a new member need know.
  [[nodiscard]] std::vector<News> news_after(uint64_t number, std::size_t max) const;
  [[nodiscard]] uint64_t last_news() const;
  [[nodiscard]] uint64_t count_news_after(uint64_t number) const;
  // Every member has been told of the news up to this one: their block sizes need not be kept for
  // it any more.
  void told(uint64_t number);
  // The sizes of the output's blocks, if they are still kept.
  [[nodiscard]] BlockSizesRef sizes_of(const MapOutput& output) const;

  // ---- how far the own map outputs are (merge/pusher.h) --------------------------------------------------------------
  // Its chunks are known; `chunks` of them are to be pushed.
  void planned(const MapOutput& output, uint64_t chunks, uint64_t blocks_left_home,
               uint64_t bytes_left_home);
  void chunks_added(const MapOutput& output, uint64_t chunks);
  void unpushed(const MapOutput& output);  // pushing is switched off
  void chunk_merged(const MapOutput& output);
  void chunk_given_up(const MapOutput& output, const std::string& reason, uint64_t blocks,
                      uint64_t bytes);

 private:
  struct Local {
    MapOutputRef output;
    BlockSizesRef sizes;  // as long as somebody has to be told, or they are to be planned
    std::optional<std::string> lost;
    uint64_t news = 0;
    bool is_planned = false;
    bool is_unpushed = false;
    uint64_t chunks_open = 0;
    uint64_t blocks_left_home = 0;
    uint64_t bytes_left_home = 0;
    std::unique_ptr<std::map<std::string, GivenUp>> given_up;  // by reason
  };
  struct Remote {
    uint32_t origin = 0;  // into Shuffle::origins
    uint64_t commit = 0;
    uint32_t partition_count = 0;
    std::vector<PartitionBits> ranges;
  };
  struct Tombstones {
    NodeName origin;
    CommitRanges ranges;
    std::map<MapId, uint64_t> maps;  // this commit of it, and all before
  };
  struct Shuffle {
    ShuffleKey key;
    uint64_t life = 0;
    uint64_t last_number = 0;  // of its last event
    uint32_t partition_count = 0;
    std::map<MapId, Local> local;
    std::multimap<MapId, Remote> remote;  // of one map id at most one for each origin
    std::vector<NodeName> origins;
    std::map<NodeTag, Tombstones> ended;
    std::map<MapId, uint64_t> ended_news;  // of the own ones in `ended`
    uint64_t all_ended_news = 0;
    std::map<std::string, CommittedRecord> remains;  // by index path: files of what has ended
    std::deque<std::string> refused;
  };
  struct NewsRef {
    News::Kind kind{};
    ShuffleKey shuffle;
    MapId map{};
    bool whole_app = false;
  };
  struct Life {
    uint64_t life = 0;
    uint64_t news = 0;
    uint64_t heard_as = 0;  // its number among the drops_heard_
  };
  struct FileOf {
    ShuffleKey shuffle;
    MapId map{};
  };

  Shuffle& shuffle(const ShuffleKey& key) REQUIRES(mu_);
  [[nodiscard]] bool was_dropped_since(const ShuffleKey& shuffle, uint64_t drops) const
      REQUIRES(mu_);
  [[nodiscard]] const Shuffle* look(const ShuffleKey& key) const REQUIRES(mu_);
  [[nodiscard]] Local* local(const MapOutput& output) REQUIRES(mu_);
  [[nodiscard]] const Local* local(const MapOutput& output) const REQUIRES(mu_);
  [[nodiscard]] uint64_t life_locked(const ShuffleKey& key) const REQUIRES(mu_);
  [[nodiscard]] uint64_t add_news(NewsRef news) REQUIRES(mu_);
  void record(const Shuffle& shuffle, const TableRecord& record, uint64_t number) REQUIRES(mu_);

  // The events, as they happen and as they are replayed.
  void add_local(Shuffle& shuffle, MapOutput output) REQUIRES(mu_);
  MapOutputRef end_local(Shuffle& shuffle, MapId map, bool files_remain) REQUIRES(mu_);
  void collapse(Shuffle& shuffle) REQUIRES(mu_);
  MapOutputRef bury(Shuffle& shuffle, MapId map, bool files_remain) REQUIRES(mu_);
  void keep_remains(Shuffle& shuffle, const MapOutput& output) REQUIRES(mu_);
  bool forget_remains(const std::string& index_path) REQUIRES(mu_);
  bool add_remote(Shuffle& shuffle, const NodeName& origin, const AnnouncedMap& announced)
      REQUIRES(mu_);
  bool end_remote(Shuffle& shuffle, const NodeName& origin, const std::vector<CommitRange>& ranges,
                  const std::vector<EndedMaps::Ended>& maps) REQUIRES(mu_);
  std::vector<MapOutputRef> begin_life(Shuffle& shuffle, uint64_t life) REQUIRES(mu_);
  [[nodiscard]] Status load_heard();
  [[nodiscard]] Status load_begun();
  void replay(const TableLog::Name& name, TableRecord record) REQUIRES(mu_);
  Shuffle& replayed(const ShuffleKey& key) REQUIRES(mu_);
  void replay_into(Shuffle& shuffle, TableRecord record) REQUIRES(mu_);
  [[nodiscard]] std::vector<TableLog::Bytes> snapshot(const Shuffle& shuffle) const REQUIRES(mu_);
  [[nodiscard]] static bool is_ended(const Shuffle& shuffle, MapId map, const CommitId& id);
  // The commit of the map id that counts; nothing if none is known.
  [[nodiscard]] std::optional<CommitId> current(const Shuffle& shuffle, MapId map) const
      REQUIRES(mu_);
  [[nodiscard]] static bool is_empty(const Shuffle& shuffle) {
    return shuffle.local.empty() && shuffle.remote.empty();
  }
  void let_go(Local& local) REQUIRES(mu_);

  FileIo& io_;
  TableLog& log_;
  LogicalClock& clock_;
  const NodeName self_;
  const NodeTag self_tag_;
  const std::string heard_path_;
  const uint64_t max_held_bytes_;
  Mutex flushing_;  // held over I/O; by disk threads only
  mutable Mutex mu_ ACQUIRED_AFTER(flushing_);
  std::map<ShuffleKey, std::unique_ptr<Shuffle>> shuffles_ GUARDED_BY(mu_);
  std::map<TableLog::Name, Life> lives_ GUARDED_BY(mu_);
  uint64_t drops_heard_ GUARDED_BY(mu_) = 0;
  uint64_t begun_ GUARDED_BY(mu_) = 0;  // the logical clock when the first scan had ended, or 0
  std::map<uint64_t, NewsRef> news_ GUARDED_BY(mu_);  // in the order of events
  uint64_t last_news_ GUARDED_BY(mu_) = 0;
  std::unordered_map<std::string, FileOf, SeededHash> by_path_ GUARDED_BY(mu_);
  std::unordered_map<std::string, ShuffleKey, SeededHash> remains_
      GUARDED_BY(mu_);                               // by index path
  std::map<AppId, uint64_t> bytes_ GUARDED_BY(mu_);  // of each application that has any
  uint64_t held_bytes_ GUARDED_BY(mu_) = 0;
  uint64_t told_ GUARDED_BY(mu_) = 0;
  uint64_t lost_ GUARDED_BY(mu_) = 0;
  std::set<NodeName> heard_ GUARDED_BY(mu_);  // have told everything
  std::set<NodeName> down_ GUARDED_BY(mu_);
  bool heard_is_unwritten_ GUARDED_BY(mu_) = false;
};

}  // namespace shufflefs::merge
