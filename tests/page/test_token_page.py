"""The page of a node that wants its token: it asks for it, and goes on with it."""

import tempfile
import unittest

from open_node import BASE, Daemon  # first: it changes the network
from browser import Browser


class Token(unittest.TestCase):
    def test_the_page_asks_for_the_token_once(self):
        with tempfile.NamedTemporaryFile("w", suffix=".token") as file:
            file.write("open sesame")
            file.flush()
            node = Daemon("--http-token-file", file.name)
            try:
                with Browser() as browser:
                    self.check(browser)
            finally:
                node.stop()

    def check(self, browser):
        browser.open(BASE + "/")
        browser.wait_for("!document.querySelector('#token-form').hidden", "the token is asked for")
        self.assertEqual(browser.evaluate("document.querySelectorAll('#node-list article').length"), 0)
        for token in ("wrong", "open sesame"):
            browser.evaluate("document.querySelector('#token').value = ''; document.querySelector('#token').focus()")
            browser.type(token)
            browser.press("Enter")
            if token == "wrong":
                browser.wait_for("document.querySelector('#problems').innerText.includes('token')", "it is refused")
        browser.wait_for("document.querySelectorAll('#node-list article').length === 1", "the node is shown")
        self.assertTrue(browser.evaluate("document.querySelector('#token-form').hidden"))
        browser.open(BASE + "/")
        browser.wait_for("document.querySelectorAll('#node-list article').length === 1", "it is not asked for again")


if __name__ == "__main__":
    unittest.main()
