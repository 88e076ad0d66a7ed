"""The shuffle service's protocol, spoken by hand to a real daemon: one test for each case of ess_cases_*.py.

scripts/ess-conformance asks the JVM service the same.
"""

import re
import unittest

# pylint: disable=unused-import
import ess_cases_blocks  # noqa: F401  (lists its cases)
import ess_cases_hostile  # noqa: F401
import ess_cases_rpc  # noqa: F401
from ess_case import CASES, run_case
from ess_services import DaemonService
from private_network import enter_private_network


class Conformance(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.service = DaemonService()
        cls.enterClassContext(cls.service)

    @classmethod
    def add(cls, case):
        def test(self):
            seen, texts, missing = run_case(case, self.service)
            self.assertEqual(seen, case.expected, "\n".join(texts))
            self.assertEqual(missing, [], f"no error's text has this: {texts}")
        name = "test_" + re.sub(r"\W+", "_", case.name)
        assert not hasattr(cls, name), f"two cases are called '{case.name}'"
        setattr(cls, name, test)


for one in CASES:
    Conformance.add(one)

if __name__ == "__main__":
    enter_private_network()
    unittest.main()
