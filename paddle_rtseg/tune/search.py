"""The search itself: which candidate meets the goal best, with as few measurements as that takes.

Nothing is measured here: a function gives the milliseconds of a candidate, another its pixel counts on some of the
frames that it is chosen by. What is left out, and why that does not lose the winner:

Backends
    In one precision all backends compute the same masks up to rounding, so only the fastest of them can win. Those that
    take more than :data:`RATIO_MARGIN` times as long as the fastest of their precision for the original are not tried
    with other networks. INT8 is rounded in another way by each backend, so there each of them can win; where it gains
    less for the original than an export asks for (:data:`.export.int8.MIN_GAIN`), it is not tried with other networks
    either.
Forecasts
    Each network, that is a merging and a size, is timed in the original's setting. In another setting it is expected to
    take as many times as long, or as short, as the original does. A candidate is timed only if this forecast leaves it
    a chance to win, were it wrong by :data:`RATIO_MARGIN`: that merging or another size changes the ratio of two
    settings by no more than that is the only assumption about networks.
Sizes
    A larger input takes longer. A network that is too slow for the goal (a budget; or the original, where that has the
    mean IoU that was asked for) in every setting, by its forecasts, rules out larger inputs with the same merging.
Order
    For a least mean IoU, candidates are scored from the fastest on, and the first that reaches it wins: no other order
    needs fewer, because all that are faster have to be ruled out in any. For a budget, all within it are scored, the
    slowest first: these tend to be the most accurate, and a good leader rules out others early.
Frames
    A candidate is scored on growing numbers of frames, and dropped as soon as it is worse than the leader, or further
    behind the original than the mean IoU that was asked for, by more than :data:`SURE` standard errors of the
    difference on the frames seen; see :func:`hopeless`. The frames come in random order: those seen are a simple random
    sample of all, so that this also holds for the frames of a video. A normal estimate is wrong by that much once in
    30,000 times, and Student's t of 16 frames once in 1,700.
Precision
    For a least mean IoU, a network is scored in the original's precision first. If it is dropped there, or misses the
    mean IoU by more than :data:`ROUNDING`, no other precision is tried. That rounding makes up for no more than that is
    an assumption; where it is wrong, a slower network with that mean IoU wins.
"""

import functools
import heapq
from dataclasses import dataclass, field
from typing import Callable, Dict, Iterable, List, Optional, Sequence, Tuple, Union

import numpy as np
from rtseg_inference.contract import INT8

from ..errors import InputError
from ..export.int8 import MIN_GAIN
from .accuracy import Counts, difference, labelled_classes, mean_iou
from .candidates import Candidate, Network, Setting

RATIO_MARGIN = 1.25
SURE = 4.0  #: standard errors
LEAST_FRAMES = 16  #: before a candidate is dropped
ROUNDING = 0.001  #: of mean IoU, by which one precision may be better than another


@dataclass(frozen=True)
class Budget:
    """The best mean IoU in at most this time."""

    milliseconds: float

    def floor(self, original: float) -> float:
        """The least mean IoU, for an original with this one."""
        return 0.0

    def __str__(self) -> str:
        return f"at most {self.milliseconds:g} ms"


@dataclass(frozen=True)
class Floor:
    """The least time with at least this mean IoU."""

    mean_iou: float

    def floor(self, original: float) -> float:
        return self.mean_iou

    def missed_by(self, counts: Counts, original: Counts, places: Sequence[int]) -> float:
        """By how much pixel counts on all frames have less."""
        return self.mean_iou - mean_iou(counts)

    def __str__(self) -> str:
        return f"a mean IoU of at least {100 * self.mean_iou:.4g} %"


@dataclass(frozen=True)
class Drop:
    """The least time with at most so much less mean IoU than the original has.

    Of many candidates, some lose little by luck, so the whole 95 % interval of the difference has to be above that.
    """

    points: float  #: hundredths

    def floor(self, original: float) -> float:
        return original - self.points / 100

    def missed_by(self, counts: Counts, original: Counts, places: Sequence[int]) -> float:
        """By how much pixel counts on all frames, at these places of their list, may have lost more than that."""
        return -self.points / 100 - difference(counts, original, places).low

    def __str__(self) -> str:
        return f"a mean IoU at most {self.points:g} points below the original's"


