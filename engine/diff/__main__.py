"""The command line of `engine.diff`."""

import argparse
import sys

import engine


def main() -> int:
    """0 if the runs are equal, 1 if they differ, 2 if one can't be read."""
    parser = argparse.ArgumentParser(
        prog="python -m engine.diff",
        description="Where two runs part: flags, the first step, the first variable. The last line says it all.",
        epilog="exit code: 0 equal, 1 different, 2 error",
    )
    parser.add_argument("a", help="a run directory")
    parser.add_argument("b", help="another")
    asked = parser.parse_args()
    try:
        found = engine.diff(asked.a, asked.b)
    except (ValueError, OSError) as error:
        print(f"engine.diff: error: {error}", file=sys.stderr)
        return 2
    print(found)
    return 0 if found.equal else 1


if __name__ == "__main__":
    sys.exit(main())
