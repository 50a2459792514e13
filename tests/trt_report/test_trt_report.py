"""The TensorRT report against the answers of Paddle 2.6.2's own tellers, on small graphs and on whole networks."""

import collections
import json
import os
import random

import paddle
import pytest
from tiny_models import LARGE_CASES, create
from tiny_network import PREPROCESSING
from trt_cases import CASES, build

from paddle_rtseg import zoo
from paddle_rtseg.errors import InputError
from paddle_rtseg.export.exporter import FP32_OPS, export_model
from paddle_rtseg.models.base import SegmentationModel
from paddle_rtseg.tools import trt_report
from paddle_rtseg.tools.command import run
from paddle_rtseg.trt_report import rules_26
from paddle_rtseg.trt_report.program import Operator, Tensor, TensorAttribute
from paddle_rtseg.trt_report.rules import as_dict, as_text, cut, report
from paddle_rtseg.trt_report.source_lines import describe, keep_source_lines

FIXTURES = os.path.join(os.path.dirname(__file__), "..", "fixtures")
with open(os.path.join(FIXTURES, "trt_verdicts.json")) as f:
    TELLERS = json.load(f)
OLD_PADDLE = paddle.__version__.startswith("2.")
pytestmark = [  # warnings of Paddle about its own code
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Tensor do not have .place."),
    pytest.mark.filterwarnings("ignore:The Attr"),
    pytest.mark.filterwarnings("ignore:no variable in your model"),
]
FORM = "pdmodel" if OLD_PADDLE else "json"


def from_fixture(row):
    """An operator as the tellers saw it."""

    def tensors(described):
        return [Tensor("t", tuple(shape or ()), dtype, constant) for shape, dtype, constant in described]

    return Operator(
        row["operator"],
        {slot: tensors(described) for slot, described in row["inputs"].items()},
        {slot: [Tensor("t", (), "float32")] * n for slot, n in row["outputs"].items()},
        {k: TensorAttribute(v["tensor"]) if isinstance(v, dict) else v for k, v in row["attrs"].items()},
    )


def test_verdicts_equal_those_of_the_tellers():
    different = {}
    for row in TELLERS["operators"]:
        verdict = rules_26.judge(from_fixture(row), (8, 5))
        if verdict.kind != row["verdict"]:
            different[json.dumps(row)] = verdict
    assert not different
    assert {row["verdict"] for row in TELLERS["operators"]} == {"accepted", "plugin", "rejected"}


def counted(result):
    """Number of operators of each type that are not simply accepted, as in the fixture."""
    rows = [(op, verdict) for kind in ("plugin", "rejected") for op, verdict in result.rows(kind)]
    return dict(sorted(collections.Counter(f"{verdict.kind} {op.type}" for op, verdict in rows).items()))


@pytest.fixture
def static_mode():
    paddle.enable_static()
    yield
    paddle.disable_static()


@pytest.mark.skipif(not OLD_PADDLE, reason="the tellers are Paddle 2.6's")
@pytest.mark.parametrize("name", CASES)
def test_verdicts_before_paddles_passes_equal_those_after_them(name, static_mode, tmp_path):
    program = build(CASES[name])
    program.desc.block(0).append_op().set_type("fetch")
    path = tmp_path / "model.pdmodel"
    path.write_bytes(program.desc.serialize_to_string())
    assert counted(report(str(path))) == TELLERS["cases"][name]


def export(layer, prefix, shape=(None, 3, 64, 64)):
    """Save a layer with its source lines, as the exporter does; return the path of the program."""
    layer.eval()
    static = paddle.jit.to_static(layer, input_spec=[paddle.static.InputSpec(list(shape), name="x")], full_graph=True)
    keep_source_lines(static)
    paddle.jit.save(static, str(prefix))
    return f"{prefix}.{FORM}"


class Case(paddle.nn.Layer):
    """One of ``CASES`` as a layer, because Paddle 3 exports layers."""

    def __init__(self, case):
        super().__init__()
        self.case = case

    def forward(self, x):
        return self.case(paddle.nn.functional.relu(x), paddle.cast(x * 2, "int64"))


