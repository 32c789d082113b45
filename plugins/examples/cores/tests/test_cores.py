"""The action keeps every rule of the contract, on real shards over real SSH."""

import pytest
from sidestep_cores import Cores

from sidestep.plugins import UsageError
from sidestep.testing import check_action


def test_the_action_keeps_the_contract() -> None:
    card = check_action(Cores, "cores", {"cores": 1})
    assert card.ok, card.text()


@pytest.mark.parametrize("params", [{}, {"cores": 0}, {"cores": "1"}, {"cores": True}, {"cores": 1, "more": 2}])
def test_params_that_say_no_number_of_cores_are_refused(params: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Cores(params)
