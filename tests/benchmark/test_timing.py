"""The benchmark: its turns and its table."""

import os

import cv2
import numpy as np
import paddle
import pytest
from rtseg_inference import processor
from rtseg_inference.timing import Journal

from paddle_rtseg.benchmark import infer_py, timing
from paddle_rtseg.benchmark.timing import Row
from paddle_rtseg.errors import InputError
from paddle_rtseg.export.onnx import obstacle
from paddle_rtseg.models.macs import count_macs
from paddle_rtseg.tools import benchmark

pytestmark = pytest.mark.slow

SMALL = "base_channels=8,spp_channels=8,head_channels=8,use_aux_head=False"


def test_nested_arguments_of_a_model():
    text = "SegFormerPP:head_channels=64,backbone.type=MiT_B0,backbone.token_merging=hq"
    arguments = {"head_channels": 64, "backbone": {"type": "MiT_B0", "token_merging": "hq"}}
    assert timing.parse_model(text) == ("SegFormerPP", arguments)
    assert timing.parse_model("RTFormer_Slim") == ("RTFormer_Slim", {})
    listed = timing.parse_model("RTFormer:use_injection=[True,False],cross_size=8")
    assert listed == ("RTFormer", {"use_injection": [True, False], "cross_size": 8})
    with pytest.raises(InputError, match="got 'head_channels'"):
        timing.parse_model("SegFormerPP:head_channels")


@pytest.mark.slow_on_old_paddle
def test_rows_of_a_run():
    models = [f"RTFormer_Slim:{SMALL}", f"RTFormer:{SMALL}"]
    rows = timing.benchmark(models, [(64, 64)], ["dygraph", "native"], num_classes=3, turns=2)
    assert [(row.model, row.mode) for row in rows] == [(m, mode) for m in models for mode in ("dygraph", "native")]
    network = timing.create_model("RTFormer_Slim", num_classes=3, **timing.parse_model(models[0])[1])
    assert rows[0].giga_macs == count_macs(network, (64, 64)) / 1e9
    assert all(row.milliseconds > 0 and not row.note for row in rows)
    table = timing.as_markdown(rows, 100.0).splitlines()
    assert len(table) == 2 + len(rows) and table[2].endswith("| 1.00 |  |")


def test_poses():
    model = "SegFormerPPPose:head_channels=16,backbone.type=MiT_B0,backbone.embed_dims=[8,16,40,64]"
    rows = timing.benchmark([model, f"{model},num_keypoints=3"], [(64, 48)], ["native", "training"], turns=2)
    assert all(row.milliseconds > 0 and not row.note for row in rows)
    further = 1e6 * (rows[0].million_parameters - rows[2].million_parameters)
    assert further == pytest.approx((17 - 3) * (16 + 1))  # a weight for each channel and a bias for each keypoint


def test_row_that_could_not_run(tmp_path):
    rows = [
        Row("fast", (8, 8), "onednn", 1.0, 2.0, 10.0, 1.0),
        Row("slow", (8, 8), "onednn", 1.0, 2.0, 20.0, 1.0),
        Row("none", (8, 8), "onednn", 1.0, 2.0, None, None, "no such operator"),
    ]
    table = timing.as_markdown(rows, peak=1000.0)  # GFLOP/s; 2 GMACs in 20 ms are 200
    assert "| slow | 8x8 | onednn | 1.00 | 2.0 | 20.0 | 1.0 | 10.00 | 20 % | 0.50 |  |" in table
    assert "did not run: no such operator" in table


def test_memory_of_a_step():
    if not hasattr(paddle.base.core, "host_memory_stat_reset_peak_value"):
        pytest.skip("this Paddle does not reset its peak of allocated memory")
    held = paddle.ones([2**20])  # 4 MB, there before
    assert timing.peak_memory(lambda: (held + 1) * 2) == pytest.approx(8, abs=0.1)


def test_matching():
    backbone = (
        "backbone.type=MiT_B0,backbone.embed_dims=[8,8,8,8],backbone.depths=[1,1,1,1],backbone.num_heads=[1,1,1,1]"
    )
    models = [f"SegFormerPP:{backbone},head_channels=8" + more for more in ("", ",backbone.token_merging=hq")]
    models.append(f"{models[0]},backbone.token_merging.schedule=hq,backbone.token_merging.match_every=2")
    plain, merging, sharing = timing.benchmark(models, [(128, 160)], ["matching"], num_classes=3, turns=2)
    assert plain.milliseconds is None and plain.note == "it merges no tokens"
    assert merging.milliseconds > 0 and sharing.milliseconds > 0


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino_runtime"])
def test_backends_without_paddle(backend):
    if obstacle():
        pytest.skip(obstacle())
    pytest.importorskip({"openvino_runtime": "openvino"}.get(backend, backend))
    rows = timing.benchmark([f"RTFormer_Slim:{SMALL}"], [(64, 64)], [backend], num_classes=3, turns=2)
    assert rows[0].milliseconds > 0, rows[0].note


def stop(rows):
    raise KeyboardInterrupt


