"""What makes two experiments the same: programs are edited on disk, imported afresh and compared."""

import functools
import importlib
import json
import logging
import sys
import threading

import jax
import numpy as np
import pytest

import ratelike as rl
from ratelike._study._input import white_noise
from ratelike._study._sweep._description import describe, hash_of
from tests.processes.sweep_study import GRID, plain, projection

# Modules of one project: `study.make` is what a sweep is given.
OWN = """
import numpy as np
WIDTH = 2
def helper(n):
    return n * WIDTH + np.zeros(1)
def unused():
    return 5
class Thing:
    def size(self, least=WIDTH):
        return helper(least)
def twice(function):
    import functools
    @functools.wraps(function)
    def wrapper(*arguments, **named):
        return 7 * function(*arguments, **named)
    return wrapper
"""
STUDIES = {
    "attribute": "import own\ndef make(*, key):\n    return own.helper(3)",
    "alias": "import own\ndef make(*, key):\n    m = own\n    return m.helper(3)",
    "package": "import group.inner\ndef make(*, key):\n    return group.inner.own.helper(3)",
    "nested": "import own\ndef make(*, key):\n    def f():\n        return own.helper(3)\n    return f()",
    "nested global": "from own import helper\ndef make(*, key):\n    return (lambda: helper(3))()",
    "listed": "import own\ndef make(*, key):\n    return [own.helper(i) for i in range(3)]",
    "imported within": "def make(*, key):\n    import own\n    return own.helper(3)",
    "imported from": "def make(*, key):\n    from own import helper\n    return helper(3)",
    "imported deep": "def make(*, key):\n    from group.inner import own as o\n    return o.helper(3)",
    "enclosed": "def outer():\n    import own\n    def make(*, key):\n        return own.helper(3)\n    return make\nmake = outer()",
    "constant": "import own\ndef make(*, key):\n    return getattr(own, 'helper')(3)",
    "constant deep": "import group\nimport group.inner\ndef make(*, key):\n    return getattr(group.inner, 'call')(3)",
    "handed on": "import own\ndef call(m):\n    return m.helper(3)\ndef make(*, key):\n    return call(own)",
    "handed on deep": "import group.inner\ndef call(m):\n    return m.helper(3)\ndef make(*, key):\n    return call(group.inner.own)",
    "bound": "import own, functools\ndef call(m, key):\n    return m.helper(3)\nmake = functools.partial(call, own)",
    "class": "import own\ndef make(*, key):\n    return own.Thing().size()",
    "base": "import own\nclass Mine(own.Thing):\n    pass\ndef make(*, key):\n    return Mine().size()",
}  # fmt: skip


def test_a_sweep_survives_that_files_of_the_library_move():
    """Its own classes and functions are known by their names, without the private modules that hold them."""
    things = [
        rl.SRM0(),
        GRID,
        rl.study.ComparedDynamics(),
        rl.relay_network,
        white_noise,
    ]
    description = json.dumps([describe(thing) for thing in things])
    assert "ratelike._" not in description
    for name in ("ratelike.SRM0", "ratelike.TimeGrid", "ratelike.white_noise"):
        assert f'"{name}"' in description


