"""The native 3D preview shows what the workflows write: seen in the pixels of its canvas."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from tests.browser.test_shared_workflows import SCREENSHOT_VARIABLE
from tests.nodes.host.process import REPOSITORY, ComfyServer
from tests.nodes.host.shared_files import read_workflow
from tests.nodes.test_workflows import STAND_INS
from tests.nodes.views import need_package, pictures, provide_views

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.browser.frontend import Frontend

pytestmark = pytest.mark.browser

SOFTWARE_WEBGL = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist")
COARSE_VOXEL = 0.03
CORNERS = {"red": (1, 0.1, 0.1), "green": (0.1, 1, 0.1), "blue": (0.1, 0.1, 1), "yellow": (1, 1, 0.1)}
"""Colours of the picture's quarters: top left, top right, bottom left, bottom right."""

BRING_NEAR = """() => {
    const node = window.app.graph.nodes.find(node => node.type === 'Preview3D'), view = window.app.canvas;
    view.ds.scale = 1;
    view.ds.offset = [160 - node.pos[0], 120 - node.pos[1]];
    view.setDirty(true, true);
}"""
VIEWER_BOX = """() => [...document.querySelectorAll('canvas')]
    .filter(canvas => canvas.id !== 'graph-canvas' && !canvas.className.includes('minimap'))
    .map(canvas => canvas.getBoundingClientRect().toJSON())
    .sort((a, b) => b.width * b.height - a.width * a.height)[0]"""


@pytest.fixture(scope="module")
def browser(chromium_program: str) -> Iterator[Browser]:
    """A headless Chromium that draws WebGL without a graphics card."""
    from playwright.sync_api import sync_playwright

    from tests.browser.frontend import CHROMIUM_FLAGS

    flags = [flag for flag in CHROMIUM_FLAGS if flag != "--disable-gpu"]
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=chromium_program, args=[*flags, *SOFTWARE_WEBGL])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def frontend(browser: Browser, server: ComfyServer) -> Iterator[Frontend]:
    """The page as servers give it that have API nodes on, as most have.

    With them off, newer servers forbid the page pictures from memory, and every textured model is white; a test's
    server has them off so that it stays on this machine, which the page does by its own rule.
    """
    from tests.browser.frontend import Frontend

    context = browser.new_context(viewport={"width": 1600, "height": 1000}, bypass_csp=True)
    page = Frontend(context.new_page(), server)
    page.start()
    yield page
    context.close()


def small(workflow: dict[str, Any], resolution: int) -> dict[str, Any]:
    """The workflow with the bundled models, as a user picks them in the loaders."""
    for node in workflow["nodes"]:
        if node["type"] == "LotusGeoLoadModel":
            kind = "normal" if "normal" in node["widgets_values"][0] else "depth"
            node["widgets_values"][0] = STAND_INS[kind]
            node["properties"].pop("models", None)
        if node["type"] == "LotusGeoJoint":
            node["widgets_values"][:2] = ["custom", resolution]
        if node["type"] == "LotusGeoFuseViews":
            node["widgets_values"][1] = COARSE_VOXEL
    return workflow


def run(frontend: Frontend, workflow: dict[str, Any]) -> None:
    """Open it, press Run, and wait for its end."""
    frontend.open(workflow)
    known = set(frontend.server.api.get_json("/history"))
    frontend.page.evaluate("async () => { await window.app.queuePrompt(0, 1) }")
    for _ in range(600):
        new = [entry for name, entry in frontend.server.api.get_json("/history").items() if name not in known]
        if new:
            assert new[0]["status"]["status_str"] == "success", new[0]["status"]["messages"][-1]
            return
        frontend.page.wait_for_timeout(200)
    pytest.fail("the workflow did not end")


def viewer(frontend: Frontend) -> np.ndarray:
    """What the viewer's canvas shows now, (H, W, 3) in [0, 1]."""
    box = frontend.page.evaluate(VIEWER_BOX)
    clip = {name: box[name] for name in ("x", "y", "width", "height")}
    shot = frontend.page.screenshot(clip=clip)
    with Image.open(io.BytesIO(shot)) as picture:
        return np.asarray(picture.convert("RGB")).astype(float) / 255.0


