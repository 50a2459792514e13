"""What mended functions of PaddleSeg call: the profiler, the checks before the first step, the exported program."""

import os

from ..errors import InputError

_profiler = None


def start_profiler(state: str, tracer_option: str) -> None:
    """Start profiling, with the meaning that PaddleSeg's ``profiler_options`` give to the two options.

    Args:
        state: 'CPU', 'GPU' or 'All'.
        tracer_option: 'Default', or 'OpDetail' or 'AllOpDetail' to record the shapes of each operator too.
    """
    from paddle import profiler

    global _profiler
    targets = [target for target in profiler.ProfilerTarget if target.name == state] or None  # None: whatever there is
    _profiler = profiler.Profiler(
        targets=targets,
        record_shapes=tracer_option != "Default",
        on_trace_ready=lambda finished: None,  # else it writes to ./profiler_log besides
    )
    _profiler.start()


def stop_profiler(sorted_key: str, profile_path: str) -> None:
    """Stop profiling, print the table of operators and write the timeline as JSON.

    Args:
        sorted_key: order of the table: 'total', 'max', 'min' or 'ave'; 'calls', which Paddle no longer has, is 'total'.
        profile_path: file of the timeline.
    """
    from paddle import profiler

    keys = {"max": profiler.SortedKeys.CPUMax, "min": profiler.SortedKeys.CPUMin, "ave": profiler.SortedKeys.CPUAvg}
    _profiler.stop()
    _profiler.summary(sorted_by=keys.get(sorted_key, profiler.SortedKeys.CPUTotal))
    _profiler.export(profile_path, format="json")


def count_batches(batch_sampler, start_iter: int, iters: int) -> int:
    """Batches in an epoch.

    Raises:
        InputError: there is no batch, or no iteration left to do.
    """
    if len(batch_sampler) == 0:
        raise InputError(
            f"expected at least one batch of {batch_sampler.batch_size} training images, got "
            f"{len(batch_sampler.dataset)} images; lower the batch size or check the dataset's file list"
        )
    if start_iter >= iters:
        raise InputError(
            f"expected more than {start_iter} iterations, which the resumed checkpoint has behind it, got {iters}; "
            "raise --iters"
        )
    return len(batch_sampler)


def program_file(*parts: str) -> str:
    """The path that ``parts`` join to, or the ``.json`` beside it where only that exists: Paddle 3's own format."""
    path = os.path.join(*parts)
    json_path = os.path.splitext(path)[0] + ".json"
    return json_path if not os.path.exists(path) and os.path.exists(json_path) else path
