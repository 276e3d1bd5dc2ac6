"""Which names of TensorRT and pycuda our modules touch, read from the sources with the help of a list of the names.

The walk knows a value's type from what made it (`trt.Builder(...)`, `builder.create_network(...)`) and from
annotations that are imported for type checkers. `trt` is always TensorRT's module and `driver` always pycuda.driver.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent.parent
VERSIONS = ("10.3.0", "10.7.0", "10.13.3.9", "11.4.0.106", "rtx-1.7.1.116")
PYCUDA = "pycuda-2026.1"

GUARDS = {
    ("IBuilderConfig", "set_compute_capability"): {
        ("IBuilderConfig", "set_compute_capability"),
        ("IBuilderConfig", "num_compute_capabilities"),
        ("", "ComputeCapability"),
    },
}
"""A name that is asked for with hasattr, and the names that come with it: class ("" for the module) and name."""

_LIBRARIES = {"tensorrt": "trt", "tensorrt_rtx": "trt", "pycuda.driver": "driver"}


@dataclass(frozen=True)
class Kind:
    """What a value is: a module, a class, an instance, something that can be called, or not known."""

    of: str  # module, class, instance, method, function, unknown
    library: str = ""  # trt or driver
    owner: str = ""  # the class
    name: str = ""  # of the method or function


@dataclass
class Names:
    """The names of one version of TensorRT and of pycuda."""

    trt: dict[str, Any]
    driver: dict[str, Any]

    def library(self, name: str) -> dict[str, Any]:
        return self.trt if name == "trt" else self.driver

    def classes(self, library: str) -> dict[str, Any]:
        return dict(self.library(library)["classes"])

    def member(self, library: str, owner: str, name: str) -> tuple[str, str] | None:
        """What a class has under a name: its table in the list, and its type or signature."""
        about = self.classes(library).get(owner, {})
        for table in ("enum", "methods", "props", "attrs", "nested"):
            held = about.get(table, {})
            if name in held:
                return table, str(held[name]) if isinstance(held, dict) else ""
        for base in about.get("bases", []):
            found = self.member(library, base, name)
            if found:
                return found
        return None


@dataclass
class Report:
    """What a walk found."""

    touched: set[tuple[str, str, str]] = field(default_factory=set)  # library, class or "", name
    guards: set[tuple[str, str]] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)


def touching_modules(root: Path = CHECKOUT / "edge_resad") -> list[Path]:
    """Our modules that use TensorRT or pycuda."""
    return [file for file in sorted(root.rglob("*.py")) if _touches(ast.parse(file.read_text(encoding="utf-8")))]


def walk(sources: dict[str, str], names: Names) -> Report:
    """Everything that the sources touch, judged by one version's names."""
    report = Report()
    for where, source in sources.items():
        tree = ast.parse(source)
        kinds = _annotations(tree)
        _Walk(where, names, kinds, report, _ours(tree, kinds), set()).visit(tree)
    return report


def reduced(full: dict[str, Any], touched: set[tuple[str, str, str]], library: str) -> dict[str, Any]:
    """Of one library's names, those that are touched."""
    classes: dict[str, Any] = {}
    for _, owner, name in sorted(one for one in touched if one[0] == library and one[1]):
        for holder in _with_bases(full["classes"], owner):
            about = full["classes"][holder]
            kept = classes.setdefault(holder, {"bases": about["bases"]} if about.get("bases") else {})
            for table in ("enum", "methods", "props", "attrs", "nested"):
                held = about.get(table, {})
                if name in held:
                    kept.setdefault(table, {})[name] = _fact(table, held[name]) if isinstance(held, dict) else ""
    for _, _, name in (one for one in touched if one[0] == library and not one[1]):
        if name in full["classes"]:
            about = full["classes"][name]
            init = about.get("methods", {}) if isinstance(about.get("methods", {}), dict) else {}
            kept = classes.setdefault(name, {})
            if init.get("__init__"):
                kept.setdefault("methods", {})["__init__"] = init["__init__"]
    functions = {name: full["functions"][name] for _, owner, name in touched if not owner and name in full["functions"]}
    return {"classes": classes, "functions": functions}


def _fact(table: str, said: Any) -> Any:
    return (
        "" if table in ("enum", "nested") else said
    )  # an enum's integers differ between versions, and nobody may know


def _with_bases(classes: dict[str, Any], owner: str) -> Iterator[str]:
    if owner in classes:
        yield owner
        for base in classes[owner].get("bases", []):
            yield from _with_bases(classes, base)