def coloured(picture: np.ndarray) -> np.ndarray:
    """Pixels (H, W) that are no shade of grey: the viewer's own ground, grid and buttons are."""
    return np.ptp(picture, axis=-1) > 0.15


def bluish(picture: np.ndarray) -> np.ndarray:
    """Pixels (H, W) of the colour of the rendered room's blue wall, and of what is like it."""
    return (picture[..., 2] - picture[..., 0] > 0.06) & (picture[..., 2] - picture[..., 1] > 0.04)


def wait_until_shown(
    frontend: Frontend, share: float, like: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """The viewer's picture, as soon as so much of it is of a colour."""
    frontend.page.evaluate(BRING_NEAR)
    for _ in range(80):
        frontend.page.wait_for_timeout(250)
        picture = viewer(frontend)
        if like(picture).mean() > share:
            return picture
    keep(frontend, "viewer_failed")
    raise AssertionError(f"{like(picture).mean():.2%} of the viewer is {like.__name__}, expected {share:.0%}")


def keep(frontend: Frontend, name: str) -> None:
    """Save a picture of the page where BROWSER_SCREENSHOTS names a folder."""
    folder = os.environ.get(SCREENSHOT_VARIABLE)
    if folder:
        path = Path(folder) / frontend.server.checkout.version / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        frontend.page.screenshot(path=path)


def quartered_photo() -> bytes:
    """A photograph whose quarters are tinted in four colours, as PNG."""
    with Image.open(REPOSITORY / "assets" / "photos" / "lobby.jpg") as photo:
        grey = np.asarray(photo.convert("L").resize((320, 240))).astype(float) / 510 + 0.5
    tint = np.empty((240, 320, 3))
    quarters = [(slice(0, 120), slice(0, 160)), (slice(0, 120), slice(160, 320))]
    quarters += [(slice(120, 240), slice(0, 160)), (slice(120, 240), slice(160, 320))]
    for place, colour in zip(quarters, CORNERS.values(), strict=True):
        tint[place] = colour
    file = io.BytesIO()
    Image.fromarray((grey[..., None] * tint * 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def places(picture: np.ndarray) -> dict[str, tuple[float, float, float]]:
    """Of each quarter's colour: its share of the picture, and the middle (x, y) of where it is."""
    unit = picture / np.maximum(np.linalg.norm(picture, axis=-1, keepdims=True), 1e-6)
    found = {}
    for name, colour in CORNERS.items():
        like = coloured(picture) & (unit @ np.asarray(colour) / np.linalg.norm(colour) > 0.95)
        row, column = np.nonzero(like)
        found[name] = (like.mean(), *((np.mean(part) if len(part) else np.nan) for part in (column, row)))
    return found


def test_the_textured_mesh_stands_upright_and_unmirrored(frontend: Frontend) -> None:
    workflow = small(read_workflow(REPOSITORY / "workflows" / "lotus_mesh.json"), 128)
    for node in workflow["nodes"]:
        if node["type"] == "LoadImage":
            node["widgets_values"][0] = frontend.server.api.upload_image("quarters.png", quartered_photo())
    run(frontend, workflow)
    found = places(wait_until_shown(frontend, 0.04, coloured))
    keep(frontend, "viewer_mesh")
    assert all(share > 0.005 for share, _, _ in found.values()), found
    x, y = ({name: place[axis] for name, place in found.items()} for axis in (1, 2))
    assert x["red"] < x["green"]
    assert x["blue"] < x["yellow"]
    assert y["red"] < y["blue"]  # rows of a picture grow downwards
    assert y["green"] < y["yellow"]
    assert frontend.errors == []


def test_the_fused_mesh_has_the_views_colours(frontend: Frontend) -> None:
    need_package(frontend.server.checkout, "skimage")
    provide_views(frontend.server)
    run(frontend, small(read_workflow(REPOSITORY / "workflows" / "lotus_fuse_views.json"), 192))
    picture = wait_until_shown(frontend, 0.02, bluish)
    keep(frontend, "viewer_fused")
    views = pictures().numpy()
    assert all(bluish(view).mean() > 0.03 for view in views)  # the wall is in every view
    pale = (picture.min(-1) > 0.5).mean()
    assert pale > 0.02  # the other walls; the viewer's own ground is dark
    assert frontend.errors == []
