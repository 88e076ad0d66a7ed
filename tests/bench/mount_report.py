"""What scripts/bench mount measured, as Markdown tables and as a picture; and which goals it missed."""

# What the ratio to native must be, from which block size on; and a round of names in microseconds.
DATA_GOALS = [(32768, 0.95), (8192, 0.90)]
ROUND_GOAL_US = 150

NAMES = {
    "round": "create, write 4 KiB, close, rename", "stat": "stat, known to the kernel",
    "stat_uncached": "stat after drop_caches", "open_read_close": "open, read 4 KiB, close", "unlink": "unlink",
    "readdir": "readdir, an entry",
}


def goal_of(block):
    return next((goal for least, goal in DATA_GOALS if block >= least), None)


def size(block):
    return f"{block // 1024} KiB" if block < 1 << 20 else f"{block >> 20} MiB"


def missed(report):
    lines = []
    for name, place in report["places"].items():
        for row in place["data"]:
            goal = goal_of(row["block"])
            if goal and row["threads"] == 1 and row["ratio"] < goal:
                lines.append(f"{name}, {row['kind']} at {size(row['block'])}: {row['ratio']} of native, goal {goal}")
        for row in place["names"]:
            if row["operation"] == "round" and row["threads"] == 1 and row["mount"] >= ROUND_GOAL_US:
                lines.append(f"{name}, {NAMES['round']}: {row['mount']} us, goal below {ROUND_GOAL_US}")
    return lines


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def data_tables(place):
    lines = []
    kinds = list(dict.fromkeys(row["kind"] for row in place["data"]))
    for threads in dict.fromkeys(row["threads"] for row in place["data"]):
        found = {(row["kind"], row["block"]): row for row in place["data"] if row["threads"] == threads}
        rows = []
        for block in dict.fromkeys(row["block"] for row in place["data"]):
            goal = goal_of(block) if threads == 1 else None
            cells = [size(block)]
            for kind in kinds:
                row = found[kind, block]
                ratio = f"{row['ratio']:.3f}"
                ratio = f"**{ratio}**" if goal and row["ratio"] < goal else ratio
                cells.append(f"{row['mount']:.0f} / {row['native']:.0f} = {ratio}")
            rows.append([*cells, f"{goal:.2f}" if goal else ""])
        lines += ["", f"Data, {threads} thread{'s' * (threads > 1)}: MB/s on the mount / natively = ratio", ""]
        lines += table(["block", *kinds, "goal"], rows)
    return lines


def name_table(place):
    threads = list(dict.fromkeys(row["threads"] for row in place["names"]))
    found = {(row["operation"], row["threads"]): row for row in place["names"]}
    rows = [[NAMES[operation], *(f"{found[operation, n]['mount']:.2f} / {found[operation, n]['native']:.2f}" for n in threads)]
            for operation in dict.fromkeys(row["operation"] for row in place["names"])]
    return ["", "Names: microseconds of a call as a caller sees it, on the mount / natively, by number of threads", "",
            *table(["call", *map(str, threads)], rows)]


def markdown(report):
    plan = report["plan"]
    lines = [f"`scripts/bench mount`, commit {report['commit']}, {report['program']} {' '.join(report['options'])}, kernel "
             f"{report['kernel']}, {report['processors']} processors, {plan['rounds']} rounds."]
    for name, place in report["places"].items():
        lines += ["", f"### {name}: {place['filesystem']}", *data_tables(place), *name_table(place)]
    return "\n".join(lines) + "\n"


# ---- the picture ---------------------------------------------------------------------------------------------------

COLOURS = ["#1f5fa8", "#d1662b", "#3b8a4c", "#8a4fa0"]
INK, GRID = "#333333", "#dddddd"
TOP, HEIGHT = 70, 300


