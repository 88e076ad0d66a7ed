// Paths below the data directories, opened in such a way that no symbolic link anywhere in them is
// followed: users write below local/ and maps/, and may at any moment replace a directory of theirs
// by a link to somewhere else. A path with a link in it is an error (ELOOP).
//
// Threads: any. Failure: errno, as of the system calls. Cost: one openat2 a path; on kernels and in
// sandboxes without openat2, one openat for each component.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/fd.h"

namespace shufflefs {

// As open(2) of an absolute path, always with O_CLOEXEC. A link as the last component is an error as
// well, but for O_PATH | O_NOFOLLOW, which opens the link itself.
[[nodiscard]] Fd open_resolved(const std::string& path, int flags, mode_t mode = 0);

// The directory that holds a name, for the ...at() calls, and the name.
struct ResolvedName {
  Fd directory;  // none: errno says why
  std::string name;
};
[[nodiscard]] ResolvedName resolve_parent(const std::string& path);

}  // namespace shufflefs
