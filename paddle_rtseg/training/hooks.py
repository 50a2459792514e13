"""Functions that patched code calls: profiler, checks before the first step, evaluation, downloads, program files."""

import contextlib
import io
import os
import re
from typing import Tuple

from ..errors import InputError
from ..files import atomic_path
from ..weights.limits import quote

_profiler = None
_PROFILER_OPTIONS = ("batch_range", "state", "sorted_key", "tracer_option", "profile_path", "exit_on_finished")


def check_profiler_options(text: str) -> None:
    """Check ``--profiler_options``, which PaddleSeg reads in the first iteration.

    Raises:
        InputError: an unknown option, or a range that is not two iterations in ascending order.
    """
    for item in text.replace(" ", "").split(";"):
        name, equals, value = item.partition("=")
        bounds = re.fullmatch(r"\[?([0-9]{1,9}),([0-9]{1,9})\]?", value)
        wrong_range = name == "batch_range" and not (bounds and int(bounds[1]) < int(bounds[2]))
        if name not in _PROFILER_OPTIONS or not equals or "=" in value or wrong_range:
            raise InputError(
                "expected --profiler_options such as 'batch_range=[10,20];profile_path=FILE', with the options "
                f"{', '.join(_PROFILER_OPTIONS)}, got {quote(item)!r}; correct it"
            )


def start_profiler(state: str, tracer_option: str) -> None:
    """Start profiling; the arguments have the meaning of PaddleSeg's ``profiler_options``.

    Args:
        state: 'CPU', 'GPU' or 'All'.
        tracer_option: 'Default'; 'OpDetail' or 'AllOpDetail' also record the shapes of each operator.
    """
    from paddle import profiler

    global _profiler
    targets = [target for target in profiler.ProfilerTarget if target.name == state] or None  # None: all available
    _profiler = profiler.Profiler(
        targets=targets,
        record_shapes=tracer_option != "Default",
        on_trace_ready=lambda finished: None,  # the default also writes to ./profiler_log
    )
    _profiler.start()


def stop_profiler(sorted_key: str, profile_path: str) -> None:
    """Stop profiling, print a table of operators and write the timeline as JSON.

    Args:
        sorted_key: order of the table: 'total', 'max', 'min' or 'ave'; 'calls', removed from Paddle, means 'total'.
        profile_path: file for the timeline.
    """
    from paddle import profiler

    keys = {"max": profiler.SortedKeys.CPUMax, "min": profiler.SortedKeys.CPUMin, "ave": profiler.SortedKeys.CPUAvg}
    _profiler.stop()
    _profiler.summary(sorted_by=keys.get(sorted_key, profiler.SortedKeys.CPUTotal))
    _profiler.export(profile_path, format="json")


def count_batches(batch_sampler, start_iter: int, iters: int) -> int:
    """Number of batches in an epoch.

    Raises:
        InputError: there are fewer images than a batch, no iterations are left, or the processes resume from different
                iterations.
    """
    if batch_sampler.nranks > 1:
        import paddle

        starts = []
        paddle.distributed.all_gather(starts, paddle.to_tensor([start_iter]))
        starts = [int(start) for start in starts]
        if len(set(starts)) > 1:
            raise InputError(
                f"expected all processes to resume from the same iteration, got {starts}; "
                "put --save_dir on storage that all machines share"
            )
    if len(batch_sampler) == 0:
        raise InputError(
            f"expected at least one batch of {batch_sampler.batch_size} training images, got "
            f"{len(batch_sampler.dataset)} images; lower the batch size or check the dataset's file list"
        )
    if start_iter >= iters:
        raise InputError(
            f"expected more than the {start_iter} iterations that the resumed checkpoint has done, got {iters}; "
            "raise --iters or --epochs"
        )
    return len(batch_sampler)


def evaluate_in_sync(model, dataset, **settings):
    """:func:`evaluate`, with the first process's network in all processes.

    The processes share parameters, but not BatchNorm statistics unless the layers synchronise them.
    """
    import paddle

    if paddle.distributed.get_world_size() > 1:
        for tensor in model.state_dict().values():
            if tensor.stop_gradient:  # BatchNorm statistics, which Paddle keeps as parameters
                paddle.distributed.broadcast(tensor, src=0)
    return evaluate(model, dataset, **settings)


def evaluate(model, dataset, **settings):
    """PaddleSeg's ``evaluate``, or for keypoints :func:`.poses.evaluate`."""
    import paddleseg.core

    from ..data.keypoints import CocoKeypoints
    from . import poses

    if isinstance(dataset, CocoKeypoints):
        return poses.evaluate(model, dataset, **settings)
    return paddleseg.core.evaluate(model, dataset, **settings)


def score_names(dataset) -> Tuple[str, str]:
    """What the first two values of :func:`evaluate` are."""
    from ..data.keypoints import CocoKeypoints

    return ("PCK@0.1", "PCK@0.05") if isinstance(dataset, CocoKeypoints) else ("mIoU", "Acc")


def is_repeated(field) -> bool:
    """Whether a protobuf field is a list, in any version of protobuf."""
    return field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED


def count_flops(*args, **kwargs) -> None:
    """``paddle.flops`` without a line for each kind of layer, of which it does not know ours; the total is printed."""
    import paddle

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        paddle.flops(*args, **kwargs)
    print("".join(line for line in printed.getvalue().splitlines(True) if line.startswith("Total")), end="")


def layer_class(name: str):
    """The layer of ``paddle.nn`` that a config names as "nn.NAME", which PaddleSeg would evaluate as code.

    Raises:
        InputError: there is no such layer.
    """
    from paddle import nn

    found = getattr(nn, name[len("nn.") :], None) if isinstance(name, str) and name.startswith("nn.") else None
    if not (isinstance(found, type) and issubclass(found, nn.Layer)):
        raise InputError(f"expected the name of a layer such as 'nn.LayerNorm' as norm_layer, got {name!r}; correct it")
    return found


def sync_batch_norm(*args, **kwargs):
    """PaddleSeg's batch norm that is synchronised where there are several GPUs, and plain on a CPU."""
    from paddleseg.models.layers import SyncBatchNorm

    return SyncBatchNorm(*args, **kwargs)


def extract_inside(archive, name: str, folder: str) -> None:
    """Extract a file or folder of a :class:`tarfile.TarFile`, which must lie inside ``folder``.

    Raises:
        InputError: it leads elsewhere, or is a link or a device.
    """
    member = archive.getmember(name)
    root = os.path.realpath(folder)
    inside = os.path.commonpath([root, os.path.realpath(os.path.join(root, name))]) == root
    if not inside or not (member.isreg() or member.isdir()):
        raise InputError(
            f"expected an archive of files and folders, got {name[:100]!r}, which leads elsewhere; use another archive"
        )
    archive.extract(member, folder)


def download_whole(download, url: str, path: str, print_progress: bool) -> None:
    """Call PaddleSeg's ``download``; the file appears under ``path`` when it is complete.

    Raises:
        InputError: it cannot be downloaded.
    """
    import requests

    with atomic_path(path) as temporary:
        try:
            download(url, temporary, print_progress)
        except requests.exceptions.RequestException as e:
            raise InputError(
                f"{url} cannot be downloaded ({quote(e)}); download it elsewhere, and name the file or folder in the "
                "config"
            ) from e


def program_file(*parts: str) -> str:
    """The joined path, or the ``.json`` file next to it (Paddle 3's format) if only that exists."""
    path = os.path.join(*parts)
    json_path = os.path.splitext(path)[0] + ".json"
    return json_path if not os.path.exists(path) and os.path.exists(json_path) else path
