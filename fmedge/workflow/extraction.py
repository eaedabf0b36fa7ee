"""Take one image through a session: decode it, run the model, and record where the maps come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from fmedge.data.feature_maps import FeatureMaps, Provenance
from fmedge.data.images import OpenedSource, Photo, Resize, label_of, load_photo
from fmedge.errors import UsageError
from fmedge.model.card import ModelCard
from fmedge.model.run_options import RunOptions
from fmedge.model.stock import INPUT_SIZE
from fmedge.runtime.placement import describe_placement
from fmedge.runtime.session import Session
from fmedge.system.choices import one_of

Resizing = Resize | Literal["none"]
"""How a photo is resized for the model; ``none`` leaves it as it is."""

Decode = Callable[[], Photo]
"""Gives a photo that is being decoded and resized in another thread: see :func:`fmedge.system.prefetch.start`."""

Taps = dict[str, FeatureMaps]
"""Feature maps per tap of a model, in the network's order."""


def find_resizing(name: object) -> Resizing:
    """Return the way to resize with this name.

    Raises:
        UsageError: There is none.
    """
    return one_of("resize", name, (*get_args(Resize), "none"))


@dataclass(frozen=True, slots=True)
class Extraction:
    """What is done with every image of a run.

    Attributes:
        card: Facts about the model.
        resize: How a photo is resized for the model.
        run: How the model is run.

    Raises:
        UsageError: There is no such way to resize.
    """

    card: ModelCard
    resize: Resizing
    run: RunOptions

    def __post_init__(self) -> None:
        object.__setattr__(self, "resize", find_resizing(self.resize))

    def load(self, image: OpenedSource, decode: Decode | None = None) -> Photo:
        """Decode a photo and resize it to the size that the model takes.

        Args:
            image: The photo.
            decode: Gives the decoded and resized photo, where that work was started before; None does it here.

        Raises:
            ImageError: The photo cannot be decoded.
            LimitExceeded: The photo is too large.
            UsageError: The photo must not be resized, and the model takes another size.
        """
        size = self.card.options.size
        if size is not None:
            self.card.require_room()
        if self.resize != "none":
            return decode() if decode else load_photo(image, size or INPUT_SIZE, self.resize, self.run.max_pixels)
        photo = load_photo(image, None, max_pixels=self.run.max_pixels)
        if size is not None and photo.original_size != size:
            got, wanted = (" x ".join(map(str, extents)) for extents in (photo.original_size, size))
            raise UsageError(
                f"'{label_of(image)}' is {got}; the model takes {wanted}.",
                hint="Leave out --resize none, or export with --size dynamic.",
            )
        return photo

    def maps(self, session: Session, photo: Photo) -> Taps:
        """Run the model on a photo.

        Raises:
            LimitExceeded: There is not enough memory, or it ran out.
            FmedgeError: See :meth:`fmedge.runtime.Session.run`.
        """
        height, width, _ = photo.pixels.shape
        self.card.require_room((height, width))
        found = session.run(self._batch(photo))
        provenance = self._provenance(session, photo)
        pixels = photo.pixels[np.newaxis]
        return {tap: FeatureMaps(found[tap][:1], tap, provenance, pixels) for tap in self.card.submodel.taps}

    def _provenance(self, session: Session, photo: Photo) -> Provenance:
        return Provenance(
            card=self.card,
            image_name=photo.name,
            image_size=photo.original_size,
            resize=self.resize,
            backend=session.backend,
            active_provider=session.active_provider,
            threads=session.threads,
            device=self.run.device,
            math=session.math,
            placement=describe_placement(session.placement, session.active_provider),
        )

    def _batch(self, photo: Photo) -> npt.NDArray[np.uint8] | npt.NDArray[np.float32]:
        """Return a photo as a batch for the model, repeated if the batch size is fixed."""
        images = np.repeat(photo.pixels[np.newaxis], self.card.options.batch or 1, axis=0)
        return images if self.card.options.input_dtype == "uint8" else images.astype(np.float32)


def deepest(taps: Mapping[str, FeatureMaps]) -> FeatureMaps:
    """Return the maps of the tap that is deepest in the network."""
    return taps[list(taps)[-1]]
