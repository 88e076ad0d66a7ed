"""What scripts/bench service measured, as Markdown tables and as a picture; and which goals it missed."""

from mount_report import COLOURS, GRID, INK, Canvas, size, table

RSS_GOAL, CPU_GOAL = 0.1, 0.5  # of the JVM's
NAMES = ("shufflefs", "JVM")


def both(report):
    return [row for row in report["cache"]["rows"] if "shufflefs" in row and "JVM" in row] if "cache" in report else []


def missed(report):
    lines = []
    for row in both(report):
        where = f"blocks of {size(row['block'])}, {row['connections']} connections"
        ours, jvm = row["shufflefs"], row["JVM"]
        if ours["cpu_s_gb"] > CPU_GOAL * jvm["cpu_s_gb"]:
            lines.append(f"{where}: {ours['cpu_s_gb']:.2f} CPU seconds/GB, the JVM {jvm['cpu_s_gb']:.2f}; goal {CPU_GOAL} of it")
        if ours["rss_mb"] > RSS_GOAL * jvm["rss_mb"]:
            lines.append(f"{where}: {ours['rss_mb']:.0f} MB resident, the JVM {jvm['rss_mb']:.0f}; goal {RSS_GOAL} of it")
    return lines


def names_of(report):
    return [name for name in NAMES if name in report["cache"]["rows"][0]]


def compared(row, key, form):
    """"ours / theirs = ratio", or the only one there is."""
    found = [row[name][key] for name in NAMES if name in row]
    text = " / ".join(form.format(value) for value in found)
    return f"{text} = {found[0] / found[1]:.2f}" if len(found) == 2 and found[1] > 0 else text


def cache_table(report):
    cache = report["cache"]
    sides = " / ".join(names_of(report))
    rows = [[size(row["block"]), str(row["connections"]), compared(row, "mb_s", "{:.0f}"), compared(row, "cpu_s_gb", "{:.2f}"),
             compared(row, "rss_mb", "{:.0f}"), compared(row, "p99_ms", "{:.0f}")] for row in cache["rows"]]
    idle = ", ".join(f"{name} {cache['idle_rss_mb'][name]} MB resident when idle, {cache['threads'][name]} threads after all"
                     for name in names_of(report))
    return ["", f"From the page cache: {sides} = ratio. {cache['plan']['rounds']} rounds of {cache['plan']['seconds']} s each, "
            f"medians. {idle}.", "",
            *table(["block", "connections", "MB/s", "CPU s/GB", "peak RSS, MB", "p99 of a request, ms"], rows)]


def disk_table(report):
    disk = report["disk"]
    keys = {"seconds": "seconds", "reads": "disk reads", "mean_kb": "mean KiB", "read_mb": "read, MB", "cpu_s": "CPU s"}
    rows = [[str(row["reducers"]), row["service"], *(str(row[key]) for key in keys)]
            for row in sorted(disk["rows"], key=lambda row: (row["reducers"], row["service"] == "JVM"))]
    wanted = disk["maps"] * disk["partitions"] * disk["block"] / 1e6
    return ["", f"On an emulated hard disk ({disk['iops']} reads/s, {disk['mb_s']} MB/s), cold: {disk['maps'] * disk['partitions']} "
            f"blocks of {size(disk['block'])} ({wanted:.0f} MB), each once.", "",
            *table(["reducers at a time", "service", *keys.values()], rows)]


def markdown(report):
    lines = [f"`scripts/bench service`, commit {report['commit']}, kernel {report['kernel']}, {report['processors']} processors, "
             f"load {report['load']} when it began."]
    lines += cache_table(report) if "cache" in report else []
    lines += disk_table(report) if "disk" in report else []
    return "\n".join(lines) + "\n"


# ---- the picture ---------------------------------------------------------------------------------------------------

PANELS = [("mb_s", "MB/s: longer is better", "{:.0f}", None),
          ("cpu_s_gb", "CPU seconds per GB: shorter is better", "{:.2f}", CPU_GOAL),
          ("rss_mb", "Peak RSS, MB: shorter is better", "{:.0f}", RSS_GOAL)]
LEFT, WIDTH, GAP, TOP, GROUP = 130, 270, 60, 70, 38


def scale_of(rows, block, key):
    """Each block size has its own, as the figures differ by a factor of ten."""
    return (WIDTH - 50) / max(row[name][key] for row in rows if row["block"] == block for name in NAMES if name in row)


def draw_panel(canvas, left, panel, rows):
    key, title, form, goal = panel
    canvas.text(left, TOP - 14, title, bold=True)
    for number, row in enumerate(rows):
        y, scale = TOP + number * GROUP, scale_of(rows, row["block"], key)
        goal_width = row["JVM"][key] * goal * scale if goal and "JVM" in row else 0
        for offset, name, colour in ((4, "shufflefs", COLOURS[0]), (19, "JVM", COLOURS[1])):
            if name not in row:
                continue
            width = max(1, row[name][key] * scale)
            canvas.box(left, y + offset, width, 13, colour)
            canvas.text(left + max(width, goal_width) + 4, y + offset + 11, form.format(row[name][key]))
        if goal_width:
            canvas.line([(left + goal_width, y + 1), (left + goal_width, y + 19)], INK, 1.5, "3 2")
    canvas.line([(left, TOP), (left, TOP + len(rows) * GROUP)], INK)


def picture(report):
    rows = report["cache"]["rows"]
    height = TOP + len(rows) * GROUP + 40
    canvas = Canvas(LEFT + len(PANELS) * (WIDTH + GAP), height)
    canvas.text(20, 22, f"External Shuffle Service from the page cache; commit {report['commit']}, kernel {report['kernel']}, "
                f"{report['processors']} processors", colour="#777777")
    for number, row in enumerate(rows):
        y = TOP + number * GROUP
        if number and rows[number - 1]["block"] != row["block"]:
            canvas.line([(20, y), (LEFT + len(PANELS) * (WIDTH + GAP) - 20, y)], GRID)
        canvas.text(LEFT - 10, y + 16, size(row["block"]), "end", bold=True)
        canvas.text(LEFT - 10, y + 31, f"{row['connections']} connection{'s' * (row['connections'] > 1)}", "end")
    for number, panel in enumerate(PANELS):
        draw_panel(canvas, LEFT + number * (WIDTH + GAP), panel, rows)
    canvas.text(LEFT, height - 12, "shufflefs", colour=COLOURS[0], bold=True)
    canvas.text(LEFT + 75, height - 12, "JVM service", colour=COLOURS[1], bold=True)
    canvas.text(LEFT + 165, height - 12, "dashes: the goal for shufflefs; each block size has its own scale", colour="#777777")
    return canvas.finish()
