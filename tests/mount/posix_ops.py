"""What is compared: each function does something in a directory and returns all that can be seen of it.

A function is called once with a directory of the mount and once with a native directory of the same disk, both new
and empty, as root; the two results must be equal. Errors are results too (their names).
"""

import posix_ops_data
import posix_ops_names

OPERATIONS = {name[3:]: function for module in (posix_ops_names, posix_ops_data)
              for name, function in sorted(vars(module).items()) if name.startswith("op_")}