def test_stopped_run_is_continued(tmp_path, monkeypatch):
    models = [f"RTFormer_Slim:{SMALL}", f"RTFormer:{SMALL}"]
    settings = {"modes": ["dygraph"], "num_classes": 3, "turns": 3}
    path = str(tmp_path / "times.jsonl")
    with pytest.raises(KeyboardInterrupt):
        timing.benchmark(models, [(64, 64)], **settings, journal=Journal(path), after_turn=stop)
    first = timing.benchmark(models[:1], [(64, 64)], **settings, journal=Journal(path))
    assert first[0].turns == 3
    seen, lines = [], []
    rows = timing.benchmark(
        models, [(64, 64)], **settings, journal=Journal(path), after_turn=seen.append, report=lines.append
    )
    assert [row.turns for row in rows] == [3, 3]
    assert rows[0] == first[0]
    assert [[row.turns for row in rows] for rows in seen] == [[3, 2], [3, 3]]
    assert lines[:2] == [f"{models[0]} at 64x64, dygraph: measured before", f"preparing {models[1]} at 64x64, dygraph"]
    assert [line.partition(",")[0] for line in lines[2:]] == ["turn 1 of 2", "turn 2 of 2"]
    assert lines[-1].endswith(", ETA 0:00:00")
    monkeypatch.setattr(timing, "create_model", None)  # nothing is left to prepare
    assert timing.benchmark(models, [(64, 64)], **settings, journal=Journal(path)) == rows


def test_other_settings_are_measured_again(tmp_path):
    journal = Journal(str(tmp_path / "times.jsonl"))
    for num_classes in (3, 4):
        lines = []
        timing.benchmark(
            [f"RTFormer_Slim:{SMALL}"], [(64, 64)], ["dygraph"], "fp32", num_classes, 2, 0, lines.append, "cpu", journal
        )
        assert lines[0].startswith("preparing")


def test_command_saves_the_table_after_each_turn(tmp_path, monkeypatch):
    table = tmp_path / "table.md"
    flags = ["--models", f"RTFormer_Slim:{SMALL}", "--sizes", "64x64", "--backends", "dygraph", "--num_classes", "3"]
    flags += ["--turns", "2", "--save", str(table)]
    tables = []
    monkeypatch.setattr(timing, "matrix_peak", lambda: 100.0)
    put = Journal.put

    def saved(self, key, **values):
        tables.append(table.exists() and table.read_text())
        return put(self, key, **values)

    monkeypatch.setattr(Journal, "put", saved)
    benchmark.main(benchmark.parser().parse_args(flags))
    assert not tables[0] and "medians of 1 to 2 turns" in tables[1]
    assert "medians of 2 turns" in table.read_text()
    assert (tmp_path / "table.jsonl").exists()


def test_table_that_would_replace_the_times():
    flags = ["--models", "RTFormer_Slim", "--save", "times.jsonl"]
    with pytest.raises(InputError, match=r"got 'times\.jsonl'; give a name such as table\.md"):
        benchmark.main(benchmark.parser().parse_args(flags))


def test_plot_without_a_format_is_refused_before_anything_is_measured():
    flags = ["--models", "RTFormer_Slim", "--plot", "plot.txt"]
    with pytest.raises(InputError, match=r"expected a name with .png or .svg or .pdf as --plot, got 'plot.txt'"):
        benchmark.main(benchmark.parser().parse_args(flags))


def test_gpu_without_cuda():
    if paddle.is_compiled_with_cuda():
        pytest.skip("this Paddle is built with CUDA")
    with pytest.raises(InputError, match="device 'gpu' is not available: this Paddle is built without CUDA"):
        timing.benchmark(["RTFormer_Slim"], [(64, 64)], ["training"], device="gpu")
    rows = timing.benchmark([f"RTFormer_Slim:{SMALL}"], [(64, 64)], ["native"], turns=2, device="gpu")
    assert rows[0].milliseconds is None and "GPU" in rows[0].note


def test_bad_device():
    with pytest.raises(InputError, match="got 'tpu'"):
        timing.benchmark(["RTFormer_Slim"], [(64, 64)], device="tpu")


@pytest.mark.parametrize("text", ["512", "512x", "0x3", "axb"])
def test_sizes_are_height_and_width(text):
    with pytest.raises(InputError, match="such as 512x1024"):
        timing.parse_size(text)


def test_unknown_mode():
    with pytest.raises(InputError, match="got 'fast'"):
        timing.benchmark(["RTFormer_Slim"], [(64, 64)], ["fast"])


def test_bf16_without_avx512(monkeypatch):
    monkeypatch.setattr(processor, "flags", frozenset)
    with pytest.raises(InputError, match="expected a processor with AVX-512 for bf16"):
        timing.benchmark(["RTFormer_Slim"], [(64, 64)], precision="bf16")
    with pytest.raises(InputError, match="expected a processor with AVX-512 for bf16"):
        infer_py.compare_infer("infer.py", "theirs", ["ours", "ours:bf16"], "image.png")


@pytest.mark.parametrize("missing", ["infer.py", "theirs/deploy.yaml", "image.png", "ours/deploy.yaml"])
def test_comparison_without_its_files(missing, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("theirs", "ours"):
        os.mkdir(folder)
        (tmp_path / folder / "deploy.yaml").write_text("")
    (tmp_path / "infer.py").write_text("")
    cv2.imwrite("image.png", np.zeros((4, 4), np.uint8))
    os.unlink(missing)
    with pytest.raises(InputError, match=missing.replace("ours/", "")):
        infer_py.compare_infer("infer.py", "theirs", ["ours"], "image.png")


def test_plot_without_failed_rows(tmp_path):
    rows = [Row(f"model {i}", (8, 8), "onednn", 1.0, 1.0 + i, 10.0 + i, 1.0) for i in range(12)]
    timing.plot([*rows, Row("none", (8, 8), "onednn", 1.0, 2.0, None, None, "why")], str(tmp_path / "plot.png"))
    assert cv2.imread(str(tmp_path / "plot.png")).std() > 10