Goal = Union[Budget, Floor, Drop]


@dataclass(eq=False)
class Row:
    """What is known of a candidate."""

    candidate: Candidate
    milliseconds: float = float("inf")  #: infinite if it was not timed, or does not run
    counts: Optional[Counts] = field(default=None, repr=False)  #: of the frames that it was scored on
    note: str = ""  #: why it was not timed, or not scored on all frames

    @property
    def timed(self) -> bool:
        return self.milliseconds < float("inf")

    @property
    def masks(self) -> Tuple[str, float, str]:
        """The same for rows whose masks are equal up to rounding."""
        return (*self.candidate.network, self.candidate.setting.arithmetic)

    @property
    def mean_iou(self) -> float:
        """On the frames that it was scored on."""
        assert self.counts is not None
        return mean_iou(self.counts)


@dataclass(frozen=True)
class Measures:
    """Where the figures come from."""

    cost: Callable[[Candidate], float]  #: milliseconds; raises InputError for what does not run
    counts: Callable[[Candidate, int, int], Counts]  #: of the frames from the first number to before the second
    places: Sequence[int]  #: of these frames in the list that they come from
    classes: int  #: that are labelled in these
    progress: Callable[[str, int, int], None] = lambda phase, done, total: None

    @property
    def frames(self) -> int:
        """How many frames candidates are chosen by."""
        return len(self.places)


@dataclass(frozen=True)
class Outcome:
    """What a search found."""

    winner: Optional[Row]  #: None if nothing meets the goal
    nearest: Row  #: the winner, or what comes closest
    rows: List[Row]  #: of all candidates


def search(candidates: Sequence[Candidate], original: Candidate, goal: Goal, measures: Measures) -> Outcome:
    """The best of the candidates.

    Args:
        candidates: any combinations of mergings, scales and settings.
        original: the network as it is, in its fastest setting.

    Raises:
        InputError: the original does not run.
    """
    rows = {candidate: Row(candidate) for candidate in [original, *candidates]}
    rows[original].counts = measures.counts(original, 0, measures.frames)
    forecasts = _forecast(rows, original, goal, measures)
    find = _most_accurate if isinstance(goal, Budget) else _first_above
    winner = find(rows, forecasts, goal, measures, rows[original])
    return Outcome(winner, winner or _nearest(rows.values(), goal), list(rows.values()))


# --- Time


def _forecast(
    rows: Dict[Candidate, Row], original: Candidate, goal: Goal, measures: Measures
) -> Dict[Candidate, float]:
    """Time the original in all settings and each network in the original's.

    Returns:
        Milliseconds expected of the other candidates, but those that cannot win; 0 where nothing is known.
    """
    first = [row for candidate, row in rows.items() if candidate.network == original.network]
    for row in first:
        _time_one(row, measures)
    left_out = _slow_settings(first)
    factors = {
        row.candidate.setting: row.milliseconds / rows[original].milliseconds
        for row in first
        if row.candidate.setting not in left_out
    }
    limit = RATIO_MARGIN * _limit(goal, rows[original])
    settings = {candidate.setting for candidate in rows}
    networks: Dict[Network, List[Candidate]] = {}
    for candidate in rows.keys() - {row.candidate for row in first}:
        networks.setdefault(candidate.network, []).append(candidate)
    forecasts: Dict[Candidate, float] = {}
    too_slow: Dict[str, float] = {}  # scale by merging
    for done, network in enumerate(sorted(networks)):
        measures.progress("timing", done, len(networks))
        notes = dict(left_out)
        if network.merging in too_slow:
            notes = dict.fromkeys(settings, f"too slow at a scale of {too_slow[network.merging]:g} already")
        row = rows[Candidate(*network, *original.setting)]
        if original.setting not in notes:
            _time_one(row, measures)
        for candidate in networks[network]:
            if candidate.setting in notes:
                rows[candidate].note = notes[candidate.setting]
            elif candidate is not row.candidate:
                forecasts[candidate] = row.milliseconds * factors[candidate.setting] if row.timed else 0.0
        if row.timed and row.milliseconds * min(factors.values()) > limit:
            too_slow[network.merging] = network.scale
    measures.progress("timing", len(networks), len(networks))
    return forecasts


