"""`pistachio review`: vote on pictures by keyboard, on a page that only this machine can open."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from publish.review.session import Review


def review(
    folder: Annotated[str, typer.Argument(help="A batch, any folder of pictures, or (with --against) a version.")],
    against: Annotated[str | None, typer.Option(help="Blind A/B against this folder or version.")] = None,
    voter: Annotated[str, typer.Option(help="Whose votes; each voter has their own.")] = "owner",
    votes: Annotated[
        Path | None, typer.Option(help="Folder of votes.jsonl; default: the pictures' own, or metrics/votes.")
    ] = None,
    report: Annotated[bool, typer.Option("--report", help="Print what the votes say, and open no page.")] = False,
    reveal: Annotated[bool, typer.Option("--reveal", help="Say which version is which before the last vote.")] = False,
    seed: Annotated[int | None, typer.Option(help="Of left and right; default: random, and stored.", min=0)] = None,
    port: Annotated[int, typer.Option(help="0: any free one.", min=0, max=65535)] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="With --report: print JSON.")] = False,
) -> None:
    """Look at a batch's pictures and vote by keyboard, on a local page.

    The gate's verdict and scores are hidden until you ask for them. Every vote is on the disk before the next picture
    comes; started again, the review goes on where it stopped. Nothing but votes.jsonl is written.

    \b
    Examples:
      pistachio review out/batch
      pistachio review out/batch --report
      pistachio review v3 --against v2
    """
    from publish.review.report import render_report
    from publish.review.session import open_review
    from stages.reports.terminal import print_json

    opened = open_review(
        folder, against, voter=voter, votes=votes, seed=seed, reveal=reveal, writable=not report
    )  # fmt: skip
    for notice in [*opened.notices, *([opened.book.notice] if opened.book.notice else [])]:
        typer.echo(f"notice: {notice}", err=True)
    if not report:
        _open_page(opened, port, browser=browser)
        return
    found = opened.report()
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        typer.echo(render_report(found))


def _open_page(opened: "Review", port: int, *, browser: bool) -> None:
    from publish.review.app import HOST, listen, make_token, serve_review

    door, token = listen(port), make_token()
    address = f"http://{HOST}:{door.getsockname()[1]}/{token}/"
    print(f"review: {address}\n{len(opened.items)} to look at; Ctrl+C ends it", flush=True)
    if browser:
        _show(address)
    try:
        serve_review(opened, door, token)
    except KeyboardInterrupt:
        pass
    finally:
        print(f"{len(opened.standing())} of {len(opened.items)} voted on: {opened.book.path}", flush=True)


def _show(address: str) -> None:
    import os
    import sys
    import webbrowser

    # Without a screen Python would start a browser of text in this very terminal.
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return
    webbrowser.open(address)
