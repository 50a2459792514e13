"""PaddleSeg configs, by file or by name, checked before anything is built: mistakes are reported in one sentence."""

import contextlib
import difflib
import glob
import os
from ast import literal_eval
from typing import Any, Dict, Iterator, Optional, Sequence

import paddle
import yaml
from paddleseg.cvlibs import Config, SegBuilder
from rtseg_inference import gpu

from .errors import InputError
from .weights import load_weights
from .zoo import check_arguments, find_component

#: Top-level keys of PaddleSeg's config language, 2.8 to develop.
KEYS = (
    *("batch_size", "iters", "train_dataset", "val_dataset", "model", "loss", "distill_loss", "optimizer"),
    *("lr_scheduler", "test_config", "to_static_training", "shuffle", "print_mem_info", "log_ranks"),
    *("uniform_output_enabled", "pdx_model_name"),
)

_PACKAGE_FOLDER = os.path.dirname(os.path.abspath(__file__))
#: Where the configs lie in an installed package, and in the source tree.
_CONFIG_FOLDERS = (os.path.join(_PACKAGE_FOLDER, "configs"), os.path.join(os.path.dirname(_PACKAGE_FOLDER), "configs"))


def named_configs() -> Dict[str, str]:
    """The configs that come with this package: their paths by name, such as ``rtformer_slim_camvid_480x360``."""
    folder = next(folder for folder in _CONFIG_FOLDERS if os.path.isdir(folder))
    paths = sorted(glob.glob(os.path.join(glob.escape(folder), "[!_]*", "*.yml")))
    return {os.path.splitext(os.path.basename(path))[0]: path for path in paths}


def find_config(config: str) -> str:
    """The path of a config: ``config`` itself if that file exists, else the bundled config of that name.

    Args:
        config: a YAML file, or the name of a bundled config, with or without ``.yml``.

    Raises:
        InputError: neither; the message suggests the nearest names.
    """
    if os.path.isfile(config):
        return config
    known = named_configs()
    name = config[: -len(".yml")] if config.endswith(".yml") else config
    if name in known:
        return known[name]
    near = difflib.get_close_matches(os.path.basename(name), known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else "check --config"
    raise InputError(f"expected a config file or the name of a bundled one, got {config!r}, which is neither; {hint}")


def load_config(path: Optional[str], opts: Optional[Sequence[str]] = None, **overrides: Any) -> Config:
    """Read a PaddleSeg config and check it.

    Args:
        path: the YAML file, or the name of a bundled config; see :func:`find_config`.
        opts: "key.key=value" for each value to override, in YAML's or Python's notation.
        overrides: other arguments of PaddleSeg's ``Config``: learning_rate, batch_size, iters.

    Raises:
        InputError: no such file, not YAML, or an unknown key, component or argument.
    """
    if not path:
        raise InputError("expected a config, got none; name one with --config FILE.yml")
    path = find_config(path)
    if opts is not None:
        pairs = (item.partition("=") for item in opts)
        overrides["opts"] = [key + equals + _as_python(value) for key, equals, value in pairs]
    try:
        config = Config(path, **{key: value for key, value in overrides.items() if value is not None})
    except InputError:
        raise
    except yaml.YAMLError as e:
        raise InputError(f"expected a YAML file, got {path!r} with {_one_line(e)}; correct it") from e
    except Exception as e:  # PaddleSeg's own checks raise exceptions of all types
        raise InputError(f"{path!r} is not a valid PaddleSeg config: {_one_line(e)}") from e
    for key in config.dic:
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys are {', '.join(KEYS)}"
            raise InputError(f"{path!r} has an unknown key {key!r}; {hint}")
    _check_components(config.dic)
    return config


class Builder(SegBuilder):
    """PaddleSeg's builder, except that a component that cannot be built raises :class:`InputError`."""

    def build_component(self, cfg):
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


def _as_python(value: str) -> str:
    """A value of ``opts`` in Python's notation, as PaddleSeg expects it; YAML's "false" would be a string, so true."""
    try:
        literal_eval(value)
        return value
    except (ValueError, SyntaxError):
        pass
    try:
        read = yaml.safe_load(value)
    except yaml.YAMLError:
        return value
    return repr(read) if read is None or isinstance(read, (bool, list, dict)) else value


def _check_components(value: Any) -> None:
    """Every dict with a "type" must name a component and give it arguments it takes."""
    if isinstance(value, list):
        for item in value:
            _check_components(item)
    elif isinstance(value, dict):
        arguments = {key: item for key, item in value.items() if key != "type"}
        if "type" in value and not hasattr(paddle.optimizer.lr, str(value["type"])):
            check_arguments(find_component(_modern_name(value)), arguments)
        for item in arguments.values():
            _check_components(item)


def _modern_name(component: dict) -> str:
    """PaddleSeg still accepts the optimizers' old names."""
    name = {"adam": "Adam", "sgd": "SGD"}.get(component["type"], component["type"])
    return "Momentum" if name == "SGD" and "momentum" in component else name


def _one_line(e: BaseException) -> str:
    return " ".join(str(e).split())
