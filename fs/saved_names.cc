#include "fs/saved_names.h"

#include <algorithm>

namespace shufflefs::fs {
namespace {

template <class Record>
Record make_record(uint64_t nodeid, std::string_view path) {
  Record record;
  record.nodeid = nodeid;
  record.length = static_cast<uint32_t>(std::min(path.size(), record.path.size()));
  std::copy_n(path.begin(), record.length, record.path.begin());
  return record;
}

template <class Table>
void add_all(const Table& table, bool is_long, std::vector<SavedNames::Name>& names) {
  for (const uint32_t at : table.all()) {
    const auto& record = table[at];
    names.push_back({{is_long, at},
                     record.nodeid,
                     record.lookups,
                     record.retired != 0,
                     std::string(record.path.data(), record.length)});
  }
}

}  // namespace

SavedNames::Place SavedNames::add(uint64_t nodeid, std::string_view path) {
  if (path.size() <= kShortPath)
    return {false, short_.add(make_record<Record<kShortPath>>(nodeid, path))};
  return {true, long_.add(make_record<Record<kLongestPath>>(nodeid, path))};
}

void SavedNames::remove(Place place) {
  if (place.is_long)
    long_.remove(place.record);
  else
    short_.remove(place.record);
}

uint64_t& SavedNames::lookups(Place place) {
  return place.is_long ? long_[place.record].lookups : short_[place.record].lookups;
}

void SavedNames::retire(Place place) {
  (place.is_long ? long_[place.record].retired : short_[place.record].retired) = 1;
}

std::vector<SavedNames::Name> SavedNames::all() const {
  std::vector<Name> names;
  add_all(short_, false, names);
  add_all(long_, true, names);
  return names;
}

}  // namespace shufflefs::fs
