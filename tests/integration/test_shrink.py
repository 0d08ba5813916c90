"""The helper that makes failing cases smaller (tests/prop/shrink.py) finds small ones, and says which."""
import os
import random
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "prop"))
from shrink import LEFT, shrunk, smaller  # noqa: E402


class Shrink(unittest.TestCase):
    def setUp(self):
        LEFT[0] = 1000

    def smallest(self, case, fails):
        """(the case in the failure's text, number of attempts)"""
        tried = []

        def attempt(c):
            tried.append(c)
            self.assertFalse(fails(c), "as planned")
        with self.assertRaises(AssertionError) as raised:
            shrunk(attempt, case, 7)
        text = str(raised.exception)
        self.assertTrue(text.startswith("seed 7, smallest case that fails: "), text)
        self.assertIn("as planned", text)
        self.assertTrue(fails(tried[0]))
        small = [c for c in tried if fails(c)][-1]
        self.assertIn(f"fails: {small!r}: ", text)
        return small, len(tried)

    def test_what_holds_is_tried_once(self):
        tried = []
        shrunk(tried.append, [1, 2, 3], 7)
        self.assertEqual(tried, [[1, 2, 3]])

    def test_numbers(self):
        self.assertEqual(self.smallest(1000, lambda n: n >= 37)[0], 37)
        self.assertEqual(self.smallest(64, lambda n: True)[0], 1)
        self.assertEqual(self.smallest(5, lambda n: n == 5)[0], 5)

    def test_lists(self):
        """The one element that matters, or the two."""
        for seed in range(20):
            case = random.Random(seed).sample(range(1, 1000), 12)
            self.assertEqual(self.smallest(case, lambda c, x=case[5]: x in c)[0], [case[5]])
            two = {case[2], case[9]}
            self.assertEqual(set(self.smallest(case, lambda c, two=two: two <= set(c))[0]), two)

    def test_members(self):
        case = {"way": "up", "steps": [(3, 8), (4, 9), (5, 10)], "deep": True}
        small, _ = self.smallest(case, lambda c: any(b > 4 for _, b in c["steps"]) and c["deep"])
        self.assertEqual(small, {"way": "up", "steps": [(1, 5)], "deep": True})

    def test_nothing_is_smaller_than_the_smallest(self):
        for case in (1, 0, -3, [], "text", None, (), {}, True, 1.5, [1], {"a": 1}):
            self.assertEqual([c for c in smaller(case) if c != []], [], case)

    def test_it_ends(self):
        LEFT[0] = 60
        _, tries = self.smallest(list(range(10**4)), lambda c: len(c) % 2 == 0)
        self.assertLessEqual(tries, 61)
        self.assertEqual(LEFT[0], 0)
        with self.assertRaisesRegex(AssertionError, r"fails: \[1, 2\]"):  # no more is left
            shrunk(self.fail, [1, 2], 7)

    def test_a_failure_that_does_not_come_again(self):
        tried = []

        def attempt(case):
            tried.append(case)
            if len(tried) == 1:
                raise OSError("once")
        with self.assertRaisesRegex(AssertionError, r"\[4, 5\]: once"):
            shrunk(attempt, [4, 5], 7)

    def test_a_skip_is_no_failure(self):
        def attempt(case):
            raise unittest.SkipTest("not here")
        with self.assertRaises(unittest.SkipTest):
            shrunk(attempt, [1, 2], 7)


if __name__ == "__main__":
    unittest.main(verbosity=1)
