"""Build HTML as a tree, so that text from outside stays text."""

from __future__ import annotations

from xml.etree import ElementTree

Element = ElementTree.Element


def element(tag: str, *content: str | Element | None, **attributes: str) -> Element:
    """Create an element with text and elements in it.

    Args:
        tag: Its name.
        content: Text and elements, in this order; None is left out.
        attributes: ``class_`` stands for ``class``, ``aria_label`` for ``aria-label``.
    """
    made = Element(tag, {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()})
    last: Element | None = None
    for each in content:
        if isinstance(each, Element):
            made.append(each)
            last = each
        elif each is not None and last is None:
            made.text = (made.text or "") + each
        elif each is not None and last is not None:
            last.tail = (last.tail or "") + each
    return made


def to_html(*elements: Element) -> bytes:
    """Return the elements as UTF-8; what UTF-8 cannot hold (half of a surrogate pair) becomes a question mark."""
    texts = [ElementTree.tostring(each, encoding="unicode", method="html") for each in elements]
    return "\n".join(texts).encode("utf-8", "replace")
