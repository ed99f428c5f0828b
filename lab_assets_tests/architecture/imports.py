"""What the package's modules import of one another, read from their source.

Every import counts: inside functions, for type checkers only, relative ones, and modules named in text (``"lab_assets.ops.doctor"``),
by which a child process or a lazy loader imports them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_MODULE_TEXT = re.compile(r"[a-z_]+(?:\.[a-z_][a-z0-9_]*)+")


@dataclass(frozen=True, kw_only=True, order=True)
class Import:
    """One module naming another.

    Attributes:
        source: The module that imports.
        target: The module that is imported.
        line: Line in the source.
        types_only: Whether it stands under ``TYPE_CHECKING``.
        in_text: Whether the module is only named in text.
    """

    source: str
    target: str
    line: int
    types_only: bool
    in_text: bool

    def __str__(self) -> str:
        return f"{self.source}:{self.line} imports {self.target}"


def modules_of(package: Path) -> dict[str, Path]:
    """Return each module's file by its dotted name; a package stands for its ``__init__.py``."""
    found: dict[str, Path] = {}
    for file in sorted(package.rglob("*.py")):
        parts = file.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imports_of(package: Path) -> list[Import]:
    """Return what the modules of a package import of one another."""
    modules = modules_of(package)
    found: set[Import] = set()
    for name, file in modules.items():
        tree = ast.parse(file.read_text())
        for_types = _for_types(tree)
        for node, target in _named(tree, name if file.name == "__init__.py" else name.rpartition(".")[0], modules):
            if target != name:
                found.add(
                    Import(
                        source=name, target=target, line=node.lineno, types_only=node in for_types, in_text=isinstance(node, ast.Constant)
                    )
                )
    return sorted(found)


def _for_types(tree: ast.Module) -> set[ast.AST]:
    """Return the nodes under ``if TYPE_CHECKING``."""
    blocks = [node.body for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")]
    return {inner for block in blocks for statement in block for inner in ast.walk(statement)}


def _named(tree: ast.Module, folder: str, modules: Mapping[str, Path]) -> Iterator[tuple[ast.stmt | ast.expr, str]]:
    """Yield each node that names modules of the package, with one of them."""
    top = folder.partition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names: Iterable[str] = (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = folder.split(".")[: len(folder.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _MODULE_TEXT.fullmatch(node.value):
            names = (node.value,)
        else:
            continue
        for name in names:
            target = name if name in modules else name.rpartition(".")[0]
            if target in modules and name.partition(".")[0] == top and "." in name:
                yield node, target


def circles(edges: Mapping[str, set[str]]) -> list[tuple[str, ...]]:
    """Return the groups of nodes that reach one another, each sorted (Tarjan's strongly connected components)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[tuple[str, ...]] = []

    def visit(node: str) -> None:
        number[node] = lowest[node] = len(number)
        stack.append(node)
        for following in sorted(edges.get(node, ())):
            if following not in number:
                visit(following)
                lowest[node] = min(lowest[node], lowest[following])
            elif following in stack:
                lowest[node] = min(lowest[node], number[following])
        if lowest[node] == number[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(tuple(sorted(group)))

    for node in sorted(edges):
        if node not in number:
            visit(node)
    return sorted(found)