# From a table that was read in Paddle 3's source independently of the rules.
PADDLE_3 = {
    "matmul transposed": {},
    "adaptive_avg_pool2d that divides": {},
    "adaptive_max_pool2d": {"rejected pd_op.max_pool2d_with_index": 1},
    "bilinear to a list of tensors": {},
    "bilinear to one tensor": {},
    "bicubic": {"rejected pd_op.bicubic_interp": 1},
    "pixel_shuffle": {"rejected pd_op.pixel_shuffle": 1},
    "log_softmax": {"rejected pd_op.log_softmax": 1},
    "layer_norm without weight": {"rejected pd_op.layer_norm": 1},
    "amax": {"rejected pd_op.amax": 1},
    "topk": {},
    "topk unsorted": {"rejected pd_op.topk": 1},
    "argsort": {},
    "argmax": {},
    "argmax along the batch": {"rejected pd_op.argmax": 1},
    "argmax of integers": {"rejected pd_op.argmax": 1},
    "gather_nd": {},
    "take_along_axis": {},
    "put_along_axis": {"rejected pd_op.put_along_axis": 1},
    "cumsum": {},
    "conv2d run-time filter": {"rejected pd_op.conv2d": 1},
    "split": {},
    "slice": {},
    "linspace": {},
}


@pytest.mark.skipif(OLD_PADDLE, reason="Paddle 2.6 does not write json")
@pytest.mark.parametrize("name", PADDLE_3)
def test_paddle_3(name, tmp_path):
    result = report(export(Case(CASES[name]), tmp_path / "model", (None, 8, 12, 16)))
    assert counted(result) == PADDLE_3[name]


class BestScores(paddle.nn.Layer):
    """An operator that TensorRT rejects, on a line that the test knows."""

    def forward(self, x):
        best = paddle.argmax(x, axis=1, keepdim=True)
        shifted = helper(x, best)
        return paddle.nn.functional.relu(shifted)


def helper(x, index):
    return paddle.put_along_axis(x, index, x.max(axis=1, keepdim=True), axis=1)


def line_of(text):
    """This file and the number of its first line that contains ``text``."""
    with open(__file__) as f:
        return f"{os.path.basename(__file__)}:{next(i for i, line in enumerate(f, 1) if text in line)}"


def test_a_rejected_operator_is_reported_with_its_line(tmp_path, capsys):
    path = export(BestScores(), tmp_path / "model")
    arguments = trt_report.parser().parse_args(
        ["--model", str(tmp_path), "--json", str(tmp_path / "out" / "report.json")]
    )
    assert trt_report.main(arguments) == 1
    text = capsys.readouterr().out
    place = f"{line_of('return paddle.put_along_axis')}, called from {line_of('helper(x, best)')}"
    assert place in text
    assert "Experimental. No engine was built" in text
    written = json.loads((tmp_path / "out" / "report.json").read_text())
    assert written["model"] == path and written["experimental"] and not written["engine_built"]
    assert [op["source"] for op in written["operators"] if op["verdict"] == "rejected"] == [place]


class Scores(SegmentationModel):
    """A model of a user's, with one operator that TensorRT rejects."""

    def __init__(self):
        super().__init__()
        self.convolution = paddle.nn.Conv2D(3, 2, 3, stride=2, padding=1)

    def low_resolution_logits(self, x):
        return [self.normalised(self.convolution(x))]

    def normalised(self, x):
        return paddle.nn.functional.log_softmax(x, axis=1)


@pytest.mark.parametrize("form", ["pdmodel"] if OLD_PADDLE else ["json", "pdmodel"])
def test_exported_models_name_their_lines(form, tmp_path):
    """The report on an ordinary export names lines of the model, and the files contain no path of this machine."""
    folder = export_model(Scores(), str(tmp_path / "model"), PREPROCESSING, (1, 3, 64, 64), format=form)
    ((_, rejected),) = [(op.type, op.source) for op, _ in report(f"{folder}/model.{form}").rejected]
    assert rejected.startswith(line_of("return paddle.nn.functional.log_softmax"))
    for file in os.listdir(folder):
        with open(os.path.join(folder, file), "rb") as f:
            content = f.read()
        for path in (os.path.dirname(os.path.abspath(__file__)), os.path.dirname(paddle.__file__), str(tmp_path)):
            assert path.encode() not in content, file


def test_both_paddles_read_what_2_6_wrote(capsys):
    path = os.path.join(FIXTURES, "put_along_axis.pdmodel")
    assert [op.type for op, _ in report(path).rejected] == ["put_along_axis"]
    assert "test_trt_report.py:" in report(path).rejected[0][0].source


