"""`python -m publish COMMAND`, and the same as `pistachio COMMAND`."""

import typer

from publish.commands.passports import inspect, stamp, trace
from publish.commands.review import review
from publish.commands.serve import serve
from stages.runtime.entry import program

# Everything else is imported inside the commands: `--help` must not wait for numpy.

app = typer.Typer(
    name="publish",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    help="Give pictures their passports, trace and inspect them, review them, serve them.",
)
app.command()(stamp)
app.command()(trace)
app.command()(inspect)
app.command()(review)
app.add_typer(serve, name="serve")


def main() -> None:
    """The program: one line and exit code 2 for bad input, a traceback for a bug."""
    with program():
        app()


if __name__ == "__main__":
    main()
