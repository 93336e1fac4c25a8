"""What the pages show runs."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_on_the_page_runs(page, capsys):
    # A page is read from its top: what a block defines, later ones know.
    names = {"__name__": page.stem}
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL):
        exec(compile(block, str(page), "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page):
    for name in re.findall(
        r"`((?:engine|layers|optim|data|tests|configs|docs|benchmarks|examples)/[\w/.-]*)`", page.read_text()
    ):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"(?:pytest|--flagfile=)\s*((?:tests|configs)/[\w/.]+)", page.read_text()):
        assert (ROOT / name).exists(), name
    for link in re.findall(r"\]\(([\w/.-]+)\)", page.read_text()):
        assert (page.parent / link).exists(), link


def named(file, name):
    """The definition in a file that a dotted name stands for, or None."""
    found = ast.parse(file.read_text())
    for part in name.split("."):
        definitions = (n for n in found.body if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name == part)
        found = next(definitions, None)
        if found is None:
            return None
    return found


def lines_of_code(definition):
    """How many lines a definition has, without its docstring."""
    documented = ast.get_docstring(definition, clean=False) or ""
    return definition.end_lineno - definition.lineno + 1 - len(documented.splitlines())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_definitions_that_a_page_links_to_exist_and_can_be_read_in_a_minute(page):
    for shown, file, name in re.findall(r"\[`([^`\]]*)`\]\(([\w/.-]+\.py)#([\w.]+)\)", page.read_text()):
        definition = named(page.parent / file, name)
        assert definition is not None, f"{file} has no {name}"
        assert shown.split(".")[-1] == name.split(".")[-1]
        assert lines_of_code(definition) <= 60, f"{file}: {name} is too long to read in a minute"


def test_the_tutorial_map_says_for_each_section_what_does_it():
    sections = (ROOT / "docs/tutorial-map.md").read_text().split("\n## ")[1:]
    assert len(sections) > 20
    for section in sections:
        assert "**Keras:**" in section, section.splitlines()[0]
        assert "**Here:**" in section, section.splitlines()[0]
        assert "**Done by**" in section or "examples/" in section, section.splitlines()[0]
