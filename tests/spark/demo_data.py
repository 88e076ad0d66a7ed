"""Real data that every Debian machine has, as three tables of text: what the packages hold, and under which licences.

  files.tsv      package, path            (/var/lib/dpkg/info/*.list)
  sums.tsv       package, md5, path       (/var/lib/dpkg/info/*.md5sums)
  licences.tsv   package, line            (/usr/share/doc/*/copyright)
"""

import glob
import os

INFO = "/var/lib/dpkg/info"
SMALL_BYTES = 20000  # of a list, and of a licence
SMALL_PACKAGES = 150


def is_small(path):
    licence = licence_of(name_of(path))
    return os.path.getsize(path) < SMALL_BYTES and os.path.isfile(licence) and os.path.getsize(licence) < SMALL_BYTES


def name_of(path):
    return os.path.basename(path)[:-len(".list")].partition(":")[0]


def licence_of(name):
    return f"/usr/share/doc/{name}/copyright"


def lines_of(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file.read().split("\n"):
            yield line.replace("\r", " ").replace("\t", " ")


def write_tables(directory, only_small=False, copies=1):
    """Of all packages, or of those with few files and a short licence; each `copies` times, under names of its own.

    Returns (packages, bytes).
    """
    os.makedirs(directory, exist_ok=True)
    lists = sorted(glob.glob(f"{INFO}/*.list"))
    if only_small:
        lists = [path for path in lists if is_small(path)][:SMALL_PACKAGES]
    assert lists, f"no package lists in {INFO}: this is not Debian"
    paths = [os.path.join(directory, name) for name in ("files.tsv", "sums.tsv", "licences.tsv")]
    with (open(paths[0], "w", encoding="utf-8") as files, open(paths[1], "w", encoding="utf-8") as sums,
          open(paths[2], "w", encoding="utf-8") as licences):
        for path in lists:
            stem = path[:-len(".list")]
            name = name_of(path)
            for package in [name if copy == 0 else f"{name}~{copy}" for copy in range(copies)]:
                write_package(package, stem, licence_of(name), (files, sums, licences))
    return len(lists) * copies, sum(map(os.path.getsize, paths))


def write_package(package, stem, licence, tables):
    files, sums, licences = tables
    for line in lines_of(f"{stem}.list"):
        if line:
            files.write(f"{package}\t{line[1:]}\n")
    if os.path.isfile(f"{stem}.md5sums"):
        for line in lines_of(f"{stem}.md5sums"):
            if line:
                md5, _, path = line.partition("  ")
                sums.write(f"{package}\t{md5}\t{path}\n")
    if os.path.isfile(licence):
        for line in lines_of(licence):
            licences.write(f"{package}\t{line}\n")
