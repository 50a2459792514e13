"""Which precisions this machine's processor supports; nothing else asks it.

oneDNN, and OpenVINO with it, compute in a 16-bit type only on processors with the instructions for it. On others Paddle
fails inside oneDNN, or silently computes in fp32, so commands check before they start.
"""

import functools
import os
from typing import FrozenSet, Mapping, NamedTuple, Optional, Tuple

from .errors import InputError

_VNNI = ("avx512_vnni", "avx_vnni", "amx_int8")  # any of them adds products of 8-bit integers in 32 bits
_AVX512 = ("avx512f", "avx512bw", "avx512dq", "avx512vl")  # what oneDNN calls avx512_core


class _Need(NamedTuple):
    name: str
    flags: Tuple[str, ...]  #: as /proc/cpuinfo names them
    withheld_by: Tuple[str, ...]  #: values of ONEDNN_MAX_CPU_ISA that keep oneDNN from using them


_LESS_THAN_AVX512 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2")
_LESS_THAN_FP16 = (*_LESS_THAN_AVX512, "AVX512_CORE", "AVX512_CORE_VNNI", "AVX512_CORE_BF16")
_NEEDS = {
    "bf16": _Need("AVX-512", _AVX512, _LESS_THAN_AVX512),
    "fp16": _Need("AVX-512 FP16", (*_AVX512, "avx512_fp16"), _LESS_THAN_FP16),
}


@functools.lru_cache(maxsize=1)
def flags() -> FrozenSet[str]:
    """The instruction sets of the processor, by the names of /proc/cpuinfo; empty if that cannot be read."""
    try:
        with open("/proc/cpuinfo") as f:
            return frozenset(next((line.partition(":")[2] for line in f if line.startswith("flags")), "").split())
    except OSError:
        return frozenset()


def obstacle(precision: str, environ: Mapping[str, str] = os.environ) -> Optional[str]:
    """Why oneDNN and OpenVINO cannot compute in ``precision`` on this processor; None if they can."""
    need = _NEEDS.get(precision)
    if need is None:
        return None
    missing = [flag for flag in need.flags if flag not in flags()]
    if missing:
        return f"expected a processor with {need.name} for {precision}, got one without {', '.join(missing)}; use fp32"
    for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        limit = environ.get(name, "")
        if limit.upper() in need.withheld_by:
            return f"expected {need.name} to be allowed for {precision}, got {name}={limit}; unset it or use fp32"
    return None


def weight_bits() -> int:
    """Bits of the weights that INT8 networks need on this processor: 8, or 7 on one without VNNI.

    Without it, sums of products of 8-bit integers saturate in 16 bits; with weights of 7 bits they cannot.
    """
    return 8 if flags().intersection(_VNNI) else 7


def int8_warning(bits: int) -> Optional[str]:
    """What to know on this processor of an INT8 network with weights of so many bits; None if they suit it."""
    if bits == weight_bits():
        return None
    if bits == 8:
        return (
            "the INT8 network has 8-bit weights, for processors with VNNI, and its products may saturate on this one, "
            "which lacks it; export it with --weight_bits 7 for processors of both kinds"
        )
    return (
        "the INT8 network has 7-bit weights, for processors without VNNI; on this one, which has it, an export with "
        "--weight_bits 8 is more accurate"
    )


def require(precision: str) -> None:
    """Raise :class:`InputError` unless this processor computes in ``precision``."""
    reason = obstacle(precision)
    if reason:
        raise InputError(reason)
