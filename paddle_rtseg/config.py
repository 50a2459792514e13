"""PaddleSeg configs, by file or by name, checked before anything is built: mistakes are reported in one sentence."""

import contextlib
from typing import Any, Iterator, Optional, Sequence

import paddle
from paddleseg.cvlibs import Config, SegBuilder
from rtseg_inference import gpu

from .config_checks import check_config, check_mappings
from .config_files import check_keys, find_config, named_configs, override, parse_option, read_config
from .data.dataset_file import use_dataset_file
from .data.layouts import check_files
from .errors import InputError
from .weights import load_weights
from .zoo import construct

__all__ = [
    "Builder",
    "find_config",
    "load_config",
    "load_model",
    "named_configs",
    "reporting",
    "use_data_format",
    "use_device",
]


def load_config(path: Optional[str], opts: Optional[Sequence[str]] = None, **overrides: Any) -> Config:
    """Read a PaddleSeg config and check it.

    Args:
        path: the YAML file, or the name of a bundled config; see :func:`find_config`.
        opts: "key.key=value" for each value to override, in YAML's or Python's notation.
        overrides: learning_rate, batch_size, iters; None keeps the config's.

    Raises:
        InputError: no such file, not YAML, an unknown key, component or argument, or values that do not go together;
            see :mod:`.config_checks`.
    """
    if not path:
        raise InputError("expected a config, got none; name one with --config FILE.yml")
    path = find_config(path)
    values = read_config(path)
    for name, value in overrides.items():
        if value is not None:
            key = "lr_scheduler.learning_rate" if name == "learning_rate" else name
            override(values, key, value, f"--{name}")
    for key, value in map(parse_option, opts or ()):
        override(values, key, value, "--opts")
    values = {key: value for key, value in values.items() if value is not None}
    check_keys(values, path)
    check_mappings(values)
    use_dataset_file(values)
    check_config(values)
    try:
        return _Config(path, values)
    except InputError:
        raise
    except Exception as e:  # PaddleSeg's own checks raise exceptions of all types
        raise InputError(f"{path!r} is not a valid PaddleSeg config: {_one_line(e.__context__ or e)}") from e


class _Config(Config):
    """PaddleSeg's config, with values that were read already."""

    def __init__(self, path: str, values: dict):
        self._values = values
        #: Whether training shuffles the data: a key of develop's PaddleSeg that is no argument of the dataset.
        self.shuffle = values.get("train_dataset", {}).pop("shuffle", True)
        super().__init__(path)

    def _parse_from_yaml(self, path: str) -> dict:
        return self._values


class Builder(SegBuilder):
    """PaddleSeg's builder, except that a component that cannot be built raises :class:`InputError`."""

    def build_component_impl(self, component_class, *args, **kwargs):
        return construct(component_class, kwargs) if not args else component_class(*args, **kwargs)

    def build_component(self, cfg):
        check_files(cfg)
        if "num_keypoints" in cfg:  # PaddleSeg's builder gives every model a number of classes
            cfg = {key: value for key, value in cfg.items() if key != "num_classes"}
        try:
            return super().build_component(cfg)
        except InputError:
            raise
        except RuntimeError as e:
            reason = e.__context__ or e  # PaddleSeg wraps it in a RuntimeError of several lines
            if isinstance(reason, InputError):
                raise reason from None
            raise InputError(f"the config's {cfg.get('type')} cannot be built: {_one_line(reason)}") from e


def load_model(config: Config, weights: Optional[str]) -> paddle.nn.Layer:
    """Build a config's model and load its trained weights, strictly.

    Args:
        config: as :func:`load_config` returned it.
        weights: a .pdparams or .safetensors file; None where the config's ``model.pretrained`` is the trained model.

    Raises:
        InputError: no weights, or weights of another model.
    """
    model = config.dic.get("model", {})
    if weights is None and not model.get("pretrained"):
        raise InputError("expected trained weights, got none; name them with --model_path FILE")
    if weights is not None:  # the weights that training started from are no longer needed
        for part in (model, model.get("backbone")):
            if isinstance(part, dict):
                part.pop("pretrained", None)
    with reporting("the config's model does not fit its data"):
        built = Builder(config).model
    if weights is not None:
        load_weights(built, weights)
    built.eval()
    return built


def use_data_format(config: Config, data_format: str) -> None:
    """Set the layout of activations, which only PaddleSeg's DeepLabV3P can choose."""
    if data_format == "NCHW":
        return
    model = config.dic["model"]
    if model["type"] != "DeepLabV3P":
        raise InputError(f"--data_format NHWC works for DeepLabV3P only, got {model['type']}; leave it out")
    for part in (model, model["backbone"], *config.dic["loss"]["types"]):
        part["data_format"] = data_format


def use_device(name: Optional[str]) -> str:
    """Make ``name`` Paddle's device and return it; None means the GPU if Paddle sees one, else the CPU.

    Raises:
        InputError: this machine does not have the device, or the running Paddle no code for it.
    """
    if name is None:
        name = "gpu" if paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count() else "cpu"
    kind, _, index = name.partition(":")
    try:
        if kind == "gpu":
            gpu.require_paddle(int(index or 0))
        paddle.set_device(name)
    except InputError as e:
        raise InputError(f"device {name!r} is not available: {e}") from e
    except (ValueError, RuntimeError, OSError) as e:
        raise InputError(
            f"device {name!r} is not available: Paddle {paddle.__version__} cannot use it on this machine; choose "
            "--device cpu"
        ) from e
    return name


@contextlib.contextmanager
def reporting(part: str) -> Iterator[None]:
    """Turn PaddleSeg's assertions about ``part`` of a config into :class:`InputError`."""
    try:
        yield
    except (AssertionError, FileNotFoundError, RuntimeError) as e:
        raise InputError(f"{part}: {_one_line(e)}") from e


def _one_line(e: BaseException) -> str:
    return " ".join(str(e).split())