def test_source_line_from_a_call_stack():
    packages = "/usr/lib/python3.9/site-packages"
    stack = [
        '  File "/home/me/export.py", line 7, in <module>',
        f'  File "{packages}/paddle/jit/dy2static/program_translator.py", line 1339, in from_func_spec',
        '  File "/models/net.py", line 12, in forward',
        "    x = self.block(x)",
        f'  File "{packages}/paddle/nn/layer/layers.py", line 1431, in __call__',
        '  File "/models/net.py", line 40, in forward',
    ]
    tail = [f'  File "{packages}/paddle/tensor/manipulation.py", line 2273, in split']
    assert describe(stack + tail) == "net.py:40"
    assert (
        describe([*stack, '  File "/models/tools.py", line 3, in resize', *tail]) == "tools.py:3, called from net.py:40"
    )
    assert describe(stack[:2]) == ""


@pytest.mark.slow
def test_paddlesegs_rtformer(tmp_path):
    """Known to be rejected: adaptive max pooling, and convolutions with filters computed from the image."""
    pytest.importorskip("paddleseg")
    network = zoo.create_model("RTFormer", num_classes=2, base_channels=8, head_channels=8, use_injection=[True, True])
    result = report(export(First(network), tmp_path / "model", (1, 3, 128, 128)))
    if OLD_PADDLE:
        tellers = dict(TELLERS["models"]["PaddleSeg_RTFormer_512"])
        assert tellers.pop("operators") == 258
        assert counted(result) == tellers == {"plugin conv2d": 4, "rejected max_pool2d_with_index": 2}
    else:
        assert counted(result) == {"rejected pd_op.conv2d": 4, "rejected pd_op.max_pool2d_with_index": 2}
    assert all("rtformer.py:" in op.source for op, _ in result.rejected)
    assert len(result.subgraphs) > 1


class First(paddle.nn.Layer):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x)[0]


