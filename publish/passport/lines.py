"""What `pistachio trace` and `pistachio inspect` print."""

from collections.abc import Iterator

from publish.passport.inspection import Inspection
from publish.passport.tracing import Source, Trace
from stages.runtime.errors import one_line

NAMED = 5  # photos that are named
HOW = {
    "credentials": "its content credentials, and its very pixels", "pixels": "its very pixels; it has no credentials",
    "looks": "its looks",
}  # fmt: skip


def render_trace(trace: Trace) -> Iterator[str]:
    """One fact per line; names and prompts come from files, so what cannot be shown is escaped."""
    if trace.origin is None:
        yield f"{trace.image}: not a picture that this workspace published"
        for key, value in trace.stated.items():
            yield f"  its credentials say {key}: {one_line(value)}"
        return
    origin, view = trace.origin, trace.view
    yield f"{trace.image}: known by {HOW[trace.how]}"
    if view is not None:
        turned = ", mirrored" if trace.mirrored else ""
        yield f"  copy      shows {view[2]:.0%} x {view[3]:.0%} of the original{turned}; correlation {trace.score:.3f}"
    yield f"  picture   {one_line(trace.picture)} (batch {origin.batch} in {one_line(trace.folder)})"
    yield f"  prompt    {one_line(origin.text)}"
    if origin.negative_prompt:
        yield f"  without   {one_line(origin.negative_prompt)}"
    yield f"  seed      {origin.seed}; {origin.sampler}, {origin.steps} steps, guidance {origin.guidance:g}"
    yield f"  base      {origin.base} (sha256 {origin.base_sha256[:12]})"
    yield f"  LoRA      {origin.version} at {origin.strength:g}: {_source(trace.lora)}"
    yield f"  dataset   {_source(trace.manifest)}"
    if trace.photos:
        more = f" and {len(trace.photos) - NAMED} more" if len(trace.photos) > NAMED else ""
        yield f"  photos    {len(trace.photos)}: {one_line(', '.join(trace.photos[:NAMED]))}{more}"
    else:
        yield "  photos    unknown: their manifest is not here"
    yield f"  subject   {one_line(trace.subject_name) or 'unknown'}: {one_line(trace.subject)}"


def _source(source: Source | None) -> str:
    if source is None:
        return "unknown"
    state = {"there": "", "another": ", where another file lies now", "gone": ", which is gone"}[source.state]
    return f"{one_line(source.path)}{state} (sha256 {source.sha256[:12]})"


def render_inspection(seen: Inspection) -> Iterator[str]:
    """One fact per line."""
    yield f"{seen.image}: {'marked, and signed as it is now' if seen.sound else 'NOT marked and validly signed'}"
    yield f"  signature  {seen.signature}{': tampered with' if seen.tampered else ''}"
    if seen.signature != "none":
        yield f"  signer     {one_line(seen.signer) or 'unknown'}"
        yield f"  vouched    {seen.vouched}"
        yield f"  made with  {one_line(seen.generator) or 'unknown'}"
        yield f"  from       {one_line(', '.join(seen.ingredients)) or 'nothing that they name'}"
    yield f"  C2PA       {seen.c2pa or 'no digital source type'}"
    yield f"  IPTC, XMP  {seen.xmp or 'no digital source type'}"
    for problem in seen.problems:
        yield f"  problem    {one_line(problem)}"
    for key, value in seen.says.items():
        yield f"  says       {one_line(key)}: {one_line(str(value))}"