def _time_one(row: Row, measures: Measures) -> None:
    try:
        row.milliseconds = measures.cost(row.candidate)
    except InputError as e:
        row.note = f"does not run: {e}"


def _slow_settings(rows: Sequence[Row]) -> Dict[Setting, str]:
    """Settings that are not tried with other networks, and why, judging by these rows of the original."""
    least: Dict[str, float] = {}
    for row in rows:
        arithmetic = row.candidate.setting.arithmetic
        least[arithmetic] = min(row.milliseconds, least.get(arithmetic, float("inf")))
    found = {}
    for row in rows:
        backend, precision = setting = row.candidate.setting
        if not row.timed:
            found[setting] = f"{backend} does not run the original in {precision}"
        elif row.milliseconds > RATIO_MARGIN * least[setting.arithmetic]:
            found[setting] = f"{backend} is too slow for the original"
        elif precision == INT8 and MIN_GAIN * row.milliseconds > least.get("fp32", float("inf")):
            found[setting] = f"the original is not {MIN_GAIN:g} times as fast as in fp32"
    return found


def _limit(goal: Goal, original: Row) -> float:
    """Milliseconds beyond which nothing can win."""
    if isinstance(goal, Budget):
        return goal.milliseconds
    return original.milliseconds if original.mean_iou >= goal.floor(original.mean_iou) else float("inf")


def _fastest_of_equal_masks(rows: Sequence[Row]) -> List[Row]:
    """The timed rows, from the fastest on, one of those that differ in their backend alone."""
    kept: Dict[Tuple[str, float, str], Row] = {}
    for row in sorted((row for row in rows if row.timed), key=lambda row: (row.milliseconds, row.candidate)):
        first = kept.setdefault(row.masks, row)
        if first is not row:
            row.note = f"{first.candidate.backend} is faster"
    return list(kept.values())


# --- Accuracy


def _most_accurate(
    rows: Dict[Candidate, Row], forecasts: Dict[Candidate, float], goal: Budget, measures: Measures, original: Row
) -> Optional[Row]:
    """The row with the best mean IoU within the budget, the faster one of two that are equal."""
    limit = RATIO_MARGIN * max(goal.milliseconds, min(forecasts.values(), default=0.0))  # what is fastest, in any case
    for done, (candidate, forecast) in enumerate(forecasts.items()):
        measures.progress("timing settings", done, len(forecasts))
        if forecast <= limit:
            _time_one(rows[candidate], measures)
        else:
            rows[candidate].note = f"over the budget: about {forecast:.0f} ms are to be expected"
    measures.progress("timing settings", len(forecasts), len(forecasts))
    within = []
    for row in _fastest_of_equal_masks(list(rows.values())):
        if row.milliseconds <= goal.milliseconds:
            within.insert(0, row)
        else:
            row.note = "over the budget"
    leader: Optional[Row] = None
    for done, row in enumerate(within):
        measures.progress("scoring", done, len(within))
        lead = 0.0 if leader else float("inf")
        if _score(row, measures, (leader or original).counts, lead) and (
            leader is None or row.mean_iou >= leader.mean_iou
        ):
            leader = row
    measures.progress("scoring", len(within), len(within))
    return leader


