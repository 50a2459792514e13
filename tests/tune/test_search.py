"""The search on made problems: it finds what trying everything finds, and measures less."""

import numpy as np
import pytest
from comparing import zip_strict

from paddle_rtseg.errors import InputError
from paddle_rtseg.tune.accuracy import labelled_classes, mean_iou
from paddle_rtseg.tune.candidates import Candidate, Setting, combinations
from paddle_rtseg.tune.search import SURE, Budget, Drop, Floor, Measures, hopeless, rungs, search

FRAMES, CLASSES, LABELLED = 64, 5, 1000
MERGINGS = ("none", "hq", "fast", "2x2", "2x1", "4x4")
SCALES = (0.5, 0.75, 1.0, 1.25)
SETTINGS = tuple(Setting(*text.split()) for text in ("slow fp32", "a fp32", "b fp32", "a bf16", "a int8", "b int8"))
ORIGINAL = Candidate("none", 1.0, "a", "fp32")
ALL = combinations(MERGINGS, SCALES, SETTINGS)


class Problem:
    """Times and pixel counts of every candidate, from a seed."""

    def __init__(self, seed):
        random = np.random.default_rng(seed)
        merging = dict(zip_strict(MERGINGS, [1.0, *random.uniform(0.4, 0.95, len(MERGINGS) - 1)]))
        setting = dict(zip_strict(SETTINGS, [2.5, 1.0, 1.1, random.uniform(0.5, 1), *random.uniform(0.3, 0.85, 2)]))
        self.times = {
            c: 100 * merging[c.merging] * c.scale**2 * setting[c.setting] * random.uniform(0.98, 1.02) for c in ALL
        }
        hard = random.uniform(-0.2, 0.2, (FRAMES, CLASSES))  # frames are hard for all candidates alike
        network = {n: random.normal(0, 0.02) for n in dict.fromkeys(c.network for c in ALL)}
        self.found = {}
        frames = {n: random.normal(0, 0.03, hard.shape) for n in network}
        for key in dict.fromkeys((c.network, c.setting.arithmetic) for c in ALL):
            quality = 0.4 + 0.3 * min(1, key[0].scale) + network[key[0]] + frames[key[0]] + hard
            rounding = random.normal(0, 0.0003) + random.normal(0, 0.003, hard.shape)
            self.found[key] = np.clip(quality + rounding, 0, 1)
        self.timed, self.scored = [], []

    def cost(self, candidate):
        self.timed.append(candidate)
        return self.times[candidate]

    def counts(self, candidate, first, last):
        self.scored += [(candidate, frame) for frame in range(first, last)]
        found = np.rint(LABELLED * self.found[candidate.network, candidate.setting.arithmetic][first:last]).astype(
            np.int64
        )
        return np.stack([found, found, np.full_like(found, LABELLED)], axis=1)

    def all_counts(self, candidate):
        return Problem.counts(self, candidate, 0, FRAMES)

    def mean_iou(self, candidate):
        return mean_iou(self.all_counts(candidate))

    def search(self, goal, candidates=ALL):
        self.timed, self.scored = [], []
        return search(candidates, ORIGINAL, goal, Measures(self.cost, self.counts, range(FRAMES), CLASSES))


def best_of_all(problem, goal):
    """What wins if every candidate is timed and scored on all frames."""
    scores = {c: problem.mean_iou(c) for c in ALL}
    if isinstance(goal, Budget):
        within = [c for c in ALL if problem.times[c] <= goal.milliseconds]
        return max(within, key=lambda c: (scores[c], -problem.times[c]), default=None)
    original = problem.all_counts(ORIGINAL)
    above = [c for c in ALL if goal.missed_by(problem.all_counts(c), original, range(FRAMES)) <= 0]
    return min(above, key=lambda c: problem.times[c], default=None)


@pytest.mark.parametrize("seed", range(12))
def test_finds_what_trying_everything_finds(seed):
    problem = Problem(seed)
    for goal in (Budget(20), Budget(60), Budget(300), Floor(0.55), Floor(0.63), Drop(0.5)):
        outcome = problem.search(goal)
        assert outcome.winner is not None and outcome.winner.candidate == best_of_all(problem, goal), goal
        assert outcome.nearest is outcome.winner


@pytest.mark.parametrize("goal, share", [(Budget(30), 0.5), (Floor(0.63), 0.5), (Drop(0.5), 0.5)])
def test_measures_less_than_everything(goal, share):
    problem = Problem(3)
    problem.search(goal)
    assert len(problem.timed) == len(set(problem.timed)) < 0.7 * len(ALL)
    assert len(problem.scored) < share * len(ALL) * FRAMES
    assert len(problem.scored) == len(set(problem.scored)), "no frame is scored twice"


def test_what_was_left_out_is_explained():
    rows = [row for goal in (Budget(12), Budget(30), Drop(0.5), Floor(0.65)) for row in Problem(3).search(goal).rows]
    for row in rows:
        complete = row.counts is not None and len(row.counts) == FRAMES
        assert complete or row.note, row
    notes = " ".join(row.note for row in rows)
    for words in ("slow is too slow", "too slow at a scale of", "is faster", "over the budget", "dropped after"):
        assert words in notes
    for words in (
        "fp32 was dropped after",
        "was not as good as was asked for",
        "slower than the winner",
        "ms are to be expected",
    ):
        assert words in notes


