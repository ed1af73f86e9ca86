"""Clips: maps that are stable in time, from frames that arrive one after the other."""
