"""Every command explains itself: a Chinese sentence, an example that its own parser takes, its exit codes."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator, Mapping

import pytest

import agent.app
import agent.commandhelp
import custody.cli
import hub.app
import hub.cli.commandhelp

PARSERS = {"dock-agent": agent.app._parser(), "dock-hub": hub.app._parser(), "custody": custody.cli._parser()}
TABLES = {"dock-agent": agent.commandhelp, "dock-hub": hub.cli.commandhelp}


def commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Every command below `parser` that does something, in its order."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not below and parser.prog != "dock-hub broker":  # it parses its own words, in hub/broker.py
        yield parser
    for action in below:
        for command in action.choices.values():
            yield from commands(command)


ALL = [command for parser in PARSERS.values() for command in commands(parser)]


@pytest.mark.parametrize("command", ALL, ids=lambda command: command.prog)
def test_exit_codes_are_stated(command: argparse.ArgumentParser) -> None:
    assert "exit codes" in command.format_help()


@pytest.mark.parametrize("command", ALL, ids=lambda command: command.prog)
def test_every_argument_says_what_it_is(command: argparse.ArgumentParser) -> None:
    assert [action.dest for action in command._actions if not action.help] == []


def told(table: Mapping[str, object], program: str) -> set[str]:
    return {f"{program} {name}" for name in table}


@pytest.mark.parametrize("program", TABLES)
def test_the_tables_name_every_command_and_no_other(program: str) -> None:
    known = {command.prog for command in commands(PARSERS[program])} | {"dock-agent profile"}
    chinese, examples = told(TABLES[program].CHINESE, program), told(TABLES[program].EXAMPLES, program)
    assert chinese <= known
    assert {one for one in known - chinese if not one.startswith("dock-agent profile")} == set()  # one for all of it
    assert examples <= chinese


EXAMPLES = [
    example.replace("\\\n", " ")
    for table in TABLES.values()
    for examples in table.EXAMPLES.values()
    for example in examples
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_each_example_is_one_that_the_parser_takes(example: str) -> None:
    program, *words = shlex.split(example, comments=True)
    words = words[: words.index(">")] if ">" in words else words
    assert PARSERS[program].parse_args(words)
