// Whether the bytes of a file can still be changed by somebody: who has it open for writing, or
// mapped so, or may open it by a second name that nobody guards. A map output is committed only
// when none of its files can.
//
// The disk's own file system is asked (a read lease is refused while anybody has write access,
// also by a mapping whose descriptor is closed), so nothing depends on what this process remembers;
// where it has no leases, the open files that the mount knows of are what there is.
//
// Threads: any; no state. Failure: EBUSY, EMLINK and EINVAL as the functions say; errors of the
// disk. Cost: five system calls a file. Writes nothing to the disk.
#pragma once

#include <functional>
#include <string>

#include "base/result.h"

namespace shufflefs::fs {

// Whether the mount has the file with that device and inode number open for writing.
using OpenForWriting = std::function<bool(uint64_t device, uint64_t inode)>;

// `path`: a file, or a directory of files. kRefused with EBUSY: open for writing (may pass);
// kInvalidArgument with EMLINK: more than one name; EINVAL: not a regular file. What is not there
// is settled.
[[nodiscard]] Status check_settled(const std::string& path, const OpenForWriting& is_open);

[[nodiscard]] inline bool may_settle(const Error& error) { return error.code == Code::kRefused; }

}  // namespace shufflefs::fs
