"""The option --must-run, by which continuous integration refuses skipped tests."""
from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]


@pytest.mark.parametrize(("options", "outcome"), [
    ([], {"skipped": 2, "xfailed": 1}),
    (["--must-run=browser,battery"], {"failed": 1, "skipped": 1, "xfailed": 1}),
])
def test_a_skip_fails_where_its_marker_must_run(pytester: pytest.Pytester, root: Path, options: list[str],
                                                outcome: dict[str, int]):
    pytester.makeconftest((root / "tests/conftest.py").read_text())
    pytester.makepyfile("""
        import pytest
        @pytest.mark.browser
        def test_page(): pytest.skip("no Chromium")
        @pytest.mark.browser
        @pytest.mark.xfail
        def test_known(): assert False
        def test_other(): pytest.skip("no GPU")
    """)
    pytester.runpytest_inprocess(*options, "-W", "ignore::pytest.PytestUnknownMarkWarning").assert_outcomes(**outcome)


def test_a_skipped_file_fails_too(pytester: pytest.Pytester, root: Path):
    pytester.makeconftest((root / "tests/conftest.py").read_text())
    pytester.makepyfile("import pytest; pytest.importorskip('no_such_package')")
    assert pytester.runpytest_inprocess("--must-run=browser").ret != 0
    assert pytester.runpytest_inprocess().ret == pytest.ExitCode.NO_TESTS_COLLECTED
