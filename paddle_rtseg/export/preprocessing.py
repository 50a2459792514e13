"""A config's validation transforms, as the few rules that deploy.yaml and every runtime know."""

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence

from ..errors import InputError


@dataclass(frozen=True)
class Preprocessing:
    """What happens to an 8-bit BGR image before the network: resize, pad, then ``(x / 255 - mean) / std`` in RGB.

    The keys of ``resize`` and ``pad`` are those of deploy.yaml; see deploy/README.md.
    """

    mean: Sequence[float] = (0.5, 0.5, 0.5)
    std: Sequence[float] = (0.5, 0.5, 0.5)
    resize: Optional[Dict[str, Any]] = None
    pad: Optional[Dict[str, Any]] = None


def from_transforms(transforms: Sequence[Dict[str, Any]]) -> Preprocessing:
    """Translate PaddleSeg's transforms, as a config lists them, to deploy.yaml's rules.

    Raises:
        InputError: a transform that runtimes do not know, or an order other than resize, pad, normalise.
    """
    rules: Dict[str, Any] = {}
    for transform in transforms:
        arguments = {key: value for key, value in transform.items() if key != "type"}
        name = transform["type"]
        if name not in _TRANSLATIONS:
            raise InputError(
                f"expected the val_dataset's transforms to be among {', '.join(_TRANSLATIONS)}, got {name}; remove it "
                "from the config that is exported"
            )
        found = _TRANSLATIONS[name](**arguments)
        misplaced = [key for key in found if key in rules or "mean" in rules or (key == "resize" and "pad" in rules)]
        if misplaced:
            raise InputError(
                f"expected at most one resize, then at most one padding, then Normalize, got {name} at another place; "
                "put the val_dataset's transforms into that order"
            )
        rules.update(found)
    if "mean" not in rules:
        raise InputError("expected a Normalize among the val_dataset's transforms, got none; add one")
    return Preprocessing(**rules)


def _resize(target_size=(512, 512), keep_ratio=False, size_divisor=None, interp="LINEAR") -> Dict[str, Any]:
    known = ("NEAREST", "LINEAR", "CUBIC", "AREA")
    if interp not in known:
        raise InputError(f"expected Resize's interp to be one of {', '.join(known)}, got {interp}; change it")
    width, height = (int(n) for n in target_size)
    rule = {"rule": "fit" if keep_ratio else "exact", "height": height, "width": width, "interpolation": interp.lower()}
    return {"resize": {**rule, "divisor": size_divisor} if size_divisor else rule}


def _resize_by_long(long_size: int) -> Dict[str, Any]:
    return {"resize": {"rule": "long", "size": long_size, "interpolation": "linear"}}


def _resize_by_short(short_size: int, max_size: float = 1e10) -> Dict[str, Any]:
    limit = {"max": int(max_size)} if max_size < 1e10 else {}
    return {"resize": {"rule": "short", "size": short_size, **limit, "interpolation": "linear"}}


def _limit_long(max_long: Optional[int] = None, min_long: Optional[int] = None) -> Dict[str, Any]:
    return {"resize": {"rule": "limit", "max": max_long, "min": min_long, "interpolation": "linear"}}


def _padding(target_size, im_padding_value: float = 127.5, label_padding_value: int = 255) -> Dict[str, Any]:
    width, height = target_size
    return {"pad": {"height": int(height), "width": int(width), "value": float(im_padding_value)}}


def _normalize(mean: Sequence[float] = (0.5,), std: Sequence[float] = (0.5,)) -> Dict[str, Any]:
    return {"mean": _three(mean), "std": _three(std)}


def _three(values: Sequence[float]) -> List[float]:
    values = [float(v) for v in values]
    return values * 3 if len(values) == 1 else values


_TRANSLATIONS = {
    "Resize": _resize,
    "ResizeByLong": _resize_by_long,
    "ResizeByShort": _resize_by_short,
    "LimitLong": _limit_long,
    "Padding": _padding,
    "Normalize": _normalize,
}
