"""What is compared: each function does something in a directory and returns all that can be seen of it.

A function is called once with a directory of the mount and once with a native directory of the same disk, both new
and empty, as root; the two results must be equal. Errors are results too (their names).
"""

import posix_ops_data
import posix_ops_entries
import posix_ops_names
import posix_ops_sharing

OPERATIONS = {name[3:]: function for module in (posix_ops_names, posix_ops_entries, posix_ops_data, posix_ops_sharing)
              for name, function in sorted(vars(module).items()) if name.startswith("op_")}
