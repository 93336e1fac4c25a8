"""What the pages show runs."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_on_the_page_runs(page, capsys):
    # A page is read from its top: what a block defines, later ones know.
    names = {"__name__": page.stem}
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL):
        exec(compile(block, str(page), "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page):
    for name in re.findall(
        r"`((?:engine|layers|optim|data|tests|configs|docs|benchmarks)/[\w/.-]*)`", page.read_text()
    ):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"(?:pytest|--flagfile=)\s*((?:tests|configs)/[\w/.]+)", page.read_text()):
        assert (ROOT / name).exists(), name
    for link in re.findall(r"\]\(([\w/.-]+)\)", page.read_text()):
        assert (page.parent / link).exists(), link
