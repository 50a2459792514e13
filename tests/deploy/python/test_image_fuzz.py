"""A folder of good, damaged and hostile images: every good one is segmented, every bad one named."""

import os

import pytest
from image_fuzz import export_tiny, run

if not hasattr(os, "wait4"):
    pytest.skip("this system does not report the memory of a process", allow_module_level=True)


@pytest.mark.slow
@pytest.mark.slow_on_old_paddle
def test_mixed_images(tmp_path):
    found = run(60, 1, export_tiny(str(tmp_path / "model")), bad_share=0.4)
    assert found["failures"] == []
    assert found["good"] > 20 and found["bad"] > 15 and found["traceback"] == 0 and found["crash"] == 0
