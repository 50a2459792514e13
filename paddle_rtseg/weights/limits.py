"""What reading one file of weights may cost: checked before memory is allocated, so that a small file stays small."""

import os

from rtseg_inference.errors import quote as quote

from ..errors import InputError

#: A file may unpack to this many times its size, plus ``UNPACKED_MIB``: room for a compressed archive, for copies of
#: strided views and for bfloat16 as float32.
UNPACKED_RATIO = 4
#: MiB that a file may unpack to beyond that; the environment variable PADDLE_RTSEG_UNPACKED_MIB overrides it.
UNPACKED_MIB = 256
#: Instructions of its pickles, and values that they put together; PADDLE_RTSEG_PICKLE_STEPS overrides it.
PICKLE_STEPS = 1_000_000
#: MiB of a download; PADDLE_RTSEG_DOWNLOAD_MIB overrides it.
DOWNLOAD_MIB = 4096
#: Containers inside containers.
NESTING = 32
#: Files in an archive, and bytes of a zip's directory.
ARCHIVE_MEMBERS, ZIP_DIRECTORY = 10_000, 16 << 20
#: Bytes of a safetensors file's header.
SAFETENSORS_HEADER = 32 << 20


class Budget:
    """What is left for one file.

    Args:
        size: of the file in bytes.

    Raises:
        InputError: an environment variable is not a positive number.
    """

    def __init__(self, size: int):
        self._extra = setting("PADDLE_RTSEG_UNPACKED_MIB", UNPACKED_MIB)
        self._memory = UNPACKED_RATIO * size + (self._extra << 20)
        self._limit = self._steps = setting("PADDLE_RTSEG_PICKLE_STEPS", PICKLE_STEPS)

    def memory(self, count: int) -> None:
        """Claim ``count`` bytes, before they are allocated."""
        self._memory -= count
        if self._memory < 0:
            raise InputError(
                f"expected it to unpack to at most {UNPACKED_RATIO} times its size and {self._extra} MiB, got more; if "
                "you trust it, raise PADDLE_RTSEG_UNPACKED_MIB"
            )

    def steps(self, count: int) -> None:
        """Claim ``count`` steps of work on a pickle, before they are taken."""
        self._steps -= count
        if self._steps < 0:
            raise InputError(
                f"expected a pickle of at most {self._limit} steps, got more; if you trust it, raise "
                "PADDLE_RTSEG_PICKLE_STEPS"
            )


def setting(name: str, default: int) -> int:
    """A limit: what the environment variable says, or else the default.

    Raises:
        InputError: it is not a positive number.
    """
    text = os.environ.get(name) or str(default)
    if not text.isdecimal() or not 0 < int(text[:20]) < 1 << 40:
        raise InputError(f"expected a positive number in {name}, got {quote(text)!r}; correct or unset it")
    return int(text)