def _touches(tree: ast.AST) -> bool:
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    named = any(isinstance(node, ast.Name) and node.id == "trt" for node in ast.walk(tree))
    return named or bool(imported & _LIBRARIES.keys())


def _annotations(tree: ast.AST) -> dict[str, Kind]:
    """Names of types that are imported from the libraries for type checkers."""
    return {
        alias.asname or alias.name: Kind("instance", _LIBRARIES[str(node.module)], alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module) in _LIBRARIES
        for alias in node.names
    }


def _ours(tree: ast.AST, kinds: dict[str, Kind]) -> dict[str, Kind | None]:
    """What functions of ours return, as `name()`, and what attributes of ours are, as `self.name`, where annotated."""
    found: dict[str, Kind | None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.returns is not None:
            found[f"{node.name}()"] = _annotated(node.returns, kinds)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Attribute):
            found[f"self.{node.target.attr}"] = _annotated(node.annotation, kinds)
        elif isinstance(node, ast.ClassDef):
            for line in node.body:
                if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                    found[f"self.{line.target.id}"] = _annotated(line.annotation, kinds)
    return found


def _annotated(annotation: ast.expr, kinds: dict[str, Kind]) -> Kind | None:
    found = [node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)]
    plain = found and not any(isinstance(node, ast.Subscript) for node in ast.walk(annotation))
    return next((kinds[name] for name in found if name in kinds), None) if plain else None


_UNKNOWN = Kind("unknown")


