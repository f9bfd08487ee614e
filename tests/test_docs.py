"""The documents: links lead somewhere, and commands in them are commands that there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from rs.cli import cli

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CONSOLE = re.compile(r"```console\n(.*?)```", re.DOTALL)


def documents() -> list[Path]:
    """Return the Markdown files of the repository: not those of environments and caches in it."""
    below = [
        path
        for top in ROOT.iterdir()
        if top.is_dir() and not top.name.startswith(".") and top.name not in {"build", "dist"}
        if not (top / "pyvenv.cfg").exists()
        for path in top.rglob("*.md")
    ]
    return sorted([*ROOT.glob("*.md"), *below])


DOCUMENTS = documents()
each = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))


def anchors(path: Path) -> set[str]:
    """Return the fragments of a file's headings, as they are made from Markdown."""
    headings = re.findall(r"^#+ +(.*)$", path.read_text(), re.MULTILINE)
    words = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {word.strip().replace(" ", "-") for word in words}


@each
def test_links_lead_somewhere(path: Path) -> None:
    broken = []
    for link in LINK.findall(re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)):
        if "://" in link:
            continue
        name, _, fragment = link.partition("#")
        target = path.parent / name if name else path
        if not target.exists() or (fragment and fragment not in anchors(target)):
            broken.append(link)
    assert broken == []


def commands(text: str) -> list[list[str]]:
    """Return the arguments of every `rs` in a document's console blocks."""
    found = []
    for block in CONSOLE.findall(text):
        for line in re.findall(r"^\$ ((?:.*\\\n)*.*)", block, re.MULTILINE):
            lexer = shlex.shlex(line.replace("\\\n", " "), posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            words: list[str] = []
            for token in [*lexer, ";"]:
                if token not in {"&&", "||", ";", "|", "&"}:
                    words.append(token)
                    continue
                if words and Path(words[0]).name == "rs":
                    found.append(words[1:])
                words = []
    return found


def parse(args: list[str]) -> None:
    """Parse a command line down to its command, which is not run; UsageError if it is none."""
    group: click.Command = cli
    parent, name = None, "rs"
    while True:
        context = group.make_context(name, args, parent=parent)
        if not isinstance(group, click.Group):
            return
        rest = [*getattr(context, "_protected_args", ()), *context.args]
        assert rest, f"{name} lacks its command"
        name, command, args = group.resolve_command(context, rest)
        assert command is not None
        group, parent = command, context


@each
def test_commands_are_there(path: Path) -> None:
    for words in commands(path.read_text()):
        try:
            parse(words)
        except click.UsageError as error:
            pytest.fail(f"rs {shlex.join(words)}: {error.format_message()}")
        except click.exceptions.Exit:  # --help, --version
            continue


def test_readme_has_commands() -> None:
    assert len(commands((ROOT / "README.md").read_text())) > 10


def test_a_wrong_command_is_found() -> None:
    with pytest.raises(click.UsageError):
        parse(["show", "neighbours"])
    with pytest.raises(click.UsageError):
        parse(["run", "--colour", "rs.toml"])


def names(group: click.Group, before: str = "rs") -> list[str]:
    """Return every command that can be run."""
    context = click.Context(group)
    found = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        full = f"{before} {name}"
        found += names(command, full) if isinstance(command, click.Group) else [full]
    return found


def test_every_command_is_in_the_list_of_commands() -> None:
    text = (ROOT / "docs" / "commands.md").read_text()
    missing = [name for name in names(cli) if f"`{name}" not in text]
    assert missing == []


def test_commands_of_the_list_are_there() -> None:
    text = (ROOT / "docs" / "commands.md").read_text()
    listed = re.findall(r"^\| `rs ([^`]+)`", text, re.MULTILINE)
    assert len(listed) > 15
    for words in listed:
        parse(shlex.split(words))


@each
def test_named_tests_are_there(path: Path) -> None:
    """A table of what is tested names tests; in restart.md those of test_restart.py alone."""
    named = set(re.findall(r"`(test_\w+)`", path.read_text()))
    files = (ROOT / "tests").rglob("test_*.py") if named else ()
    defined = re.compile(r"^def (test_\w+)", re.MULTILINE)
    there = {name for file in files for name in defined.findall(file.read_text())}
    assert named <= there
