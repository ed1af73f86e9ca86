"""Measurements of Lotus Geometry: `python -m benchmarks` lists them. None is part of the tests."""
