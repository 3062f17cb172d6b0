"""The takedown list: Markdown that a person works through after a card was revoked."""

from collections.abc import Sequence

from stages.contracts.subject import Subject
from stages.contracts.takedown import TODO, Made


def render_takedown(card: Subject, made: Sequence[Made]) -> str:
    """Every piece under its kind, with a box to tick and what to do with it."""
    why = f"Revoked on {card.revoked.date}: {card.revoked.reason}" if card.revoked else "Not revoked."
    parts = [f"# What was made of {card.name}", f"{why}\n\nSubject card `{card.sha256}`, dataset {card.dataset}."]
    for kind, todo in TODO.items():
        pieces = [piece for piece in made if piece.kind == kind]
        if pieces:
            lines = [f"* [ ] `{p.path}`{f' ({p.note})' if p.note else ''}{'' if p.there else ', not here any more'}"
                     for p in pieces]  # fmt: skip
            parts.append("\n".join([f"## {kind} ({len(pieces)})", "", f"To do: {todo}.", "", *lines]))
    return "\n\n".join(parts) + "\n"
