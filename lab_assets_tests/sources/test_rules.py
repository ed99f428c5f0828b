"""Every rule that code names has advice for people."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import lab_assets
from lab_assets.sources.core.rules import MEND

ERRORS = {"UnreadableFileError", "NumberError", "MomentError", "CellError", "FieldError"}


def _named(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            first = node.args[:1] if ast.unparse(node.func).split(".")[-1] in ERRORS else []
            for value in (*first, *(keyword.value for keyword in node.keywords if keyword.arg == "rule")):
                choices = (value.body, value.orelse) if isinstance(value, ast.IfExp) else (value,)
                yield from (choice.value for choice in choices if isinstance(choice, ast.Constant) and isinstance(choice.value, str))


def test_every_rule_has_advice() -> None:
    files = sorted(Path(lab_assets.__file__).parent.rglob("*.py"))
    rules = {rule: path.name for path in files for rule in _named(path)}
    assert len(rules) > 20
    assert {rule: name for rule, name in rules.items() if rule not in MEND} == {}
