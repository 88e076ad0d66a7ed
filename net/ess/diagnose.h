// Why a block that a client found corrupt is corrupt: reads it again and compares with the checksum
// that was written with it.
//
// Blocks on the disk for as long as reading the block takes; call on its lane. Failure: whatever
// goes wrong is kUnknown, as the JVM's service has it. Source: spark-facts.md 1.10
// (ShuffleChecksumHelper.diagnoseCorruption).
#pragma once

#include "merge/executors.h"
#include "net/ess/block_files.h"
#include "net/ess/rpc.h"

namespace shufflefs::net::ess {

[[nodiscard]] CorruptionCause diagnose(const BlockFiles& files, const merge::Executor& executor,
                                       const DiagnoseCorruption& question);

}  // namespace shufflefs::net::ess
