"""Write the results of ``fmedge run`` once the model is known: one page, or many files."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmedge.cli.console import ProgressLine, emit, print_json, say
from fmedge.data.page_options import MOST_PHOTOS, PageOptions
from fmedge.errors import FmedgeError, ImageError, InputsSkipped, UsageError
from fmedge.model.run_options import RunOptions
from fmedge.system.files import is_folder, require_folder, require_output
from fmedge.system.wording import plural
from fmedge.workflow.output_paths import Outputs, name_outputs, page_name, require_no_image

if TYPE_CHECKING:
    from fmedge.data.feature_maps import Provenance
    from fmedge.model.artifact import Artifact
    from fmedge.model.submodel import SubModel
    from fmedge.workflow.extraction import Decode, Resizing


@dataclass(frozen=True, slots=True)
class Drawing:
    """What is drawn, and where it is written.

    Attributes:
        images: The images.
        alone: Whether a single file was named: with one tap, and no folder to write to, paths name files.
        page: The page, or the folder for pages; None takes the current folder.
        no_page: Whether no page is written.
        maps: The .npz file, or the folder for such files; None writes none.
        sheet: The .png file, or the folder for such files; None writes none.
        channel: The one channel to draw; None draws all.
        options: How pages are made.
        resize: How photos are resized to the model's size.
        run: How the model is run.
        as_json: Whether data is printed instead of paths.
        decode: Gives the one photo, where its decoding was started before.
    """

    images: list[Path]
    alone: bool
    page: Path | None
    no_page: bool
    maps: Path | None
    sheet: Path | None
    channel: int | None
    options: PageOptions
    resize: Resizing
    run: RunOptions
    as_json: bool
    decode: Decode | None = None

    def is_single(self, submodel: SubModel) -> bool:
        """Return whether there is one image and one tap, and paths name files."""
        return self.alone and len(submodel.taps) == 1 and not any(map(names_folder, (self.page, self.maps, self.sheet)))

    def is_one_page(self, submodel: SubModel) -> bool:
        """Return whether several taps, or several images, go on one page, because a page is named for them."""
        named = self.page is not None and self.page.suffix.lower() == ".html" and not is_folder(self.page)
        return named and (len(self.images) > 1 or (self.alone and len(submodel.taps) > 1))

    def require_places(self, submodel: SubModel) -> None:
        """Check, before any work, that the results can be written to the named places.

        Raises:
            UsageError: One file is named for several results, a folder for one does not exist, or options do not fit.
            WriteError: A result cannot be written.
            ImageError: The only image is missing.
        """
        from fmedge.data.images import require_image_file

        wanted = ((self.page, ".html", "--output"), (self.maps, ".npz", "--save-maps"), (self.sheet, ".png", "--png"))
        if self.is_one_page(submodel) and len(self.images) > MOST_PHOTOS:
            raise UsageError(
                f"--output {self.page}: one page shows at most {MOST_PHOTOS} images side by side, not "
                f"{len(self.images)}. For a page each, name a folder."
            )
        if self.is_one_page(submodel) and len(submodel.taps) > 1 and self.channel is not None:
            raise UsageError(
                f"--channel {self.channel} draws one channel of one layer. Leave it out, or name one layer."
            )
        if self.options.style == "grid" and (self.options.both or self.is_one_page(submodel)):
            raise UsageError(
                "--style grid shows one layer of one image, either before or after its activation. "
                "Use --style viewer for more."
            )
        for path, suffix, option in wanted:
            if self.is_single(submodel) or (path is self.page and self.is_one_page(submodel)):
                require_output(path, suffix)
            elif path is not None:
                if path.suffix.lower() == suffix and not is_folder(path):
                    raise UsageError(f"{option} {path}: several images or layers make several files. Name a folder.")
                require_folder(path)
        if self.page is None and not self.no_page:
            require_folder(Path())
        if len(self.images) == 1:
            require_image_file(self.images[0])


def names_folder(path: Path | None) -> bool:
    """Return whether a place for results is an existing folder; a name such as ``page.html`` means a file."""
    return path is not None and path.suffix.lower() not in {".html", ".npz", ".png"} and is_folder(path)


def draw(artifact: Artifact, drawing: Drawing) -> None:
    """Run the model, write the files and print their names.

    Raises:
        InputsSkipped: Some images could not be used.
        ImageError: No image could be used.
        FmedgeError: See :func:`fmedge.workflow.pages.make_pages`.
    """
    submodel = artifact.card.submodel
    if drawing.is_single(submodel):
        _draw_one(artifact, drawing)
    elif drawing.is_one_page(submodel):
        _draw_one_page(artifact, drawing)
    else:
        _draw_many(artifact, drawing)


def _draw_one(artifact: Artifact, drawing: Drawing) -> None:
    from fmedge.workflow.pages import make_page

    (image,) = drawing.images
    page = drawing.page or Path(page_name(image, artifact.card.submodel, drawing.channel, drawing.options))
    outputs = Outputs(None if drawing.no_page else page, drawing.maps, drawing.sheet)
    require_no_image(drawing.images, [outputs])
    maps = make_page(
        artifact,
        image,
        outputs.page,
        channel=drawing.channel,
        save_maps=outputs.maps,
        save_sheet=outputs.sheet,
        options=drawing.options,
        resize=drawing.resize,
        run=drawing.run,
        decode=drawing.decode,
    )
    _warn_of_weights(artifact)
    if drawing.as_json:
        print_json(_facts(outputs, artifact, maps.provenance))
        return
    shape, ran = " x ".join(map(str, maps.maps.shape[1:])), maps.provenance
    say(f"{maps.layer}: {shape}, {_placed(ran)}, {plural(ran.threads, 'thread')}.")
    _emit_path(outputs)


def _draw_one_page(artifact: Artifact, drawing: Drawing) -> None:
    from fmedge.workflow.pages import make_layers_page, make_photos_page

    submodel, page = artifact.card.submodel, drawing.page or Path()
    named = name_outputs(
        drawing.images,
        submodel,
        pages=None,
        maps=drawing.maps,
        sheets=drawing.sheet,
        channel=drawing.channel,
        options=drawing.options,
    )
    require_no_image(drawing.images, [Outputs(page)])
    if len(named) == 1:
        ((image, beside),) = named.items()
        taps = make_layers_page(
            artifact,
            image,
            page,
            beside,
            options=drawing.options,
            resize=drawing.resize,
            run=drawing.run,
            decode=drawing.decode,
        )
        found = {image: taps}
    else:
        found = make_photos_page(
            artifact,
            page,
            named,
            channel=drawing.channel,
            options=drawing.options,
            resize=drawing.resize,
            run=drawing.run,
        )
    _warn_of_weights(artifact)
    provenance = next(iter(next(iter(found.values())).values())).provenance
    if drawing.as_json:
        print_json(
            [
                {
                    "image": str(image),
                    "layer": tap,
                    **_facts(replace(named[image][tap], page=page), artifact, maps.provenance),
                }
                for image, taps in found.items()
                for tap, maps in taps.items()
            ]
        )
        return
    layers = f"{plural(len(submodel.taps), 'layer')}" if len(submodel.taps) > 1 else submodel.label
    images = f" of {len(found)} images" if len(found) > 1 else ""
    say(f"{layers}{images} on one page, {_placed(provenance)}.")
    emit(str(page))


def _draw_many(artifact: Artifact, drawing: Drawing) -> None:
    from fmedge.workflow.pages import make_pages

    outputs = name_outputs(
        drawing.images,
        artifact.card.submodel,
        pages=None if drawing.no_page else drawing.page or Path(),
        maps=drawing.maps,
        sheets=drawing.sheet,
        channel=drawing.channel,
        options=drawing.options,
    )
    rows: list[dict[str, Any]] = []
    progress, total, skipped, told = ProgressLine(), len(outputs), 0, ""
    pages = make_pages(
        artifact, outputs, channel=drawing.channel, options=drawing.options, resize=drawing.resize, run=drawing.run
    )
    with closing(pages) as results:  # on Ctrl-C files in progress are finished, and no more are started
        for number, (image, made) in enumerate(results, 1):
            progress.clear()
            if isinstance(made, FmedgeError):
                if total == 1:
                    raise made
                skipped += 1
                say(f"Skipped: {made.in_full()}")
                rows.append({"image": str(image), "error": made.in_full()})
            else:
                for tap, drawn in made.items():
                    told = _placed(drawn.provenance)
                    rows.append(
                        {"image": str(image), "layer": tap, **_facts(drawn.outputs, artifact, drawn.provenance)}
                    )
                    if not drawing.as_json:
                        _emit_path(drawn.outputs)
            if total > 1:
                progress(f"{number} of {total} images", number / total)
    if drawing.as_json:
        print_json(rows)
    if skipped == total:
        raise ImageError(f"None of the {total} images could be used: see the lines above.")
    _warn_of_weights(artifact)
    say(f"{artifact.card.submodel.label} of {plural(total - skipped, 'image')}, {told}.")
    if skipped:
        raise InputsSkipped(f"{skipped} of {total} images skipped: see the lines above. The others are done.")


def _facts(outputs: Outputs, artifact: Artifact, provenance: Provenance) -> dict[str, Any]:
    return {
        "page": outputs.page and str(outputs.page),
        "maps": outputs.maps and str(outputs.maps),
        "png": outputs.sheet and str(outputs.sheet),
        "model": str(artifact.path),
        **provenance.facts(),
    }


def _emit_path(outputs: Outputs) -> None:
    if outputs.paths:
        emit(str(outputs.paths[0]))


def _placed(provenance: Provenance) -> str:
    """Describe where the model ran, with the arithmetic and the requested device where they are not the defaults.

    The device is added because part of the model may have run elsewhere.
    """
    math = "" if provenance.math == "fp32" else f" in {provenance.math}"
    asked = "" if provenance.device == "cpu" else f" (requested: {provenance.device})"
    return provenance.placement + math + asked


def _warn_of_weights(artifact: Artifact) -> None:
    if artifact.card.weights.kind == "untrained":
        say("Note: untrained weights. The maps show random filters, not learned ones.")
