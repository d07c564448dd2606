"""The story of the demo, over real HTTP, on whichever database the tests use."""

from __future__ import annotations

import logging
import re
from datetime import timedelta

import pytest
from django.db.models import F

import circuits
from circuits.models import Circuit
from circuits.process import runtime
from mockapi.hits import hits

pytestmark = pytest.mark.usefixtures("committed")


def let_delay_pass(name: str) -> None:
    """Put the circuit's retry time in the past, which is what waiting would do."""
    Circuit.objects.filter(name=name).update(retry_at=F("retry_at") - timedelta(minutes=1))


def test_the_story(
    remote: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "circuits")
    for _ in range(2):
        assert circuits.call("payments", f"{remote}/success").json()["status"] == "ok"
    for _ in range(5):
        with pytest.raises(circuits.RemoteCallFailedException) as failed:
            circuits.call("payments", f"{remote}/faulty")
        assert not isinstance(failed.value, circuits.CircuitOpenError)
        assert failed.value.response.status_code == 500
    for path in ("faulty", "success"):
        with pytest.raises(
            circuits.CircuitOpenError, match=r"(?m)^Retry after \d+\.\d\d secs$"
        ) as no:
            circuits.call("payments", f"{remote}/{path}")
        assert 8 < no.value.retry_after <= 10
    assert (hits.snapshot()["success"], hits.snapshot()["faulty"]) == (2, 5)

    let_delay_pass("payments")
    runtime.forget()
    caplog.clear()
    assert circuits.call("payments", f"{remote}/success").status_code == 200
    lines = [record.getMessage() for record in caplog.records if record.name == "circuits"]
    assert [line.partition(":")[0] for line in lines] == [
        "Changed state from open to half_open (payments)",
        "Changed state from half_open to closed (payments)",
    ]
    for line, cause in zip(lines, ("delay passed", "trial succeeded"), strict=True):
        assert re.fullmatch(rf".*\): {cause}; down for \d+\.\d s(; calls refused: 2)?", line)
    row = Circuit.objects.get(name="payments")
    assert (row.state, row.failure_count, row.generation) == ("closed", 0, 3)
