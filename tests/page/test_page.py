"""The page at / in a real browser, with live daemons and real shuffles behind it.

  test_page.py --pictures DIRECTORY    also writes the screenshots of docs/page.md
"""

import os
import random
import signal
import sys
import unittest

from browser import Browser
from shuffle_cluster import Cluster, make_blocks

PICTURES = None
PARTITIONS = 120


def url_of(cluster, node=0):
    return f"http://{cluster.nodes[node]['http_address']}:{cluster.nodes[node]['http_port']}/"


def skewed_sizes():
    """Of one map output: most partitions of about the same size, some empty, a few large."""
    generator = random.Random(7)
    sizes = [int(generator.lognormvariate(8, 0.35)) for _ in range(PARTITIONS)]
    for partition in range(20, 28):
        sizes[partition] = 0
    sizes[71], sizes[72], sizes[103] = 60_000, 25_000, 38_000
    return sizes


class Page(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(3, "--push.max-retries", "1")
        cls.addClassCleanup(cls.cluster.down)
        cls.sizes = skewed_sizes()
        for map_id in range(24):
            cls.cluster.write_files(map_id % 3, "app-20261121093000-0007/0", map_id, make_blocks(map_id, cls.sizes))
        for map_id in range(6):
            cls.cluster.write_files(map_id % 3, "app-20261121094512-0008/2", map_id,
                                    make_blocks(map_id, [4000] * 1000))
        cls.cluster.wait_for_maps(0, "app-20261121093000-0007/0", 24)
        cls.cluster.wait_for_maps(0, "app-20261121094512-0008/2", 6)
        for partition in (0, 30, 71):
            cls.cluster.read_partition(0, "app-20261121093000-0007/0", partition)
        cls.browser = Browser()
        cls.addClassCleanup(cls.browser.__exit__)

    def picture(self, name):
        if PICTURES:
            self.browser.screenshot(os.path.join(PICTURES, name + ".png"))

    def open(self, **how):
        self.browser.events.clear()
        self.browser.open(url_of(self.cluster), **how)
        self.browser.wait_for("document.querySelectorAll('#node-list article').length === 3", "three nodes are shown")

    def choose(self, name):
        self.browser.evaluate(f"""[...document.querySelectorAll('[data-action=choose]')]
            .find((button) => button.textContent === '{name}').click()""")
        self.browser.wait_for(f"document.querySelector('#size-chart').innerText.startsWith('{name}')",
                              f"the sizes of {name} are shown")

    def test_1_the_cluster_and_its_shuffles(self):
        self.open()
        browser = self.browser
        browser.wait_for("document.querySelector('#summary').innerText.includes('all well')", "all is well")
        self.assertIn("3 of 3 nodes up, 2 shuffles", browser.text("#summary"))
        for node in ("node1", "node2", "node3"):
            self.assertIn(node, browser.text("#node-list"))
            self.assertIn(node, browser.text("#traffic-chart"))
        shuffles = browser.text("#shuffle-list")
        self.assertIn("app-20261121093000-0007/0", shuffles)
        self.assertIn("24 of 24 settled", shuffles)
        self.assertIn("100 %", shuffles)
        self.assertIn("serve.ready", browser.text("#event-list"))
        # It updates by itself, and nothing is wrong with it.
        self.cluster.write_files(0, "late/0", 0, make_blocks(0, [100, 200]))
        browser.wait_for("document.querySelector('#shuffle-list').innerText.includes('late/0')", "a new shuffle is shown")
        self.assertEqual(browser.complaints(), [])

    def test_2_skew_is_seen_and_said(self):
        self.open()
        self.choose("app-20261121093000-0007/0")
        browser = self.browser
        heat = browser.evaluate("""[...document.querySelectorAll('.heat .cell')].map((cell) =>
            parseFloat(cell.style.getPropertyValue('--heat')))""")
        self.assertEqual(len(heat), PARTITIONS)
        self.assertEqual(heat.index(max(heat)), 71)
        self.assertEqual(heat[20:28], [0] * 8)
        self.assertIn("× the median", browser.text("#size-chart"))
        self.assertIn("71 (", browser.text("#size-chart"))
        # A large shuffle in ranges, into which one can look.
        self.choose("app-20261121094512-0008/2")
        self.assertIn("3 to a cell", browser.text("#size-chart"))
        self.assertEqual(browser.evaluate("document.querySelectorAll('.heat .cell').length"), 334)
        browser.evaluate("document.querySelectorAll('.heat .cell')[5].click()")
        browser.wait_for("document.querySelectorAll('.heat .cell').length === 3", "one cell's partitions are shown")
        self.assertIn("15 to 17 are shown", browser.text("#size-chart"))
        browser.evaluate("document.querySelector('[data-action=zoom-out]').click()")
        browser.wait_for("document.querySelectorAll('.heat .cell').length === 334", "all are shown again")
        self.assertEqual(browser.complaints(), [])

    def test_3_traffic_between_nodes_is_what_they_pushed(self):
        self.open()
        cells = self.browser.evaluate("""[...document.querySelectorAll('.matrix tbody tr')].map((row) =>
            [...row.querySelectorAll('td')].map((cell) => cell.className + ' ' + cell.innerText))""")
        self.assertEqual([len(row) for row in cells], [3, 3, 3])
        for i, row in enumerate(cells):
            for j, cell in enumerate(row):
                self.assertEqual(cell.startswith("self"), i == j)
                if i != j:
                    self.assertRegex(cell, r"flow [0-9.]+ [KM]iB")

    def test_4_without_a_mouse(self):
        self.open()
        self.choose("app-20261121093000-0007/0")
        browser = self.browser
        browser.evaluate("document.body.focus(); document.activeElement.blur()")
        focused = []
        for _ in range(40):
            browser.press("Tab")
            focused.append(browser.evaluate("document.activeElement.className + ' ' + document.activeElement.id + ' ' + "
                                            "(document.activeElement.dataset.action ?? '')"))
            if "heat" in focused[-1]:
                break
        self.assertIn("skip", focused[0])
        self.assertTrue(any("choose" in entry for entry in focused))
        self.assertIn("heat", focused[-1])
        browser.press("Home")
        self.assertIn("partition 0:", browser.text("#heat-cell"))
        browser.press("ArrowRight")
        self.assertIn("partition 1:", browser.text("#heat-cell"))
        browser.press("ArrowDown")
        self.assertNotIn("partition 1:", browser.text("#heat-cell"))
        browser.press("End")
        self.assertIn(f"partition {PARTITIONS - 1}:", browser.text("#heat-cell"))
        # An update of the page takes the focus from nobody.
        before = browser.text("#source")
        browser.wait_for(f"document.querySelector('#source').innerText !== {before!r}", "it has been updated")
        self.assertEqual(browser.evaluate("document.activeElement.className"), "heat")
        visible = browser.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        self.assertNotEqual(visible, "none")

    def test_5_accessible(self):
        self.open()
        browser = self.browser
        nameless = browser.evaluate("""[...document.querySelectorAll('button, select, input, [role=img], section, table')]
            .filter((element) => element.offsetParent !== null && element.tagName !== 'TABLE')
            .filter((element) => !(element.getAttribute('aria-label') || element.innerText?.trim() ||
              element.getAttribute('aria-labelledby') || element.labels?.length)).map((element) => element.outerHTML)""")
        self.assertEqual(nameless, [])
        self.assertEqual(browser.evaluate("document.documentElement.lang"), "en")
        self.assertEqual(browser.evaluate("document.querySelectorAll('h1').length"), 1)
        self.assertEqual(browser.evaluate("[...document.querySelectorAll('th')].filter((th) => !th.scope).length"), 0)
        ids = browser.evaluate("[...document.querySelectorAll('[id]')].map((element) => element.id)")
        self.assertEqual(len(ids), len(set(ids)))
        for scheme in ("light", "dark"):
            browser.colours(scheme)
            for selector in ("body", ".quiet", ".card .state", "#summary", ".link", ".tag, .events .level", "small"):
                ratio = browser.evaluate(CONTRAST.replace("SELECTOR", selector))
                self.assertGreaterEqual(ratio, 4.5, f"{selector} in {scheme}")
        browser.colours("light")

    def test_6_light_dark_and_a_phone(self):
        browser = self.browser
        browser.colours("light")
        self.open(width=1240)
        self.choose("app-20261121093000-0007/0")
        light = browser.evaluate("getComputedStyle(document.body).backgroundColor")
        self.picture("page-light")
        browser.colours("dark")
        dark = browser.evaluate("getComputedStyle(document.body).backgroundColor")
        self.assertNotEqual(light, dark)
        self.picture("page-dark")
        # By the button: light whatever the system says, and remembered.
        browser.evaluate("document.querySelector('[data-action=theme]').click()")
        self.assertEqual(browser.evaluate("getComputedStyle(document.body).backgroundColor"), light)
        self.open(width=390, height=844, touch=True)
        self.assertEqual(browser.evaluate("getComputedStyle(document.body).backgroundColor"), light)
        self.choose("app-20261121093000-0007/0")
        self.assertLessEqual(browser.evaluate("document.documentElement.scrollWidth"), 390, "nothing is cut off")
        smallest = browser.evaluate("""Math.min(...[...document.querySelectorAll('header button, select')]
            .map((element) => element.getBoundingClientRect().height))""")
        self.assertGreaterEqual(smallest, 30)
        self.picture("page-phone")
        browser.evaluate("localStorage.clear()")
        browser.colours("light")

    def test_7_nothing_comes_from_elsewhere(self):
        self.open()
        base = url_of(self.cluster)
        self.assertEqual([url for url in self.browser.requested() if not url.startswith((base, "about:", "data:"))], [])
        refused = self.browser.evaluate("""new Promise((resolve) => {
            document.addEventListener('securitypolicyviolation', (event) => resolve(event.violatedDirective));
            const script = document.createElement('script');
            script.textContent = 'window.injected = 1';
            document.body.append(script);
            setTimeout(() => resolve(null), 5000);
          })""")
        self.assertIn("script-src", refused or "")
        self.assertIsNone(self.browser.evaluate("window.injected ?? null"))

    def test_8_names_from_outside_are_text(self):
        # A shuffle's refused commit carries a message with what somebody wrote.
        maps = self.cluster.path(0, "shuffles", "app-20261121093000-0007/0", "maps")
        temporary = os.path.join(maps, ".tmp-bad")
        os.mkdir(temporary)
        with open(os.path.join(temporary, "<img src=x onerror=window.injected=1>"), "wb"):
            pass
        with self.assertRaises(OSError):
            os.rename(temporary, os.path.join(maps, "99"))
        self.open()
        self.browser.wait_for("document.querySelector('#shuffle-list').innerText.includes('<img src=x')",
                              "the refused commit is shown as text")
        self.assertEqual(self.browser.evaluate("document.querySelectorAll('#shuffle-list img, #event-list img').length"), 0)

    def test_9_a_node_that_is_down(self):
        browser = self.browser
        self.cluster.signal(1, signal.SIGKILL)
        for map_id in range(100, 103):
            self.cluster.write_files(0, "app-20261121101500-0009/0", map_id, make_blocks(map_id, [3000] * 40))
        self.open(width=1240)
        browser.wait_for("document.querySelector('#problems').innerText.includes('node2 is down')", "it is said")
        browser.wait_for("document.querySelector('#shuffle-list').innerText.includes('gave up')", "reasons are given")
        self.assertIn("refused", browser.text("#problems"))
        self.assertIn("2 of 3 nodes up", browser.text("#summary"))
        self.assertIn("down", browser.text("#node-list article:nth-child(2)"))
        self.assertIn("peer.down", browser.text("#event-list"))
        self.assertIn("problem", browser.text("#summary"))
        self.choose("app-20261121101500-0009/0")
        self.assertIn("Without node2", browser.text("#size-chart"))
        self.picture("page-node-down")
        browser.evaluate("""{ const select = document.querySelector('#event-level'); select.value = 'warning';
            select.dispatchEvent(new Event('change', { bubbles: true })); }""")
        self.assertNotIn("serve.ready", browser.text("#event-list"))
        self.assertIn("push.gave_up", browser.text("#event-list"))
        # The node that is asked goes away as well.
        self.cluster.signal(0, signal.SIGKILL)
        browser.wait_for("document.querySelector('#problems').innerText.includes('does not answer')", "it is said")
        self.assertIn("old", browser.evaluate("document.body.className"))


# The contrast of an element's text with what is behind it, as WCAG 2 computes it.
CONTRAST = """(() => {
  const element = document.querySelector('SELECTOR');
  if (!element) return 21;
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgb = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  let behind = element;
  while (behind && rgb(getComputedStyle(behind).backgroundColor)[3] < 255) behind = behind.parentElement;
  const light = (colour) => rgb(colour).slice(0, 3).map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const a = light(getComputedStyle(element).color);
  const b = light(getComputedStyle(behind ?? document.documentElement).backgroundColor);
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
})()"""


if __name__ == "__main__":
    if "--pictures" in sys.argv:
        at = sys.argv.index("--pictures")
        PICTURES = sys.argv[at + 1]
        del sys.argv[at:at + 2]
    unittest.main()
