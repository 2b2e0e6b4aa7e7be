"""docs/writing-a-driver.md: every step's driver, put together as the text says, does what the text says; the last is the example's."""

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TUTORIAL = (ROOT / "docs/writing-a-driver.md").read_text()
EXAMPLE = ROOT / "examples/minimal_e1000.py"
STEPS = re.split(r"^## (?=Step )", TUTORIAL, flags=re.MULTILINE)
LAST = len(STEPS) - 1


def block(text, label):
    found = re.findall(rf"^\*{label}\*\n\n```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(found) == 1, f"{label}: {len(found)} blocks"
    return found[0]


class Source:
    """A driver's source, by parts: what is given again replaces what was there, imports and methods add."""

    def __init__(self, *texts):
        self.docstring, self.imports, self.constants, self.methods = None, {}, {}, {}
        for text in texts:
            self.add(ast.parse(text))

    def add(self, tree):
        self.docstring = ast.get_docstring(tree) or self.docstring
        for node in tree.body:
            match node:
                case ast.Import() | ast.ImportFrom():
                    self.imports.setdefault(getattr(node, "module", None), set()).update(alias.name for alias in node.names)
                case ast.Assign():
                    self.constants[ast.unparse(node.targets[0])] = ast.unparse(node.value)
                case ast.ClassDef(name="Driver"):
                    self.methods |= {part.name if isinstance(part, ast.FunctionDef) else "": ast.unparse(part) for part in node.body}
                case ast.Expr():
                    pass  # the docstring
                case _:
                    raise AssertionError(f"the tutorial's driver has {ast.unparse(node)!r} outside of its class")

    def text(self):
        lines = [f"import {name}" for name in sorted(self.imports.get(None, ()))]
        lines += [f"from {module} import {', '.join(sorted(names))}" for module, names in self.imports.items() if module]
        lines += [f"{names} = {value}" for names, value in self.constants.items()]
        lines += ["class Driver:", *("    " + line for part in self.methods.values() for line in part.splitlines())]
        return "\n".join(lines)


def driver_of(step):
    return Source(*(block(text, "driver") for text in STEPS[1 : step + 1]))


@pytest.mark.parametrize("step", range(1, LAST + 1))
def test_a_step_does_what_the_text_says(step, capsys):
    text = STEPS[step]
    assert text.startswith(f"Step {step}: ")
    wanted = re.search(r"^```text\n(.*?)^```$", text, re.MULTILINE | re.DOTALL).group(1)
    script = "\n".join((driver_of(step).text(), block(STEPS[0], "lab"), block(text, "try")))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", wanted)


def test_all_steps_together_are_the_example():
    assembled, example = driver_of(LAST), Source(EXAMPLE.read_text())
    assert vars(assembled) == vars(example)


def test_the_example_is_about_as_long_as_promised():
    tree = ast.parse(EXAMPLE.read_text())
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    docstrings = sum(len((ast.get_docstring(node) or "").splitlines()) for node in functions)
    code = [line for line in EXAMPLE.read_text().splitlines() if line.strip() and not line.strip().startswith("#")]
    assert len(code) - docstrings <= 250


def test_the_command_prints_what_the_tutorial_says(tmp_path):
    command, output = re.search(r"^```console\n\$ (.*?)\n(.*?)^```$", TUTORIAL, re.MULTILINE | re.DOTALL).groups()
    done = subprocess.run(
        [sys.executable, "-m", "softnet.cli", *shlex.split(command)[1:]], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, "", output)


@pytest.mark.parametrize("link", re.findall(r"\]\((?!https:)([^)#]+)\)", TUTORIAL))
def test_a_link_leads_somewhere(link):
    assert (ROOT / "docs" / link).exists()
