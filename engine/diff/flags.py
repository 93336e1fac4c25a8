"""What two runs were asked for."""

from pathlib import Path

from engine.files.run_directory import flag_name


def read_flags(run: Path) -> dict[str, str]:
    """The lines of a run's `flags.cfg` by the name of the flag; none where a run was not started by flags."""
    file = run / "flags.cfg"
    lines = file.read_text().splitlines() if file.exists() else []
    return {flag_name(line): line for line in lines if line.startswith("--")}


def differing_flags(a: Path, b: Path) -> list[tuple[str, str | None, str | None]]:
    """(name, line in a, line in b) of every flag that differs; None where it is not set."""
    lines = read_flags(a), read_flags(b)
    return [
        (name, lines[0].get(name), lines[1].get(name))
        for name in sorted({*lines[0], *lines[1]})
        if lines[0].get(name) != lines[1].get(name)
    ]