def _first_above(
    rows: Dict[Candidate, Row],
    forecasts: Dict[Candidate, float],
    goal: Union[Floor, Drop],
    measures: Measures,
    original: Row,
) -> Optional[Row]:
    """The first of the rows, in the order of time, that has the mean IoU; rows are timed when their turn is near."""
    winner: Optional[Row] = None
    lead, setting = original.mean_iou - goal.floor(original.mean_iou), original.candidate.setting
    timed = [(row.milliseconds, candidate) for candidate, row in rows.items() if row.timed]
    heapq.heapify(timed)
    waiting = sorted(forecasts, key=lambda c: (forecasts[c], c), reverse=True)
    scored: Dict[Tuple[str, float, str], Row] = {}
    missed: Dict[Network, str] = {}  # why no precision can help a network
    total = len(timed) + len(waiting)

    @functools.cache
    def missed_by(row: Row) -> float:
        dropped = not _score(row, measures, original.counts, lead)
        by = float("inf") if dropped else goal.missed_by(row.counts, original.counts, measures.places)
        if by > 0:
            row.note = row.note or "not as good as was asked for"
        if by > ROUNDING:
            missed[row.candidate.network] = f"{row.candidate.precision} was {row.note}"
        return by

    while winner is None and (timed or waiting):
        measures.progress("searching", total - len(timed) - len(waiting), total)
        is_timed = not waiting or (timed and forecasts[waiting[-1]] > RATIO_MARGIN * timed[0][0])
        row = rows[heapq.heappop(timed)[1] if is_timed else waiting.pop()]
        network = row.candidate.network
        reference = rows[Candidate(*network, *setting)]
        first = scored.setdefault(row.masks, row) if is_timed else row
        if first is not row:
            row.note = f"{first.candidate.backend} is faster"
        elif row.note or (network in missed and row is not reference):
            row.note = row.note or missed[network]
        elif is_timed:
            if missed_by(row) <= 0:
                winner = row
        elif reference.timed and missed_by(reference) > ROUNDING:
            row.note = missed[network]
        else:
            _time_one(row, measures)
            if row.timed:
                heapq.heappush(timed, (row.milliseconds, row.candidate))
    for _, candidate in timed:
        rows[candidate].note = rows[candidate].note or "slower than the winner"
    for candidate in waiting:
        rows[candidate].note = f"slower than the winner: about {forecasts[candidate]:.0f} ms are to be expected"
    measures.progress("searching", total, total)
    return winner


def _score(row: Row, measures: Measures, reference: Counts, lead: float) -> bool:
    """Score a row on all frames, or drop it on the way; whether it was not dropped.

    Args:
        reference, lead: see :func:`hopeless`; the counts of all frames.
    """
    for rung in rungs(measures.frames):
        seen = 0 if row.counts is None else len(row.counts)
        if row.note or seen >= rung:
            continue
        more = measures.counts(row.candidate, seen, rung)
        row.counts = more if row.counts is None else np.concatenate([row.counts, more])
        if rung < measures.frames and hopeless(row.counts, reference[:rung], lead, measures.classes):
            row.note = f"dropped after {rung} of {measures.frames} frames"
    return not row.note


def rungs(frames: int) -> List[int]:
    """After how many frames a candidate may be dropped: an eighth, a quarter and a half of all; and all."""
    parts = (-(-frames // part) for part in (8, 4, 2))
    return [*(part for part in parts if LEAST_FRAMES <= part < frames), frames]


def hopeless(counts: Counts, reference: Counts, lead: float, classes: int) -> bool:
    """Whether a candidate will be further behind a reference than it may, on all frames, judging by those seen.

    On the classes labelled in the frames seen, it may turn out to be better than it looks by :data:`SURE` standard
    errors of the difference. The other classes may have any IoU: each may add all that a class counts.

    Args:
        counts: of the candidate on the frames seen.
        reference: of the leader, or of the original, on the same.
        lead: by how much the reference is better than it has to be, in mean IoU: 0 for a leader.
        classes: that are labelled in all frames.
    """
    found, seen = difference(counts, reference), labelled_classes(counts)
    return (seen * (found.value + SURE * found.error) + (classes - seen)) / classes + lead < 0


def _nearest(rows: Iterable[Row], goal: Goal) -> Row:
    """What comes closest to a goal that nothing meets: the fastest, or the most accurate as far as they were scored."""
    if isinstance(goal, Budget):
        return min(rows, key=lambda row: (row.milliseconds, row.candidate))
    return max((row for row in rows if row.counts is not None), key=lambda row: row.mean_iou)
