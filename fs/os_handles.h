// name_to_handle_at(2) and open_by_handle_at(2): a file's name that outlives its path, its
// descriptors and this process, for as long as the file itself.
//
// Threads: any. Failure: as the functions say, errno untouched. Cost: one system call.
#pragma once

#include "base/fd.h"
#include "fs/inode_table.h"

namespace shufflefs::fs {

// The handle of what `fd` is open on; length 0 if the file system gives none (of our size).
[[nodiscard]] FileHandle handle_of(int fd);

// `mount_fd`: anything that is open (not O_PATH) on the same file system. Needs
// CAP_DAC_READ_SEARCH. ESTALE if the file is gone; a removed file is found for as long as anybody
// holds it open.
[[nodiscard]] Fd open_handle(int mount_fd, const FileHandle& handle, int flags);

}  // namespace shufflefs::fs
