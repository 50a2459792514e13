"""Every loss fails without its patch, and equals NumPy's result with it."""

import numpy as np
import paddle
import pytest
from paddleseg.models import losses

from paddle_rtseg.compat.patch import paddle_version

C, H, W = 4, 6, 8


def example(seed=0):
    """Logits (2, C, H, W) and labels (2, H, W), a seventh of which are ignored."""
    random = np.random.default_rng(seed)
    label = random.integers(0, C, (2, H, W))
    label[random.random((2, H, W)) < 1 / 7] = 255
    return random.standard_normal((2, C, H, W)).astype("float32"), label


def tensors(logit, label):
    logit = paddle.to_tensor(logit)
    logit.stop_gradient = False
    return logit, paddle.to_tensor(label)


def softmax(logit):
    e = np.exp(logit - logit.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def pick(x, label):
    """(B, C, H, W) -> (B, H, W): the channel that the label names, the first where it is ignored."""
    index = np.where(label == 255, 0, label)[:, None]
    return np.take_along_axis(x, index, axis=1)[:, 0]


def one_hot(label):
    """(B, H, W) -> (B, C, H, W), zero where ignored."""
    return (label[:, None] == np.arange(C)[:, None, None]).astype("float32")


def assert_trains(loss, logit, expected):
    np.testing.assert_allclose(float(loss), expected, rtol=1e-4)
    loss.backward()
    gradient = logit.grad.numpy()
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0


@pytest.fixture
def fails(without):
    """``fails(name, error, call)``: without the patch, where it is needed, the call raises the error."""

    def check(name, error, call):
        with without(name):
            if paddle_version() >= (3, 0) or error is not TypeError:
                with pytest.raises(error):
                    call()
            else:
                call()

    return check


@pytest.mark.parametrize("weight", [None, [0.5, 1.0, 2.0, 0.1]])
def test_cross_entropy(fails, weight):
    logit_np, label_np = example()
    loss = losses.CrossEntropyLoss(weight=weight)
    fails("cross-entropy types", TypeError, lambda: loss(*tensors(logit_np, label_np)))

    valid = label_np != 255
    weights = np.where(valid, np.array(weight or [1.0] * C)[np.where(valid, label_np, 0)], 0)
    expected = (weights * -np.log(pick(softmax(logit_np), label_np))).sum() / weights.sum()
    logit, label = tensors(logit_np, label_np)
    assert_trains(loss(logit, label), logit, expected)


def test_distilling_cross_entropy(fails):
    logit_np, label_np = example()
    teacher_np, _ = example(seed=1)
    loss = losses.DistillCrossEntropyLoss()
    teacher = paddle.to_tensor(teacher_np)

    def call():
        logit, label = tensors(logit_np, label_np)
        return loss(logit, teacher, label), logit

    fails("cross-entropy types", TypeError, call)
    valid = label_np != 255
    expected = -(softmax(teacher_np) * np.log(softmax(logit_np))).sum(1)[valid].mean()
    assert_trains(*call(), expected)


def test_cross_entropy_weight_over_all_pixels(fails):
    logit_np, label_np = example()
    weight = np.array([0.5, 1.0, 2.0, 0.1])
    loss = losses.CrossEntropyLoss(weight=weight, avg_non_ignore=False)
    fails("cross-entropy weight over all pixels", Exception, lambda: loss(*tensors(logit_np, label_np)))

    valid = label_np != 255
    weights = np.where(valid, weight[np.where(valid, label_np, 0)], 0)
    expected = (weights * -np.log(pick(softmax(logit_np), label_np))).mean()
    logit, label = tensors(logit_np, label_np)
    assert_trains(loss(logit, label), logit, expected)


def hardest(logit, label, thresh, min_kept):
    """Mean cross-entropy of the pixels that online hard example mining keeps."""
    valid = label != 255
    probability = pick(softmax(logit), label)
    threshold = max(thresh, np.sort(probability[valid])[min_kept - 1])
    return -np.log(probability[valid & (probability < threshold)]).mean()


def test_ohem(fails):
    logit_np, label_np = example()
    loss = losses.OhemCrossEntropyLoss(thresh=0.2, min_kept=30)
    fails("OHEM types", TypeError, lambda: loss(*tensors(logit_np, label_np)))

    logit, label = tensors(logit_np, label_np)
    assert_trains(loss(logit, label), logit, hardest(logit_np, label_np, 0.2, 30))


def test_ohem_edge(fails):
    logit_np, label_np = example()
    edge_np = np.random.default_rng(2).random((2, 1, H, W)).astype("float32")
    loss = losses.OhemEdgeAttentionLoss(edge_threshold=0.4, thresh=0.2, min_kept=20)

    def call():
        logit, label = tensors(logit_np, label_np)
        return loss([logit, paddle.to_tensor(edge_np)], label), logit

    fails("OHEM edge types", TypeError, call)
    on_edge = np.where(edge_np[:, 0] > 0.4, label_np, 255)
    assert_trains(*call(), hardest(logit_np, on_edge, 0.2, 20))


def test_dice_does_not_change_labels(without):
    logit_np, label_np = example()
    loss = losses.DiceLoss()
    with without("Dice labels"):
        logit, label = tensors(logit_np, label_np)
        loss(logit, label)
        assert (label.numpy() != label_np).any()

    logit, label = tensors(logit_np, label_np)
    value = loss(logit, label)
    np.testing.assert_array_equal(label.numpy(), label_np)
    probability, hot = softmax(logit_np) * (label_np != 255)[:, None], one_hot(label_np)
    overlap, size = (probability * hot).sum((2, 3)), (probability + hot).sum((2, 3))
    assert_trains(value, logit, (1 - (2 * overlap + 1) / (size + 1)).mean())


def test_cross_entropy_and_dice_together():
    logit_np, label_np = example()
    logit, label = tensors(logit_np, label_np)
    parts = [losses.CrossEntropyLoss(), losses.DiceLoss(), losses.CrossEntropyLoss()]
    values = losses.MixedLoss(parts, [1, 2, 1])(logit, label)
    alone = [float(part(*tensors(logit_np, label_np))) for part in parts]
    np.testing.assert_allclose([float(value) for value in values], [alone[0], 2 * alone[1], alone[2]], rtol=1e-6)
    assert_trains(sum(values), logit, alone[0] + 2 * alone[1] + alone[2])


def test_rmi(fails):
    random = np.random.default_rng(0)
    logit_np = random.standard_normal((2, C, 24, 24)).astype("float32")
    label_np = random.integers(0, C, (2, 24, 24))
    label_np[:, 3:6] = 255
    loss = losses.RMILoss(num_classes=C)
    fails("RMI types", TypeError, lambda: loss(*tensors(logit_np, label_np)))

    valid = (label_np != 255)[:, None]
    probability = valid / (1 + np.exp(-logit_np)) + 1e-6
    expected = loss.rmi_lower_bound(*map(paddle.to_tensor, (one_hot(label_np), probability.astype("float32"))))
    logit, label = tensors(logit_np, label_np)
    assert_trains(loss(logit, label), logit, float(expected))


def test_dual_task(fails):
    random = np.random.default_rng(0)
    logit_np = random.standard_normal((2, C, 24, 24)).astype("float32")
    label_np = random.integers(0, C, (2, 24, 24))
    label_np[:, 3:6] = 255
    loss = losses.DualTaskLoss()
    fails("DualTask types", TypeError, lambda: loss(*tensors(logit_np, label_np)))

    valid = (label_np != 255)[:, None]
    paddle.seed(7)
    sample = loss._gumbel_softmax_sample(paddle.to_tensor((logit_np * valid).astype("float32")), tau=0.5)
    ours = loss.compute_grad_mag(sample).numpy()
    theirs = loss.compute_grad_mag(paddle.to_tensor(one_hot(np.where(valid[:, 0], label_np, 0)))).numpy()
    difference = np.abs(ours - theirs) * valid
    expected = sum(0.5 * difference[edge > 1e-8].sum() / (edge > 1e-8).sum() for edge in (ours, theirs))
    paddle.seed(7)
    logit, label = tensors(logit_np, label_np)
    assert_trains(loss(logit, label), logit, expected)


def test_relax_boundary(without):
    logit_np, label_np = (x[:1] for x in example())  # with several images, PaddleSeg mixes up the weights of borders
    loss = losses.RelaxBoundaryLoss(border=1)
    with without("RelaxBoundary types"):
        logit, label = tensors(logit_np, label_np)
        if paddle_version() >= (3, 0):
            with pytest.raises(TypeError):
                loss(logit, label)
        else:
            loss(logit, label).backward()
            assert np.abs(logit.grad.numpy()).max() == 0

    around = np.pad(one_hot(label_np), [(0, 0), (0, 0), (1, 1), (1, 1)])
    allowed = np.max([around[:, :, y : y + H, x : x + W] for y in range(3) for x in range(3)], axis=0)
    scored = allowed.any(1)
    agreement = np.where(scored, (softmax(logit_np) * allowed).sum(1), 1)
    expected = (-np.log(agreement).sum((1, 2)) / (scored.sum((1, 2)) + 1)).sum()
    logit, label = tensors(logit_np, label_np)
    assert_trains(loss(logit, label), logit, expected)