def test_int8_that_gains_little_is_not_tried_with_other_networks():
    problem = Problem(3)
    problem.times[Candidate("none", 1.0, "a", "int8")] = 0.95 * problem.times[ORIGINAL]
    outcome = problem.search(Floor(0.55))
    notes = {row.note for row in outcome.rows if row.candidate.setting == ("a", "int8") and not row.timed}
    assert notes == {"the original is not 1.1 times as fast as in fp32"}
    timed = [c for c in problem.timed if c.precision == "int8"]
    assert [c for c in timed if c.backend == "a"] == [Candidate("none", 1.0, "a", "int8")]
    assert len([c for c in timed if c.backend == "b"]) > 2


@pytest.mark.parametrize("goal, nearest", [(Budget(0.1), "fastest"), (Floor(0.99), "most accurate")])
def test_goal_that_nothing_meets(goal, nearest):
    problem = Problem(1)
    outcome = problem.search(goal)
    assert outcome.winner is None
    if nearest == "fastest":
        assert outcome.nearest.candidate == min(set(problem.timed), key=problem.times.get)
    else:
        assert outcome.nearest.mean_iou == max(r.mean_iou for r in outcome.rows if r.counts is not None)


def test_candidates_that_do_not_run():
    problem = Problem(2)
    broken = best_of_all(problem, Budget(60))

    def cost(candidate):
        if candidate == broken:
            raise InputError("it is broken")
        return problem.times[candidate]

    outcome = search(ALL, ORIGINAL, Budget(60), Measures(cost, problem.counts, range(FRAMES), CLASSES))
    row = next(row for row in outcome.rows if row.candidate == broken)
    assert row.note == "does not run: it is broken" and not row.timed
    assert outcome.winner.candidate != broken


def made_counts(quality, frames):
    """(frames, 3, CLASSES) whose IoU is ``quality`` in each frame."""
    found = np.rint(LABELLED * np.broadcast_to(quality, (frames, CLASSES))).astype(np.int64)
    return np.stack([found, found, np.full_like(found, LABELLED)], axis=1)


def test_hopeless():
    noise = np.random.default_rng(0).normal(0, 0.02, (16, CLASSES))
    worse, same, leader = (made_counts(q + noise * k, 16) for q, k in ((0.4, 2), (0.6, 2), (0.6, 1)))
    assert hopeless(worse, leader, 0, CLASSES) and not hopeless(same, leader, 0, CLASSES)
    assert hopeless(worse, leader, 0.1, CLASSES) and not hopeless(worse, leader, 0.2, CLASSES)


def test_classes_that_were_not_seen_may_have_any_iou():
    worse, leader = made_counts(0.5, 16), made_counts(0.6, 16)
    for counts in (worse, leader):
        counts[:, :, -1] = 0
    assert labelled_classes(worse) == CLASSES - 1
    assert not hopeless(worse, leader, 0, CLASSES) and hopeless(worse, leader, 0, CLASSES - 1)


@pytest.mark.parametrize(
    "frames, expected", [(4, [4]), (16, [16]), (32, [16, 32]), (117, [30, 59, 117]), (128, [16, 32, 64, 128])]
)
def test_rungs(frames, expected):
    assert rungs(frames) == expected


def test_dropping_is_rare_where_candidates_are_equal():
    """Of pairs that differ by chance alone, none is dropped: at four standard errors, one of thousands would be."""
    random = np.random.default_rng(5)
    pairs = np.clip(random.normal(0.6, 0.1, (300, 2, 16, CLASSES)), 0, 1)
    dropped = sum(hopeless(*(made_counts(quality, 16) for quality in pair), 0, CLASSES) for pair in pairs)
    assert SURE >= 4 and dropped == 0


GOALS = (Drop(0.5), Drop(3), Floor(0.59))


def test_drop_that_may_be_larger_than_asked_for():
    """A candidate that is 0.3 points worse, but differs from the original by chance from frame to frame."""
    random = np.random.default_rng(1)
    original = made_counts(0.6, FRAMES)
    surely, perhaps = (made_counts(0.597 + random.normal(0, spread, (FRAMES, CLASSES)), FRAMES) for spread in (0, 0.05))
    reached = [goal.missed_by(counts, original, range(FRAMES)) <= 0 for counts in (surely, perhaps) for goal in GOALS]
    assert reached == [True, True, True, False, True, True]


def test_order_of_scoring():
    """For a least mean IoU, what is slower than the winner is scored on all frames in the original's setting only."""
    outcome = Problem(4).search(Drop(0.5))
    complete = [row for row in outcome.rows if row.counts is not None and len(row.counts) == FRAMES]
    assert {row.candidate for row in complete} > {ORIGINAL, outcome.winner.candidate}
    slower = [row.candidate for row in complete if row.milliseconds > outcome.winner.milliseconds]
    assert ORIGINAL in slower and {candidate.setting for candidate in slower} == {ORIGINAL.setting}