@pytest.fixture
def identity(tmp_path, monkeypatch):
    """The hash of `study.make`, of modules written to a folder."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(tmp_path)

    def write_and_identify(study, own=OWN):
        files = {"study": study, "own": own, "group/__init__": ""}
        files["group/inner"] = "import own\ndef call(n):\n    return own.helper(n)"
        for name, source in files.items():
            path = tmp_path / f"{name}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(source)
        return hash_of(describe(afresh("study").make))

    yield write_and_identify
    forget()


def forget():
    for name in ("study", "own", "group", "group.inner"):
        sys.modules.pop(name, None)


def afresh(name):
    forget()
    importlib.invalidate_caches()
    return importlib.import_module(name)


@pytest.mark.parametrize("study", STUDIES.values(), ids=list(STUDIES))
def test_edits_in_a_module_are_noticed_however_it_is_reached(study, identity):
    same = identity(study)
    assert (
        identity(
            study + "\n# why", OWN.replace("n *", "(n) *").replace("2\n", "2  # why\n")
        )
        == same
    )
    assert identity(study, OWN.replace("n * WIDTH", "n + WIDTH")) != same


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("attribute", "WIDTH = 2", "WIDTH = 2.0"),  # data that the helper uses
        ("class", "least=WIDTH", "least=WIDTH + 1"),
        ("class", "WIDTH = 2", "WIDTH = 3"),
    ],
)
def test_what_a_helper_uses_is_followed(name, old, new, identity):
    study = STUDIES[name]
    assert identity(study) != identity(study, OWN.replace(old, new))


@pytest.mark.parametrize("study", ["attribute", "imported from", "package"])
def test_edits_elsewhere_in_a_module_do_not_matter(study, identity):
    study = STUDIES[study]
    assert identity(study) == identity(study, OWN.replace("return 5", "return 6"))


def test_decorators_class_data_and_defaults(identity):
    decorated = "import own\n@own.twice\ndef make(*, key):\n    return 3"
    assert identity(decorated) != identity(decorated, OWN.replace("7 *", "8 *"))
    assert identity(decorated) != identity(decorated.replace("3", "4"))
    for study in (
        "import own\nclass Made:\n    data = own.WIDTH\nmake = Made()",
        "import own\nclass Made:\n    def __call__(self, key, size=own.WIDTH):\n        pass\nmake = Made()",
        "import own\nclass Made:\n    call = own.helper\nmake = Made()",
    ):
        assert identity(study) != identity(study, OWN.replace("WIDTH = 2", "WIDTH = 3"))


def test_installed_packages_are_their_names(identity, tmp_path, monkeypatch):
    """Following NumPy would take for ever, and refuse a sweep after a patch that changes no number."""
    packages = tmp_path / "lib" / "site-packages"
    packages.mkdir(parents=True)
    monkeypatch.syspath_prepend(packages)
    installed = packages / "installed_thing.py"
    study = "import installed_thing as it\ndef make(*, key):\n    return it.helper(3)"
    hashes = set()
    for number in (1, 2):
        installed.write_text(f"def helper(n):\n    return n * {number}")
        sys.modules.pop("installed_thing", None)
        hashes.add(identity(study))
    sys.modules.pop("installed_thing", None)
    assert len(hashes) == 1
    text = json.dumps(describe(np.testing)) + json.dumps(describe(jax.numpy.sum))
    assert "sha256" not in text
    assert len(text) < 200


def test_a_sweep_is_refused_after_an_edit_in_a_module(identity, tmp_path):
    """Cells of two programs are not mixed; what no identity sees is told by `version`."""
    study = STUDIES["attribute"].replace("return ", "return study_plain(key, ")
    study = "from tests.study.test_sweep_identity import study_plain\n" + study + ")"
    identity(study)
    arguments = dict(
        grid=GRID, axes={}, num_trials=1, key=jax.random.key(0), measure=projection
    )
    sweep = functools.partial(rl.sweep, folder=tmp_path / "sweep", **arguments)
    sweep(sys.modules["study"].make)
    for version in ("second", 2, 0):
        message = f"version was null, is {json.dumps(version)}"
        with pytest.raises(ValueError, match=message):
            sweep(sys.modules["study"].make, version=version)
    identity(study, OWN.replace("n * WIDTH", "n + WIDTH"))
    message = r"make_network\.uses\.own\.helper\.source \(the code itself\)"
    with pytest.raises(ValueError, match=message):
        sweep(sys.modules["study"].make)


def study_plain(key, width):
    return plain(2, 1, key=key)


def closure(value):
    def inner(key):
        return value

    return inner


DIFFERENT = {
    "numbers": [1, 1.0, True, "1", np.float32(1), np.float64(1), np.int32(1)],
    "lists": [[1], [1.0], [True], (1,), {1}, range(1, 2)],
    "keys": [{1: 2}, {1.0: 2}, {"1": 2}, {True: 2}],
    "zeros": [0.0, -0.0, 0, False, None, ""],
    "nan": [np.nan, "nan", np.inf, -np.inf],
    "large arrays": [np.zeros((4, 8)), np.zeros((8, 4)), np.zeros(32), np.zeros(33)],
    "small arrays": [np.zeros((2, 1)), np.zeros((1, 2)), np.zeros(2)],
    "empty arrays": [np.zeros((0, 3)), np.zeros((0, 5)), np.zeros((0, 3), int)],
    "arrays of objects": [np.array([1, "a"], object), np.array([1, "b"], object)],
    "long bytes": [bytes(2000), bytes(1999) + b"1", bytes(2001)],
    "weak types": [jax.numpy.asarray(1.0), jax.numpy.asarray(1.0, dtype=float)],
}


@pytest.mark.parametrize("values", DIFFERENT.values(), ids=list(DIFFERENT))
def test_types_and_shapes_tell_values_apart(values):
    hashes = {hash_of(describe(closure(value))) for value in values}
    assert len(hashes) == len(values)


def test_functions_that_many_others_use_appear_once():
    """Two functions that each use both of the level below: written out, 2^9 times the lowest."""
    scope = {"__name__": "__main__"}
    source = "def a0(): pass\ndef b0(): pass\n"
    for i in range(1, 10):
        source += f"def a{i}(): a{i - 1}(); b{i - 1}()\n"
        source += f"def b{i}(): b{i - 1}(); a{i - 1}()\n"
    exec(source, scope)
    text = json.dumps(describe(scope["a9"]))
    assert text.count('"bytecode"') == 19
    # And references to two of one name are not mixed up.
    first, second = closure(1), closure(2)
    mixed = [[first, second, first], [first, second, second]]
    assert describe(mixed[0]) != describe(mixed[1])


def test_loggers_and_locks_are_no_data():
    """They are in many modules, and nothing depends on them; an object that cannot be known again is named."""
    logger, lock = logging.getLogger("ratelike.test"), threading.RLock()
    logger.addHandler(logging.NullHandler())
    describe(closure([logger, lock, threading.Lock()]))
    arguments = dict(axes={}, num_trials=1, key=jax.random.key(0), folder="never")
    with pytest.raises(ValueError, match=r"make_network must be known .*as value"):
        rl.sweep(closure(object()), GRID, **arguments)
    with pytest.raises(ValueError, match="measure must be known"):
        rl.sweep(plain_of_nothing, GRID, measure=closure(object()), **arguments)


def plain_of_nothing(*, key):
    return plain(2, 1, key=key)
