"""What importing the package does and does not do, and which names it has."""

import inspect
import pydoc
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ratelike as rl
from tests.quick import QUICK

CHECK = """
import sys, jax
before = dict(jax.config.values)
import ratelike
after = dict(jax.config.values)  # importing Pallas may add names
assert {name: after[name] for name in before} == before, "importing changed JAX's configuration"
slow = {"matplotlib", "scipy.stats", "optax", "xarray", "tqdm"} & set(sys.modules)
assert not slow, slow
from jax._src import xla_bridge
assert not xla_bridge._backends, "importing started a JAX backend"
"""
NAMESPACES = {
    "study": rl.study,
    "analysis": rl.analysis,
    "train": rl.train,
    "extend": rl.extend,
}
# To begin a run with, and to analyse: both names are fixed.
BOTH = {"stationary_state"}
FIXED = """ExponentialEscape SigmoidEscape SoftplusEscape ExponentialRefractory NoRefractory SRM0 LIF Layer Network
    relay_network TimeGrid WienerDrive simulate Spiking GeneralisedRate ConventionalRate mean_absolute_error convergence
    sweep fit expected_error readout_variance rate_loss expected_spiking_loss"""


def test_import_is_light_and_leaves_jax_alone():
    subprocess.run([sys.executable, "-W", "error", "-c", CHECK], check=True)


def test_the_version_to_cite_is_that_of_the_package():
    citation = (Path(__file__).parent.parent / "CITATION.cff").read_text()
    assert re.findall(r"^version: (.+)$", citation, re.MULTILINE) == [rl.__version__]


def names_of(module):
    """Without the namespaces in it."""
    public = [name for name in dir(module) if not name.startswith("_")]
    listed = [name for name in public if not inspect.ismodule(getattr(module, name))]
    return set(listed if module is rl else module.__all__)


def table_of(module):
    """The names in the docstring, which stand before two spaces and half a line of text."""
    return re.findall(r"^    (\w+)  +\S", module.__doc__, re.MULTILINE)


def test_names_that_scripts_rely_on_stay_where_they_are():
    assert set(FIXED.split()) <= names_of(rl)
    assert {"plot", *NAMESPACES} <= set(dir(rl))


def test_every_public_name_is_in_one_namespace():
    names = [name for module in (rl, *NAMESPACES.values()) for name in names_of(module)]
    twice = {name for name in names if names.count(name) > 1}
    assert twice == BOTH


@pytest.mark.parametrize("module", [rl, *NAMESPACES.values()])
def test_the_table_of_a_namespace_lists_its_names(module):
    table = table_of(module)
    assert len(table) == len(set(table))
    own = {"plot", *NAMESPACES} if module is rl else set()
    assert set(table) == names_of(module) | own


@pytest.mark.parametrize("module", [rl, *NAMESPACES.values(), rl.plot])
def test_public_classes_and_functions_are_documented(module):
    for name in dir(module) if module is rl.plot else names_of(module):
        value = getattr(module, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            # `inspect.getdoc` would take that of a base class.
            assert value.__doc__, name
            assert "ratelike._" not in value.__doc__, name


def test_all_abstract_classes_are_public():
    """Those that a public class is made from."""

    def bases(value):
        own = [each for each in value.__mro__ if each.__module__.startswith("ratelike")]
        return {each for each in own if inspect.isabstract(each)}

    public = {getattr(m, n) for m in (rl, *NAMESPACES.values()) for n in names_of(m)}
    classes = {each for each in public if inspect.isclass(each)}
    hidden = {base for each in classes for base in bases(each)} - classes
    assert not hidden


def test_help_is_a_table_that_names_nothing_private():
    text = pydoc.plain(pydoc.render_doc(rl))
    # Python adds the files of the package by itself; all that they contain is in the table.
    contents = re.compile(r"\nPACKAGE CONTENTS\n.*?\n\n", re.DOTALL)
    assert len(contents.findall(text)) == 1
    text = contents.sub("\n", text)
    text = text[: text.index("\nFILE\n")]
    assert not re.search(r"\b_\w", text)
    assert len(text.splitlines()) < 120  # no class is printed in whole


def test_names_that_moved_say_where_they_are():
    for name, namespace in NAMESPACES.items():
        for moved in set(namespace.__all__) - BOTH:
            place = rf"^ratelike\.{moved} is now ratelike\.{name}\.{moved}$"
            with pytest.raises(AttributeError, match=place):
                getattr(rl, moved)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = rl.nothing


def test_all_names_can_be_imported_at_once():
    names = {}
    exec("from ratelike import *", names)
    # Pictures are there if they have been imported before; what checks annotations imports jaxtyping.
    assert set(names) - {"__builtins__", "plot", "jaxtyping"} == names_of(rl) | set(
        NAMESPACES
    )


def test_the_quick_tests_exist_and_are_of_every_folder():
    tests = Path(__file__).parent
    for file, names in QUICK.items():
        text = (tests / file).read_text()
        assert all(f"\ndef {name}(" in text for name in (names or "").split()), file
    folders = {path.parent for path in tests.rglob("test_*.py")}
    assert folders == {(tests / file).parent for file in QUICK}


def test_names_in_docstrings_and_messages_exist():
    root = Path(__file__).parent.parent
    pages = [root / page for page in ("README.md", "CONTRIBUTING.md")]
    for path in [*pages, *(root / "ratelike").rglob("*.py")]:
        text = re.sub(r"^ *(from|import) .*", "", path.read_text(), flags=re.MULTILINE)
        for name in re.findall(
            r"(?<![\w./'])(?:rl|ratelike)\.([A-Za-z][\w.]*\w)", text
        ):
            value = rl
            if name == "mplstyle":  # a file
                continue
            for part in name.split("."):
                assert hasattr(value, part), f"{path.name}: {name}"
                value = getattr(value, part)
