"""What people get to see of migrations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from junitparser import JUnitXml, Skipped

from tests.unit.report.test_report import Runs, row, shown
from zclab.documents.gates import default_gates
from zclab.experiment.bench import _bad
from zclab.judge.compare import within
from zclab.report.junit import junit
from zclab.report.markdown import markdown
from zclab.report.page import page
from zclab.runs.results import Results

WORDS = "guest x was not migrated: VFIO migration is not supported in kernel"
CELL: dict[str, Any] = {
    "workload": "MIGRATE",
    "direction": None,
    "message_bytes": 65536,
    "duration_s": 3.0,
}
FIGURES = {
    "migration_gap_ms": 900.0,
    "migration_downtime_ms": 420.0,
    "migration_s": 9.5,
    "migration_pages": 65756.0,
    "migration_pages_again": 90.0,
    "migration_before_mbps": 90.0,
    "migration_during_mbps": 40.0,
    "migration_after_mbps": 85.0,
    "migration_pinned_pages": 0.0,
    "retransmissions": 3.0,
}


def ways(link: str, **more: int) -> dict[str, object]:
    facts = {"link": link, "downtime_ms": 420, "pages": 65756, "passes": 3, "pinned_pages": 0}
    return {
        "payload_bytes": 3 << 20,
        "transactions": 1200,
        **{f"{way}_{name}": value for way in ("there", "back") for name, value in facts.items()},
        **{f"{way}_{name}": value for way in ("there", "back") for name, value in more.items()},
    }


def migrated() -> Results:
    runs = Runs()
    runs.add("vhost", FIGURES, evidence=ways("macvtap"), **CELL)
    zero_copy = {**FIGURES, "migration_zerocopy_ms": 200.0}
    runs.add("zerocopy", zero_copy, evidence=ways("mp", zerocopy_ms=200), **CELL)
    runs.add("passthrough", {}, status="refused", reason=WORDS, **CELL)
    return runs.results


def test_the_table_has_the_absence_the_duration_and_libvirts_words() -> None:
    text = shown(migrated())

    assert "MIGRATE 65536 B  e1000e" in text
    assert row(text, "zerocopy").startswith("zerocopy 900 1.00x")
    assert row(text, "passthrough").split() == ["passthrough", "-", "-", "-"]
    assert "passthrough: 1 of 1 refused: guest x was not migrated" in " ".join(text.split())


def test_the_evidence_tells_of_both_ways() -> None:
    text = " ".join(shown(migrated()).split())

    assert (
        "2 migrations, each to a link of kind macvtap; 3.0 MiB of a stream and 1,200 transactions"
        in text
    )
    assert "420 ms; 65,756 pages in 3 passes; 0 pages left pinned" in text
    assert "zero-copying again after 200 ms" in text


def test_a_refusal_is_no_error_of_a_run() -> None:
    results = migrated()
    judged = within(results, default_gates("wall"))

    assert _bad(results) == 0
    suites = JUnitXml.fromstring(junit(judged, name="a run", trials=results.trials).encode())
    refused = [case for suite in suites for case in suite if case.name == "passthrough: trial 0"]
    assert [type(result) for case in refused for result in case.result] == [Skipped]


def test_page_and_markdown_show_migrations(tmp_path: Path) -> None:
    results = migrated()

    for text in (page(results, folder=tmp_path), markdown(results)):
        assert "MIGRATE" in text
        assert "VFIO migration is not supported" in text
