"""What patched functions call: the profiler, the checks before the first step, evaluation, the exported program."""

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
        InputError: there is no batch, or no iteration left to do, or the processes have not resumed the same one.
    """
    if batch_sampler.nranks > 1:
        import paddle

        starts = []
        paddle.distributed.all_gather(starts, paddle.to_tensor([start_iter]))
        starts = [int(start) for start in starts]
        if len(set(starts)) > 1:
            raise InputError(
                f"expected all processes to resume from the same iteration, got {starts}; "
                "put --save_dir where all machines find it"
            )
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


def evaluate_alike(model, *args, **kwargs):
    """PaddleSeg's ``evaluate``, of the first process's network in all processes.

    They share the parameters, but not the BatchNorm statistics unless the layers synchronise them.
    """
    import paddle
    from paddleseg.core import evaluate

    if paddle.distributed.get_world_size() > 1:
        for tensor in model.state_dict().values():
            if tensor.stop_gradient:  # statistics; Paddle counts them among the parameters
                paddle.distributed.broadcast(tensor, src=0)
    return evaluate(model, *args, **kwargs)


def is_repeated(field) -> bool:
    """Whether a protobuf field is a list, for any protobuf."""
    return field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED


def program_file(*parts: str) -> str:
    """The path that ``parts`` join to, or the ``.json`` beside it where only that exists: Paddle 3's own format."""
    path = os.path.join(*parts)
    json_path = os.path.splitext(path)[0] + ".json"
    return json_path if not os.path.exists(path) and os.path.exists(json_path) else path
