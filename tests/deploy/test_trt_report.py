"""The TensorRT report against the answers of Paddle 2.6.2's own judges, on small graphs and on whole networks."""

import json
import os
import random

import paddle
import pytest
from trt_cases import CASES, build

from paddle_rtseg.deploy import trt_rules, trt_rules_26
from paddle_rtseg.deploy.source_lines import describe, keep_source_lines
from paddle_rtseg.deploy.trt_program import Operator, Tensor, TensorAttribute, parse_pdmodel, read_program
from paddle_rtseg.deploy.trt_rules import cut, fold, report
from paddle_rtseg.errors import InputError
from paddle_rtseg.tools import trt_report
from paddle_rtseg.tools.command import run

FIXTURES = os.path.join(os.path.dirname(__file__), "..", "fixtures")
with open(os.path.join(FIXTURES, "trt_verdicts.json")) as f:
    JUDGES = json.load(f)
OLD_PADDLE = paddle.__version__.startswith("2.")
FORM = "pdmodel" if OLD_PADDLE else "json"


def from_fixture(row):
    """An operator as the judges saw it."""

    def tensors(described):
        return [Tensor("t", tuple(shape or ()), dtype, constant) for shape, dtype, constant in described]

    return Operator(
        row["operator"],
        {slot: tensors(described) for slot, described in row["inputs"].items()},
        {slot: [Tensor("t", (), "float32")] * n for slot, n in row["outputs"].items()},
        {k: TensorAttribute(v["tensor"]) if isinstance(v, dict) else v for k, v in row["attrs"].items()},
    )


def test_the_table_says_what_the_judges_say():
    different = {}
    for row in JUDGES["operators"]:
        verdict = trt_rules_26.judge(from_fixture(row), (8, 5))
        if verdict.kind != row["verdict"]:
            different[json.dumps(row)] = verdict
    assert not different
    assert {row["verdict"] for row in JUDGES["operators"]} == {"accepted", "plugin", "rejected"}
