"""The formats and the verifier stand on the standard library and `cryptography` alone, so that anyone can run them."""

import ast
import sys
from pathlib import Path

import custody

ALLOWED = {"cryptography", "custody"}


def imported_packages(source: str) -> set[str]:
    """The top-level names that a module imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0] if node.level == 0 else "custody")
    return names


def test_finds_an_import_inside_a_function() -> None:
    assert imported_packages("def f():\n    from fastapi import FastAPI") == {"fastapi"}


def test_custody_imports_only_the_standard_library_and_cryptography() -> None:
    modules = list(Path(custody.__file__).parent.rglob("*.py"))
    assert modules
    strangers = {
        f"{module.name}: {name}"
        for module in modules
        for name in imported_packages(module.read_text(encoding="utf-8")) - ALLOWED
        if name not in sys.stdlib_module_names
    }
    assert not strangers
