"""What the tests share."""
from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--must-run", default="", metavar="MARKERS",
                     help="comma-separated markers: a skipped test that carries one of them fails, and so does a skipped file")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    wanted = set(filter(None, item.config.getoption("--must-run").split(",")))
    if report.skipped and not hasattr(report, "wasxfail") and wanted & {mark.name for mark in item.iter_markers()}:
        report.outcome = "failed"
        report.longrepr = f"skipped, but --must-run asks for it: {report.longrepr[-1]}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.skipped and collector.config.getoption("--must-run"):
        report.outcome = "failed"
        report.longrepr = f"skipped as a whole, but --must-run is given: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT
