"""Everything that a hostile worker, host or engine can say is refused by name, and nothing of it is run."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from benchmarks.functions_attacks import ATTACKS, Attack, Believed, Bomb, refused, watched  # noqa: E402
from sidestep.fleet.errors import SidestepError  # noqa: E402


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda one: f"{one.on}: {one.name}".replace(" ", "-"))
def test_an_attack_is_refused_by_name_and_runs_nothing(attack: Attack, tmp_path: Path) -> None:
    """S2.18, S2.22, S2.26: pickles, spoilt capsules, replayed tokens and lengths that lie, each at its own reader."""
    with watched() as seen:
        said = attack.make(tmp_path)
    assert re.search(attack.words, said), said
    assert not seen
    assert not (tmp_path / "exploded").exists()


def test_what_watches_sees_a_pickle_that_runs(tmp_path: Path) -> None:
    """The control: the same bomb does run where somebody unpickles it, and an answer is no refusal."""
    import pickle

    with watched() as seen:
        pickle.loads(pickle.dumps(Bomb(tmp_path)))
    assert seen == ["pickle.find_class"]
    assert (tmp_path / "exploded").exists()
    with pytest.raises(Believed):
        refused(lambda: "an answer")
    assert "no" in refused(lambda: (_ for _ in ()).throw(SidestepError("no")))