class Canvas:
    def __init__(self, width, height):
        self.parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
                      f'height="{height}" font-family="sans-serif" font-size="12" fill="{INK}">',
                      f'<rect width="{width}" height="{height}" fill="white"/>']

    def text(self, x, y, text, anchor="start", colour=INK, bold=False):
        weight = ' font-weight="bold"' if bold else ""
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{weight}>{text}</text>')

    def line(self, points, colour, width=1.0, dash=""):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"{dashed}/>')

    def box(self, x, y, width, height, colour):
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>')

    def finish(self):
        return "\n".join([*self.parts, "</svg>"]) + "\n"


def draw_ratios(canvas, left, width, name, place):
    """Ratio over block size, with one thread; the dashed steps are the goals."""
    rows = [row for row in place["data"] if row["threads"] == 1]
    blocks = sorted({row["block"] for row in rows})
    low = min(0.8, min(row["ratio"] for row in rows) // 0.05 * 0.05)
    high = max(1.05, max(row["ratio"] for row in rows))

    def at(block, ratio):
        return left + width * (blocks.index(block) + 0.5) / len(blocks), TOP + HEIGHT * (high - ratio) / (high - low)

    canvas.text(left, TOP - 35, f"Data on {place['filesystem']} ({name}), one thread: speed compared with the disk", bold=True)
    step = 0.05
    for number in range(round(low / step), int(high / step + 1e-6) + 1):
        y = at(blocks[0], number * step)[1]
        canvas.line([(left, y), (left + width, y)], INK if number == round(1 / step) else GRID)
        canvas.text(left - 6, y + 4, f"{number * step:.2f}", "end")
    for block in blocks:
        canvas.text(at(block, low)[0], TOP + HEIGHT + 18, size(block), "middle")
    goals = [(at(block, goal_of(block))) for block in blocks if goal_of(block)]
    canvas.line(goals, "#999999", 1.5, "5 4")
    for number, kind in enumerate(dict.fromkeys(row["kind"] for row in rows)):
        points = [at(row["block"], row["ratio"]) for row in rows if row["kind"] == kind]
        canvas.line(points, COLOURS[number], 2)
        canvas.text(left + number % 2 * 150, TOP + HEIGHT + 40 + number // 2 * 16, f"- {kind}", colour=COLOURS[number], bold=True)
    canvas.text(left + 300, TOP + HEIGHT + 40, "- - goal", colour="#777777")


def draw_names(canvas, left, width, name, place):
    """Microseconds of a call with one thread, mount above native; the longest bar fills the width."""
    rows = [row for row in place["names"] if row["threads"] == 1]
    canvas.text(left, TOP - 35, f"Names on {place['filesystem']} ({name}), one thread: microseconds a call", bold=True)
    longest = max(row["mount"] for row in rows)
    room, start = HEIGHT / len(rows), left + 210
    scale = (width - 270) / longest
    for number, row in enumerate(rows):
        y = TOP + number * room
        canvas.text(start - 8, y + room / 2 + 4, NAMES[row["operation"]], "end")
        for offset, side, colour in ((0.12, "mount", COLOURS[0]), (0.5, "native", COLOURS[1])):
            canvas.box(start, y + room * offset, max(1, row[side] * scale), room * 0.33, colour)
            canvas.text(start + row[side] * scale + 5, y + room * offset + room * 0.33 / 2 + 4, f"{row[side]:.2f}")
    canvas.text(start, TOP + HEIGHT + 20, "mount", colour=COLOURS[0], bold=True)
    canvas.text(start + 60, TOP + HEIGHT + 20, "native", colour=COLOURS[1], bold=True)


def picture(report):
    """One row of two diagrams for each place."""
    width, row_height = 1180, TOP + HEIGHT + 80
    canvas = Canvas(width, row_height * len(report["places"]))
    drawings = []
    for number, (name, place) in enumerate(report["places"].items()):
        row = Canvas(0, 0)
        draw_ratios(row, 60, 500, name, place)
        draw_names(row, 610, 550, name, place)
        drawings.append(f'<g transform="translate(0 {number * row_height})">' + "\n".join(row.parts[2:]) + "</g>")
    canvas.parts += drawings
    canvas.text(60, 18, f"commit {report['commit']}, kernel {report['kernel']}, {report['processors']} processors", colour="#777777")
    return canvas.finish()
