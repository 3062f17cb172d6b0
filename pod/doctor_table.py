"""`python -m pod doctor`: the checks of doctor.py and of the weights, in the table of every pod command."""

import argparse
import sys
from dataclasses import dataclass, replace

from pod import doctor
from pod.doctor_weights import check_pack, memory_check
from pod.errors import PodError
from pod.settings import Places, read_settings
from pod.table import FAIL, Row, print_table


@dataclass(frozen=True)
class Doctor:
    """Table [doctor]."""

    vram_gib: float = 24.0  # of the card to be rented, where this machine has none


def run_in_pod(arguments: argparse.Namespace) -> int:
    """Look; with --fix repair what fails and look again."""
    places = read_settings("pod", Places, arguments.config)
    settings = read_settings("doctor", Doctor, arguments.config)
    workspace = arguments.workspace or places.workspace
    if not workspace.is_dir():
        raise PodError(workspace, "there is no such folder", "name the workspace")
    python = arguments.python or replace(places, workspace=workspace).interpreter
    checks = (check_pack, memory_check(settings.vram_gib))
    findings = doctor.examine(python, workspace, checks)
    if arguments.fix and any(finding.status == FAIL for finding in findings):
        doctor.repair(findings, lambda line: print(line, file=sys.stderr, flush=True))
        findings = doctor.examine(python, workspace, checks)
    return print_table([Row(f.status, f.what, f.detail, f.todo) for f in findings], arguments.json)
