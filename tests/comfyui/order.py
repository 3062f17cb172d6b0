"""In which order the nodes of a graph run."""

from collections.abc import Callable

from comfyui.graphs import Graph, Nodes, is_link


def order_of(graph: Graph, ends: list[str], is_cached: Callable[[str], bool], nodes: Nodes) -> list[str]:
    """The order in which nodes run: what an output can use next comes first, as a user likes it."""
    needs = _collect(graph, ends, is_cached)
    order: list[str] = []
    while needs:
        ready = [number for number, sources in needs.items() if not sources]
        feeds = {number: [other for other, sources in needs.items() if number in sources] for number in ready}
        is_end = {number: nodes.is_output(graph[number]["class_type"]) for number in needs}
        second = {
            number: [end for other in feeds[number] for end, sources in needs.items() if other in sources]
            for number in ready
        }
        rank = {
            number: 0 if is_end[number]
            else 1 if any(is_end[other] for other in feeds[number])
            else 2 if any(is_end[other] for other in second[number])
            else 3
            for number in ready
        }  # fmt: skip
        chosen = min(ready, key=rank.__getitem__)
        order.append(chosen)
        del needs[chosen]
        for sources in needs.values():
            sources.discard(chosen)
    return order


def _collect(graph: Graph, ends: list[str], is_cached: Callable[[str], bool]) -> dict[str, set[str]]:
    """Every node that must run, in the order in which ComfyUI finds them, and what each waits for."""
    needs: dict[str, set[str]] = {}
    for end in ends:
        stack = [end]
        while stack:
            number = stack.pop()
            if number in needs:
                continue
            links = [value[0] for value in graph[number]["inputs"].values() if is_link(value)]
            waits = [source for source in links if not is_cached(source)]
            needs[number] = set(waits)
            stack += waits
    return needs
