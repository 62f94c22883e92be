"""What a chapter's page says about the run that its outputs come from."""
from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from medxai.core.provenance import Record, stale


def notices(root: Path | str, page: str) -> list[str]:
    """The notices for a page, as Markdown: origin and staleness of a chapter's outputs; none on other pages."""
    if not page.startswith("nbs/papers/"):
        return []
    path = Path(root) / "book" / "results" / f"{Path(page).name}.json"
    if not path.exists():
        return [":::{note}\nNo run of this chapter is recorded yet.\n:::"]
    record = json.loads(path.read_bytes())
    return [origin(record), *staleness(record)]


def origin(record: Mapping[str, Any]) -> str:
    """One line on profile, device, commit and date, with the record to download."""
    commit = record["commit"][:7] + ("" if record["clean"] else ", with uncommitted changes")
    return (f":::{{container}} provenance\nThese outputs come from profile `{record['profile']}` on "
            f"{' and '.join(record['devices'])}, commit {commit}, {record['date'][:10]} "
            f"({{download}}`run record </book/results/{record['chapter']}.json>`).\n:::")


def staleness(record: Mapping[str, Any]) -> list[str]:
    """A dated warning that names the functions that changed since the run; empty when none did."""
    names = [f"`{name.replace(':', '.')}`" for name in stale(Record(record))]
    if not names:
        return []
    today = datetime.now(UTC).date().isoformat()
    return [f":::{{warning}}\nAs of {today}, code that this run of {record['date'][:10]} called has changed since: "
            f"{', '.join(names)}.\n:::"]
