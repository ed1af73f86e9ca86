from __future__ import annotations

import dataclasses

import pytest

from lotus_core.inference.folding import Folds


def test_every_fold_is_on_unless_said_otherwise():
    assert all(getattr(Folds(), name) for name in Folds.names())


def test_none_switches_every_fold_off():
    assert not any(getattr(Folds.none(), name) for name in Folds.names())


def test_only_switches_on_what_is_named():
    folds = Folds.only("time", "codec")
    assert {name for name in Folds.names() if getattr(folds, name)} == {"time", "codec"}


def test_an_unknown_fold_is_refused():
    with pytest.raises(TypeError, match="origami"):
        Folds.only("origami")


def test_folds_cannot_change_after_the_fact():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Folds().time = False
