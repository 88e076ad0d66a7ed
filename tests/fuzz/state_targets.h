// The targets that need more than the bytes: files, tables in memory, keys; see each one's file.
#pragma once

#include "tests/fuzz/targets.h"

namespace shufflefs::fuzz {

void takeover_state(Input input);  // own_state.cc: the mount's tables that a worker finds
void kept_files(Input input);      // own_state.cc: executor journal, clock and members
void map_files(Input input);       // map_files.cc: index, data and checksum file of a map output
void table_log(Input input);       // table_files.cc: the log of a shuffle, and its records
void block_list(Input input);      // table_files.cc: the blocks of a directory output
void spark_ciphers(Input input);   // spark_ciphers.cc: what comes sealed

}  // namespace shufflefs::fuzz
