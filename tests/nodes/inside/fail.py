"""Fails, or ends without a report, for the tests of what is said then."""

import sys

if sys.argv[1] == "raise":
    raise ValueError("told to fail")
