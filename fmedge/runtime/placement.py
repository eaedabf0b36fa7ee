"""Which nodes of a model run on which provider, and how that is described."""

from __future__ import annotations

from collections.abc import Mapping

from fmedge.system.wording import plural

Placement = Mapping[str, Mapping[str, int]]
"""Number of the model's nodes per provider and operator, both by the engine's names."""


def describe_placement(placement: Placement, provider: str) -> str:
    """Describe in one line how many convolutions run on a provider, and how many nodes run on others.

    For example ``13/13 Conv on CUDAExecutionProvider``.
    """
    convolutions = {name: sum(_only_convolutions(nodes).values()) for name, nodes in placement.items()}
    words = {operator for nodes in placement.values() for operator in _only_convolutions(nodes)}
    line = f"{convolutions.get(provider, 0)}/{sum(convolutions.values())} {'/'.join(sorted(words))} on {provider}"
    if not words:
        line = f"{sum(placement.get(provider, {}).values())} nodes on {provider}"
    others = {name: sum(nodes.values()) for name, nodes in placement.items() if name != provider}
    return ", ".join([line, *(f"{plural(count, 'other node')} on {name}" for name, count in others.items())])


def _only_convolutions(nodes: Mapping[str, int]) -> Mapping[str, int]:
    return {operator: count for operator, count in nodes.items() if "conv" in operator.lower().replace("convert", "")}
