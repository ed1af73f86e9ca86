"""`lotus video` in processes of its own, with the bundled model: what a kill leaves, and how much memory it takes."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from lotus_core.video.spool import SEGMENT
from tests.core.io.video_files import stored_frames, write_clip

pytestmark = pytest.mark.slow

BUNDLED = ("--model", "lotus-tiny-depth-d", "--precision", "fp32", "-q")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def test_a_killed_run_goes_on_and_ends_as_if_it_had_not_been_killed(tmp_path):
    """All three runs use as many threads: the last bit of a sum depends on how many share it."""
    source = write_clip(tmp_path / "a.mp4", 3 * SEGMENT)
    words = ("video", source, "--resolution", 32, "--format", "ffv1", *BUNDLED)
    command = [sys.executable, "-m", "lotus_core.cli", *map(str, words), "-o"]
    process = subprocess.Popen([*command, str(tmp_path / "out")], env=ENVIRONMENT)
    parts = tmp_path / "out" / "a_disparity.parts"
    deadline = time.monotonic() + 240
    while not (parts / "000000.safetensors").is_file():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert parts.is_dir()
    subprocess.run([*command, str(tmp_path / "out"), "--resume"], env=ENVIRONMENT, check=True)
    subprocess.run([*command, str(tmp_path / "whole")], env=ENVIRONMENT, check=True)
    found = stored_frames(tmp_path / "out" / "a_disparity16.mkv")
    expected = stored_frames(tmp_path / "whole" / "a_disparity16.mkv")
    assert len(found) == 3 * SEGMENT
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def test_memory_does_not_grow_with_the_length_of_the_video(tmp_path):
    """144 frames of 640x360 against 16: kept as floats, the difference alone would be 350 MB."""
    program = (
        "import resource, sys\n"
        "from lotus_core.cli.main import main\n"
        "assert main(sys.argv[1:]) == 0\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    peaks = []
    for frames in (16, 144):
        source = write_clip(tmp_path / f"{frames}.mp4", frames, height=360, width=640)
        words = ("video", source, "-o", tmp_path / "out", "--resolution", 32, *BUNDLED)
        command = [sys.executable, "-c", program, *map(str, words)]
        ran = subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True, text=True)
        peaks.append(int(ran.stdout.splitlines()[-1]))
    assert peaks[1] < 1.2 * peaks[0]
