"""Exact views of the room, made once."""

from __future__ import annotations

import pytest

from lotus_core.geometry.multiview.inputs import ViewInputs, check_inputs
from tests.core.geometry.multiview.rig import View, arc, predict, see


@pytest.fixture(scope="session")
def four_views() -> list[View]:
    """Return what four cameras on an arc see."""
    return [see(camera) for camera in arc(4)]


@pytest.fixture(scope="session", params=["depth", "disparity"])
def inputs(request, four_views) -> ViewInputs:
    """Return the perfect maps of the four views, of one kind or the other, with their pictures."""
    predictions = [predict(view, request.param) for view in four_views]
    pictures = [view.picture for view in four_views]
    return check_inputs(predictions, [view.camera for view in four_views], pictures, None)
