"""A config's validation transforms as the preprocessing rules of deploy.yaml, which every runtime implements."""

from typing import Any, Dict, Optional, Sequence, Tuple

from rtseg_inference.contract import INTERPOLATIONS, Pad, Preprocessing, Resize

from ..errors import InputError


def from_transforms(transforms: Sequence[Dict[str, Any]]) -> Preprocessing:
    """Translate PaddleSeg's transforms, as a config lists them, to the rules of deploy.yaml.

    Raises:
        InputError: a transform without such a rule, or an order other than resize, pad, normalise.
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
                f"expected at most one resize, then at most one padding, then Normalize, got {name} elsewhere; "
                "put the val_dataset's transforms into that order"
            )
        rules.update(found)
    if "mean" not in rules:
        raise InputError("expected a Normalize among the val_dataset's transforms, got none; add one")
    return Preprocessing(**rules)


def _resize(
    target_size: Sequence[int] = (512, 512),
    keep_ratio: bool = False,
    size_divisor: Optional[int] = None,
    interp: str = "LINEAR",
) -> Dict[str, Any]:
    known = [name.upper() for name in INTERPOLATIONS]
    if interp not in known:
        raise InputError(f"expected Resize's interp to be one of {', '.join(known)}, got {interp}; change it")
    width, height = (int(n) for n in target_size)
    rule = "fit" if keep_ratio else "exact"
    interpolation = INTERPOLATIONS[known.index(interp)]
    return {
        "resize": Resize(rule, height, width, divisor=size_divisor or None, interpolation=interpolation),
    }


def _resize_by_long(long_size: int) -> Dict[str, Any]:
    return {"resize": Resize("long", size=long_size)}


def _resize_by_short(short_size: int, max_size: float = 1e10) -> Dict[str, Any]:
    return {"resize": Resize("short", size=short_size, max=int(max_size) if max_size < 1e10 else None)}


def _limit_long(max_long: Optional[int] = None, min_long: Optional[int] = None) -> Dict[str, Any]:
    return {"resize": Resize("limit", max=max_long, min=min_long)}


def _padding(
    target_size: Sequence[int], im_padding_value: float = 127.5, label_padding_value: int = 255
) -> Dict[str, Any]:
    width, height = target_size
    return {"pad": Pad(int(height), int(width), float(im_padding_value))}


def _normalize(mean: Sequence[float] = (0.5,), std: Sequence[float] = (0.5,)) -> Dict[str, Any]:
    return {"mean": _three(mean), "std": _three(std)}


def _three(values: Sequence[float]) -> Tuple[float, ...]:
    values = tuple(float(v) for v in values)
    return values * 3 if len(values) == 1 else values


_TRANSLATIONS = {
    "Resize": _resize,
    "ResizeByLong": _resize_by_long,
    "ResizeByShort": _resize_by_short,
    "LimitLong": _limit_long,
    "Padding": _padding,
    "Normalize": _normalize,
}
