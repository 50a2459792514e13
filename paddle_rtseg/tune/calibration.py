"""What networks are brought to INT8 with in a search: images that are none of the frames that they are scored on."""

import os
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence

from paddleseg.cvlibs import Config
from rtseg_inference.errors import quote

from ..errors import InputError
from ..export.calibration import calibration_images
from ..export.onnx import obstacle

#: How a candidate is quantised: whatever that costs, and without timing it, as the search does both. The frames are
#: those that its export is verified with.
CANDIDATE: Dict[str, Any] = {"max_drop": 100, "min_gain": None, "frames": 4}
#: How the export of what won is quantised. It states what the whole validation set shows, and refuses nothing.
WINNER: Dict[str, Any] = {"max_drop": 100, "min_gain": 0}


@dataclass(frozen=True)
class Calibration:
    """The images, as ``export`` is told; None for its defaults."""

    path: Optional[str] = None  #: a folder, or a dataset file, whose training images are taken
    samples: Optional[int] = None

    def __bool__(self) -> bool:
        """Whether it was asked for."""
        return self != Calibration()

    @property
    def options(self) -> Dict[str, Any]:
        """The arguments of :func:`.calibration_images` that are given."""
        options = {"calibration": self.path, "samples": self.samples}
        return {name: value for name, value in options.items() if value is not None}

    def images(self, config: Config, num_classes: int, scored: Sequence[str]) -> List[str]:
        """Paths of the images.

        Args:
            num_classes: of the network.
            scored: images that networks are scored on.

        Raises:
            InputError: a package that INT8 needs is not installed; or see :func:`.calibration_images`; or some of the
                images are among those scored.
        """
        reason = obstacle("int8")
        if reason:
            raise InputError(reason)
        images = calibration_images(config, num_classes, **self.options)
        real = set(map(os.path.realpath, scored))
        common = [image for image in images if os.path.realpath(image) in real]
        if common:
            raise InputError(
                f"expected images to calibrate with that are not in the val_dataset, got {len(common)} that are, such "
                f"as {quote(common[0])!r}; name others with --calibration"
            )
        return images