class _Walk(ast.NodeVisitor):
    """Goes through one scope in order, remembering what every name is."""

    def __init__(
        self,
        where: str,
        names: Names,
        annotations: dict[str, Kind],
        report: Report,
        known: dict[str, Kind | None],
        guards: set[tuple[str, str]],
    ) -> None:
        self.where, self.names, self.annotations, self.report = where, names, annotations, report
        self.known: dict[str, Kind | None] = {"trt": Kind("module", "trt"), "driver": Kind("module", "driver"), **known}
        self.guards = set(guards)

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.expr):
            self.kind(node)
        else:
            super().visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        inner = _Walk(self.where, self.names, self.annotations, self.report, self.known, self.guards)
        for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
            if argument.annotation is not None and argument.arg not in ("trt", "driver"):
                inner.known[argument.arg] = _annotated(argument.annotation, self.annotations)
        for statement in node.body:
            inner.visit(statement)

    def visit_Assign(self, node: ast.Assign) -> None:
        if len(node.targets) == 1 and isinstance(node.targets[0], ast.Tuple) and isinstance(node.value, ast.Tuple):
            for target, value in zip(node.targets[0].elts, node.value.elts, strict=True):
                self._bind(target, self.kind(value), value)
            return
        found = self.kind(node.value)
        for target in node.targets:
            self._bind(target, found, node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        said = _annotated(node.annotation, self.annotations)
        made = self.kind(node.value) if node.value is not None else None
        if said and made and made != _UNKNOWN and made != said:
            self._problem(node, f"is annotated as {said.owner} and made as {made.owner}")
        self._bind(node.target, said or made, node.value)

    def kind(self, node: ast.expr) -> Kind | None:
        """What an expression is; None where it is none of the libraries' business."""
        if isinstance(node, ast.Name):
            return self.known.get(node.id)
        if isinstance(node, ast.Attribute):
            if isinstance(node.value, ast.Name) and node.value.id == "self":
                return self.known.get(f"self.{node.attr}")
            return self._attribute(node, self.kind(node.value))
        if isinstance(node, ast.Call):
            return self._call(node)
        if isinstance(node, ast.IfExp):
            self.kind(node.test)
            kinds = (self.kind(node.body), self.kind(node.orelse))
            return kinds[0] or kinds[1]
        for child in ast.iter_child_nodes(node):
            self.visit(child)
        return None

    def _attribute(self, node: ast.Attribute, base: Kind | None) -> Kind | None:
        name = node.attr
        if base is None or name.startswith("__"):
            return None
        if base.of == "module":
            return self._of_module(node, base.library, name)
        if base.of in ("class", "instance"):
            found = self.names.member(base.library, base.owner, name)
            self.report.touched.add((base.library, base.owner, name))
            if found is None:
                self._missing(node, base.library, base.owner, name)
                return _UNKNOWN if self._guarded(base.owner, name) else None
            table, said = found
            if table == "methods":
                return Kind("method", base.library, base.owner, name)
            if table == "nested":
                return None
            return self._typed(base.library, said.partition(" ")[2]) if table == "props" else None
        if base == _UNKNOWN and not self.guards:
            self._problem(node, f"asks a value of unknown type for {name}: annotate the value")
        return _UNKNOWN if base == _UNKNOWN else None

    def _of_module(self, node: ast.AST, library: str, name: str) -> Kind | None:
        self.report.touched.add((library, "", name))
        if name in self.names.classes(library):
            return Kind("class", library, name)
        if name in self.names.library(library)["functions"]:
            return Kind("function", library, "", name)
        self._missing(node, library, "", name)
        return None

    def _call(self, node: ast.Call) -> Kind | None:
        if isinstance(node.func, ast.Name) and node.func.id == "hasattr":
            self._guard(node)
            return None
        called = self.kind(node.func)
        for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
            self.kind(argument)
        if called is None or called.library == "":
            own = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            return self.known.get(f"{own}()")
        if called.of == "class":
            self._check_literals(node, called.library, called.owner, "__init__")
            return Kind("instance", called.library, called.owner)
        if called.of == "function":
            said = str(self.names.library(called.library)["functions"][called.name])
            return self._typed(called.library, _returns(said))
        if called.of != "method":
            return None
        self._check_literals(node, called.library, called.owner, called.name)
        found = self.names.member(called.library, called.owner, called.name)
        said = found[1] if found else ""
        return self._typed(called.library, _returns(said)) if "->" in said else _UNKNOWN

    def _guard(self, node: ast.Call) -> None:
        owner, name = self.kind(node.args[0]), node.args[1]
        if owner is None or not isinstance(name, ast.Constant):
            return
        guard = ("" if owner.of == "module" else owner.owner, str(name.value))
        if guard not in GUARDS:
            self._problem(node, f"has a guard that is not declared: {guard}")
            return
        self.guards.add(guard)
        self.report.guards.add(guard)

    def _guarded(self, owner: str, name: str) -> bool:
        return any((owner, name) in GUARDS[guard] for guard in self.guards)

    def _missing(self, node: ast.AST, library: str, owner: str, name: str) -> None:
        if library != "trt" or not self._guarded(owner, name):
            self._problem(node, f"touches {'.'.join(filter(None, (library, owner, name)))}, which is not there")

    def _typed(self, library: str, said: str) -> Kind | None:
        said = said.strip().rstrip(": ")
        if said in self.names.classes(library):
            return Kind("instance", library, said)
        return None if said else _UNKNOWN

    def _bind(self, target: ast.expr, found: Kind | None, value: ast.expr | None) -> None:
        if isinstance(target, ast.Name):
            if target.id not in ("trt", "driver"):
                self.known[target.id] = found
        elif isinstance(target, ast.Attribute):
            self.kind(target)
            owner = self.kind(target.value)
            if owner and owner.of == "instance" and _is_integer(value):
                held = self.names.member(owner.library, owner.owner, target.attr)
                if held and not _takes_integer(held[1].partition(" ")[2]):
                    self._problem(target, f"sets {owner.owner}.{target.attr} to an integer instead of a name")
        else:
            self.kind(target)

    def _check_literals(self, node: ast.Call, library: str, owner: str, name: str) -> None:
        found = self.names.member(library, owner, name)
        if library != "trt" or found is None:
            return
        overloads = [list(_parameters(said)) for said in re.split(r" \| \d+\. |^1\. ", found[1]) if said]
        for place, argument in enumerate(node.args):
            types = [each[place][1] for each in overloads if place < len(each)]
            flags = [each[place][0] for each in overloads if place < len(each)]
            wrong = "flags" in flags or not any(_takes_integer(one) for one in types)
            if _is_integer(argument) and types and wrong:
                self._problem(node, f"gives {owner}.{name} an integer instead of a name")

    def _problem(self, node: ast.AST, said: str) -> None:
        self.report.problems.append(f"{self.where}, line {getattr(node, 'lineno', 0)}, {said}")


def _returns(signature: str) -> str:
    found = re.search(r"-> ([\w.:]+)", signature)
    return found[1] if found else "unsaid"


def _parameters(signature: str) -> Iterator[tuple[str, str]]:
    """Name and type of every parameter after self."""
    inside = signature[signature.find("(") + 1 : signature.rfind(")")]
    for part in re.split(r", (?=\w+:)", inside):
        name, _, said = part.partition(":")
        if name != "self" and said:
            yield name, said.strip()


def _is_integer(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) is int


def _takes_integer(said: str) -> bool:
    return re.match(r"(?:int|float|bool|typing\.SupportsInt|typing\.SupportsFloat|object)\b", said) is not None