@pytest.mark.slow
@pytest.mark.parametrize("case", LARGE_CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("size", [128, None])
def test_our_models_have_no_rejected_operator(case, size, tmp_path):
    network = create(case)
    if size is None and network.fixed_size_reason:
        pytest.skip(network.fixed_size_reason)
    result = report(export(First(network), tmp_path / "model", (None, 3, size, size)))
    assert counted(result) == {}
    assert len(result.subgraphs) == 1


@pytest.mark.slow
@pytest.mark.parametrize("case", LARGE_CASES, ids=lambda case: case.name)
def test_names_of_operators_kept_in_fp32_occur_in_the_graph(case, tmp_path):
    """LayerNorm's sums of squares overflow in fp16; it is excluded by name, so the name must be that in the graph."""
    network = create(case)
    kinds = {
        op.type for op in report(export(First(network), tmp_path / "model", (None, 3, 128, 128))).program.operators
    }
    normalises = any(isinstance(layer, paddle.nn.LayerNorm) for layer in network.sublayers())
    assert normalises or case.model not in ("SegFormerPP", "LRFormerSeg")
    prefix = "" if OLD_PADDLE else "pd_op."
    assert all((prefix + op in kinds) is normalises for op in FP32_OPS)


def test_tellers_rejected_no_operator_of_our_full_size_models():
    ours = {name: entry for name, entry in TELLERS["models"].items() if not name.startswith("PaddleSeg")}
    assert {name.partition("_")[0] for name in ours} == {"RTFormer", "SegFormerPP", "LRFormerSeg"}
    assert all(set(entry) == {"operators"} for entry in ours.values())


def test_tensorrt_10(tmp_path):
    """Most converters of Paddle 3 support TensorRT 8 only."""
    if OLD_PADDLE:
        pytest.skip("Paddle 2.6 does not write json")
    path = export(Case(CASES["bmm"]), tmp_path / "model", (None, 8, 12, 16))
    assert counted(report(path, tensorrt="8.6")) == {}
    assert "rejected pd_op.bmm" in counted(report(path, tensorrt="10.5"))
    assert counted(report(path, tensorrt="10.8")) == {}


@pytest.mark.skipif(OLD_PADDLE, reason="Paddle 2.6 does not write json")
@pytest.mark.parametrize(
    ("name", "rejected"),
    [
        ("stack", {"rejected pd_op.stack": 1}),
        ("arange to a tensor", {"rejected pd_op.arange": 1}),
        ("arange", {}),  # of constants: computed in advance
        ("layer_norm without weight", {"rejected pd_op.layer_norm": 1}),
    ],
)
def test_tensorrt_10_8_refuses_mixed_integers(name, rejected, tmp_path):
    path = export(Case(CASES[name]), tmp_path / "model", (None, 8, 12, 16))
    result = report(path, tensorrt="10.8")
    assert counted(result) == rejected
    if "arange" in name or name == "stack":
        assert all("Paddle issue 79319" in verdict.reason for _, verdict in result.rejected)
        assert counted(report(path)) == {}


def test_paddle_3_is_marked_as_unreliable(tmp_path):
    """In the text and in the JSON; Paddle 2.6, which cuts a pdmodel into engines by itself, is not."""
    old = report(os.path.join(FIXTURES, "put_along_axis.pdmodel"))
    assert "unreliable" not in as_text(old) and as_dict(old)["note"] == ""
    if not OLD_PADDLE:
        new = report(export(Case(CASES["bmm"]), tmp_path / "model", (None, 8, 12, 16)))
        for told in (as_text(new), as_dict(new)["note"]):
            assert "unreliable" in told and "79449" in told and "79319" in told


def graph(*sources):
    """Operators that read the outputs of earlier ones, given by index."""
    operators = []
    for i, read in enumerate(sources):
        inputs = [next(operators[source].writes) for source in read]
        operator = Operator("op", {"X": inputs}, {"Y": [Tensor(str(i), (), "float32")]}, {})
        next(operator.writes).producer = operator
        operators.append(operator)
    return operators


def test_a_rejected_operator_splits_the_graph():
    # 0 -> 1 -> 2 -> 3, and 0 -> 3: with 1 outside, an engine of 0 and 3 would wait for 1, which waits for 0.
    operators = graph([], [0], [1], [0, 2])
    assert cut(operators, {0, 1, 2, 3}, set()) == [[0, 1, 2, 3]]
    assert cut(operators, {0, 2, 3}, set()) == [[0], [2, 3]]
    assert cut(operators, {1, 2, 3}, {0}) == [[1, 2, 3]]
    # A branch that nothing depends on does not split the graph.
    assert cut(graph([], [0], [0], [2]), {0, 2, 3}, set()) == [[0, 2, 3]]


@pytest.mark.parametrize("seed", range(20))
def test_engines_never_wait_for_each_other(seed):
    choose = random.Random(seed)
    operators = graph(*(choose.sample(range(i), min(i, choose.randint(0, 3))) for i in range(30)))
    inside = {i for i in range(30) if choose.random() < 0.7}
    groups = cut(operators, inside, set())
    assert sorted(i for group in groups for i in group) == sorted(inside)

    groups += [[i] for i in range(30) if i not in inside]
    group_of = {i: n for n, group in enumerate(groups) for i in group}
    waits = {
        n: {group_of[int(t.name)] for i in group for t in operators[i].reads} - {n} for n, group in enumerate(groups)
    }
    done = set()
    while len(done) < len(groups):  # run the groups whose inputs are ready
        ready = {n for n, others in waits.items() if n not in done and others <= done}
        assert ready
        done |= ready


def damaged(tmp_path, content, name="model." + FORM):
    (tmp_path / name).write_bytes(content)
    return str(tmp_path / name)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_damaged_model(share, tmp_path, monkeypatch, capsys):
    with open(export(BestScores(), tmp_path / "whole"), "rb") as f:
        content = f.read()
    path = damaged(tmp_path, content[: int(share * len(content))])
    monkeypatch.setattr("sys.argv", ["trt_report", "--model", path])
    with pytest.raises(SystemExit) as exit:
        run(trt_report.parser, trt_report.main)
    assert exit.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("error: ") and "which is damaged" in lines[-1]


@pytest.mark.parametrize("content", [b"{}", b"[1]", b"null", b'{"base_code": {"magic": "pir"}}', b"\x80\x00"])
def test_another_kind_of_json(content, tmp_path):
    with pytest.raises(InputError, match="which is damaged"):
        report(damaged(tmp_path, content, "model.json"))


def test_bad_input(tmp_path):
    with pytest.raises(InputError, match="with none"):
        report(str(tmp_path))
    with pytest.raises(InputError, match="export a model first"):
        report(str(tmp_path / "model.onnx"))
    path = os.path.join(FIXTURES, "put_along_axis.pdmodel")
    with pytest.raises(InputError, match="--format json"):
        report(path, paddle="3.x")
    with pytest.raises(InputError, match=r"TensorRT 8\.5 or 8\.6 for Paddle 2\.6, got 10\.5"):
        report(path, tensorrt="10.5")
    for name in "ab":
        with open(path, "rb") as f:
            damaged(tmp_path, f.read(), f"{name}.pdmodel")
    with pytest.raises(InputError, match=r"a\.pdmodel, b\.pdmodel"):
        report(str(tmp_path))
